"""The figures that matter most."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from reach_analytics.measures.overview.glance import Glance
from reach_analytics.tables import KEY_FIGURES

__all__ = ["MEANINGS", "counted_figures", "key_figures"]

MEANINGS = {
    "batches": "batches ever observed",
    "failed_batches": "batches with the status failure",
    "settled_fraction": "fraction that succeeded, of the records that succeeded or failed",
    "waiting": "records that wait for something missing, as listed",
    "expiring_soon": "of these, those that expire within an hour",
    "lost": "records that expired or failed, or of which it is unknown which of the two",
    "missing": "missing dependencies that somebody has to deliver",
}


def counted_figures(
    batches: pd.DataFrame, waiting: pd.DataFrame, success: pd.DataFrame, missing: int
) -> dict[str, float]:
    """The figures at an earlier moment, of those that its batches and waits tell.

    Parameters
    ----------
    batches : pandas.DataFrame
        With their status.
    waiting : pandas.DataFrame
        pending_resources and expiring_soon of each tenant.
    success : pandas.DataFrame
        As ``measures.success(batches)``.
    missing : int
        How many missing dependencies somebody has to deliver.
    """
    settled = success["settled_fraction"].iloc[0] if len(success) else None
    return {
        "batches": float(len(batches)),
        "failed_batches": float((batches["status"] == "failure").sum()),
        "settled_fraction": math.nan if settled is None or pd.isna(settled) else float(settled),
        "waiting": float(waiting["pending_resources"].sum()),
        "expiring_soon": float(waiting["expiring_soon"].sum()),
        "missing": float(missing),
    }


def key_figures(glance: Glance) -> pd.DataFrame:
    """`tables.KEY_FIGURES` of a moment."""
    rows = [
        {"figure": name, "meaning": meaning, **_ends(glance, name)}
        for name, meaning in MEANINGS.items()
    ]
    frame = pd.DataFrame(rows)
    frame["before"] = [_known(glance.before, name) for name in frame["figure"]]
    return KEY_FIGURES.conform(frame)


def _ends(glance: Glance, figure: str) -> dict[str, float | None]:
    """A figure, and the ends between which it lies where it is uncertain."""
    if figure == "settled_fraction":
        if glance.success.empty:
            return {"value": None}
        row = glance.success.iloc[0]
        ends = {"low": "settled_low_fraction", "high": "settled_high_fraction"}
        return {"value": row["settled_fraction"]} | {end: row[name] for end, name in ends.items()}
    if figure == "lost":
        known = glance.health["lost_records"].notna().all() and not glance.unreconciled
        return {"value": float(glance.health["lost_records"].sum()) if known else None}
    if figure == "missing":
        return {"value": float(glance.missing)}
    if figure == "waiting":
        return {"value": float(glance.listed)}
    return {"value": float(glance.count(figure))}


def _known(figures: Mapping[str, float], name: str) -> float | None:
    value = figures.get(name)
    return None if value is None or math.isnan(value) else value
