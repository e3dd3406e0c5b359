"""Times and durations, as a user writes them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

_NUMBER = re.compile(r"\s*[+-]?[\d._]+(e[+-]?\d+)?\s*", re.IGNORECASE)

_DAYS = re.compile(r"(?<![a-z])d(?![a-z])", re.IGNORECASE)  # pandas deprecates "7d"


def parse_duration(
    value: str | timedelta | np.timedelta64, name: str, *, minimum: pd.Timedelta | None = None
) -> pd.Timedelta:
    """``value`` as a Timedelta above zero, or of at least ``minimum``.

    Text needs a unit, which may stand alone (``"h"`` is an hour). A bare number has none: pandas
    would read it as nanoseconds, which is never meant.

    Raises
    ------
    ValueError
        If it is not a duration, naming the argument.
    """
    found: pd.Timedelta = _length(value)
    fits = found >= minimum if minimum is not None else found > pd.Timedelta(0)
    if not fits:  # NaT compares as false
        wanted = "above zero" if minimum is None else f"of at least {minimum.total_seconds():g} s"
        bare = isinstance(value, int | float | np.number) or (
            isinstance(value, str) and _NUMBER.fullmatch(value)
        )
        unit = "; a number needs a unit" if bare else ""
        raise ValueError(
            f"{name} must be a length of time {wanted}, as '2h', found {value!r}{unit}"
        )
    return found


def _length(value: object) -> Any:
    """The value as a Timedelta, or NaT."""
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return pd.NaT
        value = f"1{value}" if value.strip().isalpha() else value
        value = _DAYS.sub("D", value)
    elif not isinstance(value, timedelta | np.timedelta64):
        return pd.NaT
    elif isinstance(value, np.timedelta64) and np.datetime_data(value)[0] == "generic":
        return pd.NaT  # again a bare number
    try:
        return pd.Timedelta(value)
    except (ValueError, TypeError):  # also beyond the range of a Timedelta
        return pd.NaT


def parse_timezone(name: object) -> str:
    """The name of a time zone, as "Europe/Berlin".

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    key = getattr(name, "key", name)  # of a ZoneInfo
    if key == "UTC":
        return "UTC"  # which needs no file
    known = available_timezones()
    if isinstance(key, str) and key in known:
        return key
    lowered = {one.casefold(): one for one in sorted(known)}
    cities = {one.rpartition("/")[2]: whole for one, whole in lowered.items()}
    text = str(key).casefold().replace(" ", "_")
    near = cities.get(text) or next(
        (lowered[one] for one in get_close_matches(text, lowered, n=1, cutoff=0.7)), None
    )
    meant = f"; did you mean {near!r}?" if near else ""
    raise ValueError(f"timezone must be a name like 'Europe/Berlin', found {key!r}{meant}")


def parse_timestamp(
    value: str | datetime, name: str = "as_of", timezone: str = "UTC"
) -> pd.Timestamp:
    """``value`` in UTC, to the microsecond; without an offset it counts as of ``timezone``.

    Of a time that a clock there showed twice, the first is meant.

    Raises
    ------
    ValueError
        If it is not a time, or one that no clock there ever shows. Neither "now" nor a number is
        one: measures read no clock.
    """
    wrong = f"{name} must be a time like '2026-03-02 12:00', found {value!r}"
    if not isinstance(value, datetime) and not (isinstance(value, str) and value[:4].isdigit()):
        raise ValueError(wrong)
    try:
        found = pd.Timestamp(value)
    except ValueError as error:
        raise ValueError(wrong) from error
    if pd.isna(found):
        raise ValueError(wrong)
    if found.tzinfo is None:
        try:
            found = found.tz_localize(timezone, ambiguous=True)
        except ValueError as error:  # its clocks were put forward
            raise ValueError(f"{name} {found} is no time in {timezone}: clocks skip it") from error
    return found.tz_convert("UTC").as_unit("us")


def in_words(length: timedelta) -> str:
    """A duration in its two largest units, as "2 d 5 h" or "20 min"; at least "0 s"."""
    seconds = round(length.total_seconds())
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"
