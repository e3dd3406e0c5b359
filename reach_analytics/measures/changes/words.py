"""What changed, in a few sentences."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd

from reach_analytics.measures.stories.phrases import listed, many, named, short
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
    told = [*_of_counts(rows), *_of_bottlenecks(rows), *_of_success(rows), *_of_deadlocks(rows)]
    return "\n".join(told) or "Nothing changed."


def _of_counts(rows: pd.DataFrame) -> list[str]:
    """A sentence each on batches, records, waits and missing dependencies, of what there is."""
    sizes = rows.groupby(["about", "change"])["size"].sum()

    def parts(about: str, phrases: dict[str, str]) -> str:
        known = [(sizes.get((about, name), 0), phrase) for name, phrase in phrases.items()]
        return listed([f"{size:,.0f} {phrase}" for size, phrase in known if size], 0)

    told = [
        ("Batches", parts("batches", {"new": "new", "settled": "settled", "failed": "failed"})),
        (
            "Records, as the batches count them",
            parts("records", {"landed": "landed", "failed": "failed"}),
        ),
        (
            "Waits",
            parts(
                "records",
                {
                    "waiting": "began",
                    "released": "released",
                    "expired": "expired",
                    "unknown": "over, nobody saw how",
                },
            ),
        ),
        (
            "Missing dependencies",
            parts("dependencies", {"new": "new", "arrived": "arrived", "gone": "missed no longer"}),
        ),
    ]
    return [f"{what}: {said}." for what, said in told if said]


def _of_bottlenecks(rows: pd.DataFrame) -> list[str]:
    told = []
    for change in ("grew", "shrank"):
        own = rows[(rows["about"] == "bottleneck") & (rows["change"] == change)]
        most = [
            f"{_key(row)} ({row['before']:,.0f} → {row['after']:,.0f})"
            for row in own.head(_FEW).to_dict("records")
        ]
        if most:
            told.append(f"Bottlenecks that {change}: {listed(most, len(own))}.")
    return told


def _key(row: dict[Hashable, Any]) -> str:
    """Schema and id, and the tenant where its name is there."""
    tenant = f" of {short(row['tenant_name'])}" if "tenant_name" in row else ""
    return f"{named(row['schema_name'], row['external_id'])}{tenant}"


def _of_success(rows: pd.DataFrame) -> list[str]:
    told = []
    every = rows[rows["about"] == "success"]
    for row in every[every["tenant_id"].isna()].to_dict("records"):
        before, after = (_interval(row, name) for name in ("before", "after"))
        sure = row["beyond_chance"]
        why = "too few batches to tell"
        if not pd.isna(sure):
            why = "more than chance" if sure else "no more than chance may do"
        if before and after:
            told.append(f"Success: {before}, then {after}: {why}.")
        else:
            told.append(f"Success: {before or after}; nothing settled {_when(before)} it.")
    sure = every[every["tenant_id"].notna() & every["beyond_chance"].fillna(False).astype(bool)]
    name = "tenant_name" if "tenant_name" in rows else "tenant_id"
    for change in ("fell", "rose"):
        own = sure[sure["change"] == change]
        if len(own) and len(every) > 2:
            names = _names(own[name])
            told.append(f"Success {change}, by more than chance, for {names}.")
    return told


def _when(before: str) -> str:
    return "after" if before else "before"


def _interval(row: dict[Hashable, Any], name: str) -> str:
    fraction, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return "" if pd.isna(fraction) else f"{fraction:.1%} ({low:.1%}–{high:.1%})"


def _of_deadlocks(rows: pd.DataFrame) -> list[str]:
    told = []
    every = rows[rows["about"] == "deadlock"]
    phrases = {"new": "new", "gone": "gone", "grew": "larger", "shrank": "smaller"}
    for change, phrase in phrases.items():
        own = every[every["change"] == change]
        if len(own):
            keys = [_key(row) for row in own.head(_FEW).to_dict("records")]
            what = many(len(own), "deadlock")
            told.append(f"{what} {phrase}: with {listed(keys, len(own))}.")
    return told


def _names(names: Iterable[Any]) -> str:
    every = [short(one) for one in names]
    return listed(every[:_FEW], len(every))
