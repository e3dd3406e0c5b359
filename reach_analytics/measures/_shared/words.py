"""What the figures say, in words that the report and the command line share."""

from __future__ import annotations

import pandas as pd


def offer(conventions: pd.DataFrame) -> str:
    """What saying that released records never fail would decide; empty where that is nothing.

    Parameters
    ----------
    conventions : pandas.DataFrame
        As from ``history.conventions()``.
    """
    row = conventions.iloc[0]
    if not row["none_fails"] or not row["would_settle"]:
        return ""
    return (
        f"How {row['unknown']:,} waits ended is unknown. All counts fit that a released record "
        f"never fails its validation: of {row['released']:,} released for certain none did. "
        f"If that is so, {row['would_settle']:,} of these ends are known: "
        "open_history(…, released_may_fail=False), or --released-never-fail."
    )
