"""What changed, in a few sentences."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from reach_analytics.tables import CHANGES, Frame

__all__ = ["changes_in_words"]

_FEW = 3


def changes_in_words(changes: Frame) -> str:
    """What changed, as a text of a few lines.

    Parameters
    ----------
    changes : pandas.DataFrame
        As from ``history.changes()``.

    Returns
    -------
    str

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import changes_in_words
    >>> print(changes_in_words(tables.CHANGES.empty()))
    Nothing changed.
    """
    rows = CHANGES.normalize(changes, CHANGES.names, "changes_in_words")
    counts = rows.groupby(["about", "change"])["size"].sum()

    def count(about: str, change: str) -> str:
        return f"{counts.get((about, change), 0):,.0f}"

    told = []
    if "batches" in counts:
        new, settled, failed = (count("batches", one) for one in ("new", "settled", "failed"))
        told.append(f"{new} new batches, {settled} settled, {failed} failed.")
    if "records" in counts:
        names = ("landed", "failed", "waiting", "released", "expired", "unknown")
        landed, failed, waiting, released, expired, unknown = (count("records", n) for n in names)
        told.append(
            f"Records: {landed} landed and {failed} failed, as the batches count. {waiting} began "
            f"to wait; of those that waited {released} were released, {expired} expired, and of "
            f"{unknown} the end is unknown."
        )
    if "dependencies" in counts:
        new, arrived, gone = (count("dependencies", one) for one in ("new", "arrived", "gone"))
        told.append(
            f"Missing dependencies: {new} new, {arrived} arrived, {gone} are missed no longer."
        )
    told += _of_bottlenecks(rows[rows["about"] == "bottleneck"])
    told += _of_success(rows[rows["about"] == "success"])
    for change in ("new", "grew", "shrank", "gone"):
        own = rows[(rows["about"] == "deadlock") & (rows["change"] == change)]
        if len(own):
            what = {"new": "new", "gone": "gone"}.get(change, f"that {change}")
            told.append(f"Deadlocks {what}: {_names(own['external_id'])}.")
    return "\n".join(told) or "Nothing changed."


def _of_bottlenecks(rows: pd.DataFrame) -> list[str]:
    told = []
    for change in ("grew", "shrank"):
        own = rows[rows["change"] == change]
        if len(own):
            most = [
                f"{row.external_id} ({row.before:,.0f} → {row.after:,.0f})"
                for row in own.head(_FEW).itertuples()
            ]
            more = "" if len(own) <= _FEW else f" and {len(own) - _FEW:,} more"
            told.append(f"Bottlenecks that {change}: {', '.join(most)}{more}.")
    return told


def _of_success(rows: pd.DataFrame) -> list[str]:
    told = []
    for row in rows[rows["tenant_id"].isna()].to_dict("records"):
        before, after = (_interval(row, name) for name in ("before", "after"))
        sure = row["beyond_chance"]
        why = "too few batches to tell"
        if not pd.isna(sure):
            why = "more than chance" if sure else "no more than chance may do"
        told.append(f"Success: {before}, then {after}: {why}.")
    sure = rows[rows["tenant_id"].notna() & rows["beyond_chance"].fillna(False)]
    name = "tenant_name" if "tenant_name" in rows else "tenant_id"
    for change in ("fell", "rose"):
        own = sure[sure["change"] == change]
        if len(own):
            told.append(f"It {change}, beyond chance, for {_names(own[name])}.")
    return told


def _interval(row: dict[Hashable, Any], name: str) -> str:
    fraction, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return "unknown" if pd.isna(fraction) else f"{fraction:.1%} ({low:.1%}–{high:.1%})"


def _names(names: pd.Series) -> str:
    shown = [str(one) for one in names.head(_FEW)]
    more = f" and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return f"{', '.join(shown)}{more}"
