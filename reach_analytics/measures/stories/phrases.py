"""Phrases that stories are made of."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from reach_analytics._time import in_words
from reach_analytics.measures.stories.story import plain

__all__ = ["ago", "at_time", "dying", "listed", "many", "named", "short"]

_LONGEST = 80  # characters of an id in a sentence


def dying(expires: pd.Timestamp, now: pd.Timestamp) -> str:
    """When a wait ends, as part of a sentence."""
    if expires <= now:
        return f"should have died at {at_time(expires, now)}"
    return f"dies at {at_time(expires, now)}, in {in_words(expires - now)}"


def short(name: object) -> str:
    """A foreign text for a sentence, shortened in the middle."""
    shown = plain(name)
    return f"{shown[: _LONGEST - 12]}…{shown[-11:]}" if len(shown) > _LONGEST else shown


def named(schema: object, external_id: object) -> str:
    """A schema's name and an id, shortened in the middle."""
    shown = short(external_id)
    return shown if pd.isna(schema) else f"{short(schema)} {shown}"  # type: ignore[call-overload]


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
    """How long it is since then; some clocks are ahead."""
    return f"{in_words(now - then)} ago" if then <= now else f"{in_words(then - now)} ahead"
