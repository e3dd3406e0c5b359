"""Moments and lengths of time, as a user writes them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd


def length(value: str | timedelta, name: str, *, least: pd.Timedelta | None = None) -> pd.Timedelta:
    """``value`` as a Timedelta above zero, or of at least ``least``.

    Raises
    ------
    ValueError
        If it is none, naming the argument.
    """
    try:
        found = pd.Timedelta(value)
    except (ValueError, TypeError):
        found = pd.Timedelta(-1)
    fits = found >= least if least is not None else found > pd.Timedelta(0)
    if not fits:  # a NaT fits nothing
        wanted = "above zero" if least is None else f"of at least {least.total_seconds():g} s"
        raise ValueError(f"{name} must be a length of time {wanted}, as '2h', found {value!r}")
    return found


def moment(value: str | datetime, name: str = "as_of") -> pd.Timestamp:
    """``value`` in UTC, to the microsecond; without an offset it counts as UTC.

    Raises
    ------
    ValueError
        If it is no moment. Neither "now" nor a number is one: a measure reads no clock.
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
    aware = found.tz_localize("UTC") if found.tzinfo is None else found.tz_convert("UTC")
    return aware.as_unit("us")
