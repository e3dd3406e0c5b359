"""How waits end: how many are released in time, and how many are lost."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reach_analytics._plausible import LONGEST
from reach_analytics._time import parse_timestamp
from reach_analytics.measures._shared.grouping import By, finished, group_names
from reach_analytics.measures._shared.intervals import clustered_interval
from reach_analytics.tables import RELEASE_RATES, WAIT_OUTCOMES, Frame

__all__ = ["release_rates"]

_APART = 0.05  # bounds farther apart have no middle worth reporting
_ROOTS = 20  # for an interval to cover as stated: few records depend on one
_ROOT = ["tenant_id", "root_schema_definition_id", "root_external_id"]


def release_rates(wait_outcomes: Frame, *, by: By = None, as_of: datetime) -> pd.DataFrame:
    """Which part of the waits was released, among those that had time to end.

    A wait is mature if it began longer ago than the longest wait of its group can last (the largest
    ``expires_at - created_at`` of at most a year): the young ones that are over by now are the fast
    ones, and would flatter the rate. Some ends were not seen, so the part released lies between
    ``released_min_fraction`` and ``released_max_fraction``: as if as few of the unknown were
    released as the counts allow, and as if as many. Where these lie within 0.05 of each other,
    ``released_fraction`` is their middle; else it is null, since the known ones are not like the
    unknown. The interval runs from the lower end of that around the one bound to the upper end of
    that around the other, and allows for waits on one root ending together (see `success`); with
    fewer than 20 roots it is ``descriptive``.

    ``expired_min`` and ``expired_max`` count all waits that were seen, the young ones too: how many
    expired for certain and at most. `reconciliation` sets them beside the batches' own counts.

    Short waits that begin and end between two observations are never seen, so the fraction is of
    waits that lasted long enough to be seen.

    Parameters
    ----------
    wait_outcomes : pandas.DataFrame
        As from ``history.wait_outcomes()``.
    as_of : datetime
        Reference time; without an offset it counts as UTC.
    by : str or list of str, optional
        Columns to group by, as ``"schema_name"``.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; waits, mature, released, expired, unknown (counts, the last three of
        mature waits; ``unknown`` includes those not seen since); released_min_fraction,
        released_max_fraction, released_fraction, released_low_fraction, released_high_fraction
        (0–1), interval (``adjusted``, ``descriptive`` or null), design_effect (of the known ones);
        expired_min, expired_max (of all waits seen). One row without ``by``, none without waits.

    Raises
    ------
    FrameError
        If the frame lacks a needed column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import release_rates
    >>> release_rates(tables.WAIT_OUTCOMES.empty(), as_of="2026-01-01").shape
    (0, 14)
    """
    names = group_names(by, RELEASE_RATES.names, "the waits")
    wait_outcomes = WAIT_OUTCOMES.normalize(
        wait_outcomes, [*WAIT_OUTCOMES.names, *names], "release_rates"
    )
    rows = wait_outcomes.reset_index(drop=True)
    groups = names or ["_all"]
    rows = rows.assign(_all=0) if not names else rows
    now = parse_timestamp(as_of)
    began = rows["created_at"].fillna(rows["first_seen"])
    given = rows["expires_at"] - began
    longest = given.where(given <= LONGEST).groupby([rows[g] for g in groups], dropna=False)
    mature = began + longest.transform("max") <= now  # never where nothing can run out
    mature &= ~((given > LONGEST) & (rows["expires_at"] > now))
    kept = [*dict.fromkeys([*groups, *_ROOT])]
    fates = rows[kept].assign(**_fates(rows, groups, now))
    told = fates[mature]
    sums = told.groupby(groups, dropna=False)[["released", "expired", "unknown", "few", "many"]]
    table = rows.groupby(groups, dropna=False).size().to_frame("waits").join(sums.sum())
    table = table.fillna({"released": 0, "expired": 0, "unknown": 0})
    gone = fates.assign(
        expired_min=fates["expired"] + fates["lost_least"],
        expired_max=fates["expired"] + fates["lost_most"],
    )
    gone = gone.groupby(groups, dropna=False)[["expired_min", "expired_max"]].sum()
    table = table.join(gone.round().astype("int64"))
    table["mature"] = table["released"] + table["expired"] + table["unknown"]
    every = table["mature"].where(table["mature"] > 0).astype("float64")
    few = (table["released"] + table["few"]) / every
    many = (table["released"] + table["many"]) / every
    middle = ((few + many) / 2).where(many - few <= _APART)
    table = table.assign(
        released_min_fraction=few,
        released_max_fraction=many,
        released_fraction=middle,
        **_interval(told, groups, table.index),
    )
    return finished(table, groups, RELEASE_RATES.empty())


def _fates(waits: pd.DataFrame, groups: list[str], now: pd.Timestamp) -> dict[str, pd.Series]:
    """1 or 0 for each fate, and of the unknown the part that was released at least and at most.

    The bounds are about all that left a batch between the same observations. Those of them in other
    groups may all be the released ones, or none of them.
    """
    verdict = waits["verdict"]
    released, expired = verdict == "released", verdict == "expired"
    unknown = ~released & ~expired
    left = verdict == "unknown"
    overdue = unknown & ~left & (waits["expires_at"] <= now)  # out of sight, and over by now
    by = [*dict.fromkeys([*groups, "tenant_id", "batch_id", "departure"])]
    own = left.groupby([waits[name] for name in by], dropna=False).transform("sum")
    together, least, most = (
        waits[name].astype("Float64").astype("float64")
        for name in ("unknown_together", "released_at_least", "released_at_most")
    )
    own = own.where(own < together, together)
    few = (least - (together - own)).clip(lower=0) / own.where(left)
    many = most.where(most < own, own) / own.where(left)
    return {
        "released": released.astype("int64"),
        "expired": expired.astype("int64"),
        "unknown": unknown.astype("int64"),
        "few": few.fillna(0).where(unknown, 0.0),
        "many": many.fillna(1).where(unknown, 0.0),
        "lost_least": (1 - many).where(left, 0.0).fillna(0),
        "lost_most": (1 - few).fillna(1).where(left, overdue.astype("float64")),
    }


def _interval(
    told: pd.DataFrame, groups: list[str], index: pd.Index
) -> dict[str, npt.NDArray[Any]]:
    """The interval of the part released, waits that hang on one root taken together."""
    number = index.get_indexer(_keys(told, groups)) if len(told) else np.zeros(0, np.int64)
    by = [*dict.fromkeys([*groups, *_ROOT])]
    counts = ["released", "expired", "unknown", "few", "many"]
    own = told[[*by, *counts]].assign(_number=number)
    parts = own.groupby(["_number", *by], dropna=False)[counts].sum().reset_index()
    released = parts["released"].to_numpy("float64")
    known = released + parts["expired"].to_numpy("float64")
    size = known + parts["unknown"].to_numpy("float64")
    few, many = (released + parts[name].to_numpy("float64") for name in ("few", "many"))

    def of(hits: npt.NDArray[np.float64], of: npt.NDArray[np.float64]) -> dict[str, Any]:
        own = parts["_number"].to_numpy("int64")
        return clustered_interval(own, hits, of, len(index), least=_ROOTS)

    low, high = of(few, size), of(many, size)
    both = (low["kind"] == "adjusted") & (high["kind"] == "adjusted")
    return {
        "design_effect": of(released, known)["design_effect"],
        "released_low_fraction": low["low"],
        "released_high_fraction": high["high"],
        "interval": np.where(both, "adjusted", low["kind"]),
    }


def _keys(told: pd.DataFrame, groups: list[str]) -> pd.Index:
    return pd.Index(told[groups[0]]) if len(groups) == 1 else pd.MultiIndex.from_frame(told[groups])
