"""Lengths of time, as a user writes them."""

from __future__ import annotations

import pandas as pd


def length(
    value: str | pd.Timedelta, name: str, *, least: pd.Timedelta | None = None
) -> pd.Timedelta:
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
