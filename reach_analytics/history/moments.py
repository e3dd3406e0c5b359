"""Moments as a user writes them."""

from __future__ import annotations

from datetime import datetime

import pandas as pd


def moment_of(value: str | datetime) -> pd.Timestamp:
    """A moment in UTC, to the microsecond; without an offset it counts as UTC."""
    wrong = f"as_of must be a time like '2026-03-02 12:00', found {value!r}"
    if not isinstance(value, datetime) and not (isinstance(value, str) and value[:4].isdigit()):
        raise ValueError(wrong)  # so that neither "now" nor a number is taken for a moment
    try:
        moment = pd.Timestamp(value)
    except ValueError as error:
        raise ValueError(wrong) from error
    if pd.isna(moment):
        raise ValueError(wrong)
    aware = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
    return aware.as_unit("us")
