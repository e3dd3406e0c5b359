"""How waits end: how many are released in time, and how many are lost."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from reach_analytics._time import parse_timestamp
from reach_analytics.measures._shared.grouping import (
    By,
    finished,
    group_names,
    numbered_groups,
)
from reach_analytics.measures._shared.intervals import clustered_interval
from reach_analytics.queries.evidence import release_counts_of_rows
from reach_analytics.queries.releases import COUNTS
from reach_analytics.tables import RELEASE_RATES, WAIT_OUTCOMES, Frame

__all__ = ["rates_of_counts", "release_rates"]

_APART = 0.05  # bounds farther apart have no middle worth reporting
_ROOTS = 20  # for an interval to cover as stated: few records depend on one
_COLUMNS = ["created_at", "first_seen", "expires_at", "departure", "verdict"]
_COLUMNS += ["unknown_together", "released_at_least", "released_at_most"]
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
    rows = WAIT_OUTCOMES.normalize(wait_outcomes, [*WAIT_OUTCOMES.names, *names], "release_rates")
    rows = rows.reset_index(drop=True)
    group, groups = numbered_groups(rows, names)
    numbers = {
        "group": group,
        "batch": rows.groupby(["tenant_id", "batch_id"], dropna=False).ngroup(),
        "cluster": rows.groupby(_ROOT, dropna=False).ngroup(),
    }
    given = WAIT_OUTCOMES.to_arrow(rows[_COLUMNS])
    for name, number in numbers.items():
        given = given.append_column(name, pa.array(number, pa.int64()))
    counts = release_counts_of_rows(given, ["group"], parse_timestamp(as_of)).to_pandas()
    labels = groups.reindex(counts.pop("group")).reset_index(drop=True)
    return rates_of_counts(pd.concat([labels, counts], axis=1), names)


def rates_of_counts(counts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The rates from the counts of each group and cluster; see `queries.releases`."""
    groups = names or ["_all"]
    parts = counts if names else counts.assign(_all=0)
    summed = [name for name in COUNTS if name in parts.columns]
    table = parts.groupby(groups, dropna=False)[summed].sum()
    every = table["mature"].where(table["mature"] > 0).astype("float64")
    few = (table["released"] + table["few"]) / every
    many = (table["released"] + table["many"]) / every
    middle = ((few + many) / 2).where(many - few <= _APART)
    table = table.assign(
        released_min_fraction=few,
        released_max_fraction=many,
        released_fraction=middle,
        expired_min=(table["expired_all"] + table["lost_least"]).round().astype("int64"),
        expired_max=(table["expired_all"] + table["lost_most"]).round().astype("int64"),
        **_interval(parts, groups, table.index),
    )
    return finished(table, groups, RELEASE_RATES.empty())


def _interval(
    counts: pd.DataFrame, groups: list[str], index: pd.Index
) -> dict[str, npt.NDArray[Any]]:
    """The interval of the part released, waits that hang on one root taken together."""
    number = index.get_indexer(_keys(counts, groups)) if len(counts) else np.zeros(0, np.int64)
    kinds = ["released", "expired", "unknown", "few", "many"]
    own = counts[["cluster", *kinds]].assign(_number=number)
    parts = own.groupby(["_number", "cluster"])[kinds].sum().reset_index()
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


def _keys(counts: pd.DataFrame, groups: list[str]) -> pd.Index:
    own = counts[groups]
    return pd.Index(own[groups[0]]) if len(groups) == 1 else pd.MultiIndex.from_frame(own)
