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


def how_good(plan: pd.DataFrame) -> str:
    """What the uploads of a plan free, beside what no others could exceed.

    Parameters
    ----------
    plan : pandas.DataFrame
        As from ``history.upload_plan()``, not empty.
    """
    last = plan.iloc[-1]
    uploads = "One upload frees" if len(plan) == 1 else f"{len(plan):,} uploads free"
    told = f"{uploads} {last['running_total']:,}"
    most = last["max_running_total"]
    if pd.isna(most):
        return f"{told}; what other plans could reach at this pace is unknown."
    if last["running_total"] == most:
        return f"{told}: no plan of as many frees more."
    return f"{told}, at least {last['running_total'] * 100 // most} % of the best possible."
