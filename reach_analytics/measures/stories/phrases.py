"""Phrases that stories are made of."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from reach_analytics._time import in_words
from reach_analytics.measures.stories.story import plain

__all__ = ["ago", "at_time", "dies", "dying", "listed", "many", "named"]


def dies(expires: pd.Timestamp, now: pd.Timestamp, *, stuck: bool) -> str:
    """When a wait ends, and whether that can be helped, as a sentence."""
    if pd.isna(expires):
        return "Nobody said when its wait ends."
    if expires <= now:
        return f"It should have died at {at_time(expires, now)}, {ago(now, expires)} ago."
    unless = "" if stuck else " unless all of that comes"
    return f"It dies at {at_time(expires, now)}, in {in_words(expires - now)}{unless}."


def dying(at: pd.Timestamp, now: pd.Timestamp) -> str:
    """The same as part of a sentence."""
    if at <= now:
        return f"should have died at {at_time(at, now)}"
    return f"dies at {at_time(at, now)}, in {in_words(at - now)}"


def named(schema: object, external_id: object) -> str:
    """A schema's name and an id."""
    return plain(external_id) if pd.isna(schema) else f"{plain(schema)} {plain(external_id)}"  # type: ignore[call-overload]


def listed(names: Iterable[str], count: int) -> str:
    """Some names, and how many more there are."""
    shown = [*names]
    if count > len(shown):
        return f"{', '.join(shown)} and {count - len(shown):,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def many(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def at_time(moment: pd.Timestamp, now: pd.Timestamp) -> str:
    """A time to the minute, in the zone of ``now``; a dash for null."""
    return "–" if pd.isna(moment) else f"{moment.tz_convert(now.tz):%Y-%m-%d %H:%M %Z}"


def ago(now: pd.Timestamp, then: pd.Timestamp) -> str:
    """How long it is since then."""
    return in_words(now - then)
