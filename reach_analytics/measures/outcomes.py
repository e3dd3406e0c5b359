"""How waits end: how many are released in time, and how many are lost."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from reach_analytics.columns import OUTCOMES, WAITING
from reach_analytics.measures.given import moment
from reach_analytics.measures.grouping import By, finished, group_names
from reach_analytics.measures.interval import clustered_interval

_ROOT = ["tenant_id", "root_schema_definition_id", "root_external_id"]


def outcomes(waiting: pd.DataFrame, *, as_of: datetime, by: By = None) -> pd.DataFrame:
    """Which part of the waits was released, among those that had the time to end.

    A wait is mature if it began longer ago than the longest wait of its group can last (the
    largest ``expires_at - created_at``): the young ones that are over by now are the fast ones, and
    would flatter the rate. ``released_fraction`` = released / (released + expired) of the mature.
    Its interval is Wilson's, adjusted for waits on one root ending together (see `success`). What
    the unknown ends leave open is told apart from that, by two bounds over all mature waits: as if
    as few of them were released as the counts allow, and as if as many.

    Short waits that begin and end between two looks are never seen, so that the fraction is of
    waits that lasted long enough to be seen.

    Parameters
    ----------
    waiting : pandas.DataFrame
        As from ``history.waiting()``.
    as_of : datetime
        The moment it is told from; without an offset it counts as UTC.
    by : str or list of str, optional
        Columns to group by, as ``"schema_name"``.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; waits, mature, released, expired, unknown (counts, the last three of
        mature waits; ``unknown`` includes those out of sight since); released_fraction,
        design_effect, released_low_fraction, released_high_fraction, interval (``adjusted``,
        ``descriptive`` or null), released_least_fraction, released_most_fraction (0–1). One row
        without ``by``, none without waits.

    Raises
    ------
    FrameError
        If the frame lacks a needed column.

    Examples
    --------
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import outcomes
    >>> outcomes(columns.WAITING.empty(), as_of="2026-01-01").shape
    (0, 12)
    """
    names = group_names(by, OUTCOMES.names, "the waits")
    waiting = WAITING.require(waiting, [*WAITING.names, *names], "outcomes")
    rows = waiting.reset_index(drop=True)
    groups = names or ["_all"]
    rows = rows.assign(_all=0) if not names else rows
    now = moment(as_of)
    began = rows["created_at"].fillna(rows["first_seen"])
    longest = (rows["expires_at"] - began).groupby([rows[g] for g in groups], dropna=False)
    mature = began + longest.transform("max") <= now  # never where nothing can run out
    kept = [*dict.fromkeys([*groups, *_ROOT])]
    told = rows.loc[mature, kept].assign(**_fates(rows[mature], groups))
    sums = told.groupby(groups, dropna=False)[["released", "expired", "unknown", "few", "many"]]
    table = rows.groupby(groups, dropna=False).size().to_frame("waits").join(sums.sum())
    table = table.fillna({"released": 0, "expired": 0, "unknown": 0})
    table["mature"] = table["released"] + table["expired"] + table["unknown"]
    every = table["mature"].where(table["mature"] > 0).astype("float64")
    table = table.assign(
        **_interval(told, groups, table),
        released_least_fraction=(table["released"] + table["few"]) / every,
        released_most_fraction=(table["released"] + table["many"]) / every,
    )
    return finished(table, groups, OUTCOMES.empty())


def _fates(mature: pd.DataFrame, groups: list[str]) -> dict[str, pd.Series]:
    """1 or 0 for each fate, and of the unknown the part that was released at least and at most.

    The bounds are about all that left a batch between the same looks. Of these, as many as stand
    elsewhere may have been the released ones, or none of them.
    """
    verdict = mature["verdict"]
    released, expired = verdict == "released", verdict == "expired"
    unknown = ~released & ~expired
    left = verdict == "unknown"
    by = [*dict.fromkeys([*groups, "tenant_id", "batch_id", "departure"])]
    own = left.groupby([mature[name] for name in by], dropna=False).transform("sum")
    together, least, most = (
        mature[name].astype("float64")
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
    }


def _interval(
    told: pd.DataFrame, groups: list[str], table: pd.DataFrame
) -> dict[str, pd.Series | np.ndarray]:
    """released_fraction and its interval, waits that hang on one root taken together."""
    by = [*dict.fromkeys([*groups, *_ROOT])]
    parts = told.groupby(by, dropna=False)[["released", "expired"]].sum().reset_index()
    size = parts["released"] + parts["expired"]
    parts = parts[size > 0].assign(
        size=size, own=parts["released"] ** 2, cross=parts["released"] * size, square=size**2
    )
    sums = parts.groupby(groups, dropna=False)[["released", "size", "own", "cross", "square"]]
    total = sums.sum().assign(clusters=sums.size()).reindex(table.index)
    fraction = total["released"] / total["size"]
    found = clustered_interval(
        fraction,
        total["size"].fillna(0),
        total["clusters"],
        own_square=total["own"],
        cross=total["cross"],
        square=total["square"],
    )
    return {
        "released_fraction": fraction,
        "design_effect": found["design_effect"],
        "released_low_fraction": found["low"],
        "released_high_fraction": found["high"],
        "interval": found["kind"],
    }
