"""When success changed: the split of a series of batches that divides it best."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import exp, lgamma, log
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reach_analytics.measures._shared.grouping import By
from reach_analytics.measures.batches.control_chart import settled_in_order
from reach_analytics.tables import CHANGE_POINT, Frame

__all__ = ["Numbers", "arrangements", "change_point"]

_CELLS = 4_000_000  # of the arrays that hold permutations at once
_ORDERS = 999  # of the parts, to judge an autocorrelation by
_SAME = 1 - 1e-9  # what rounding may take from a statistic that is the same
Numbers = NDArray[Any]


def change_point(
    batches: Frame,
    *,
    by: By = None,
    time: str = "created_at",
    n_resamples: int = 9999,
    seed: int = 0,
    min_batches: int = 8,
) -> pd.DataFrame:
    """Where the settled fraction of each group changed the most, and whether that may be chance.

    The batches of a group, in the order of their time, are split in two at every place. With *p*
    the pooled fraction successful / (successful + failed) and *n* settled records before and *m*
    after, ``statistic`` is the largest of the ::

        |fraction before - fraction after| / √(p (1 - p) (1/n + 1/m))

    ``p_value`` is the share of the orders of the batches whose statistic is as large. Whole
    batches change places, since the records of one succeed or fail together. If there are no more
    than ``n_resamples`` different orders, all are enumerated (batches that are alike give the same
    order); otherwise that many are drawn, and with *b* of *B* as large it is (1 + b) / (1 + B).
    ``adjusted_p_value`` allows for the number of groups (Benjamini and Hochberg 1995): of the
    groups with one up to 0.05, no more than 5 % are expected to be false alarms.

    The test supposes that without a change every order was as likely. Where a batch resembles the
    one before (a bad hour, a large import in parts), that does not hold and p-values are too small:
    with an autocorrelation of 0.6, up to 45 % of the series without a change give p ≤ 0.05. So it
    is tested: ``autocorrelation`` is that of neighbouring batches' standardised fractions before
    and after the best split, and ``autocorrelation_p_value`` the share of the orders within each
    part with as large a one. Up to 0.05, ``autocorrelated`` is true: do not act on the p-value
    then. With few batches it often goes unnoticed (see docs/coverage.md).

    Parameters
    ----------
    batches, by, time
        As for `control_chart`.
    n_resamples : int
        How many orders to enumerate or draw. Time grows with this times the batches.
    seed : int
        The same seed gives the same result for each group, whatever the others are.
    min_batches : int
        Batches that a test needs. Six, halved perfectly, cannot get below p = 0.1.

    Returns
    -------
    pandas.DataFrame
        One row per group, sorted: the ``by`` columns; batches (with settled records and a time),
        changed_at (UTC, time of the first batch after the best split), before_fraction and
        after_fraction (0–1), statistic, p_value, adjusted_p_value, autocorrelation (-1 to 1),
        autocorrelation_p_value, autocorrelated and reason: null, or why there
        is no test (``fewer than 8 settled batches``, ``all succeeded``, ``none succeeded``); then
        the others are null. Without ``by`` one row, and none if there are no batches.

    Raises
    ------
    FrameError
        If ``batches`` lacks a needed column.
    ValueError
        If ``n_resamples`` is below 1 or ``min_batches`` below 2, or ``by`` names a column
        of the result.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics.measures.batches.change_point import change_point
    >>> batches = pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": list("abcdefgh"),
    ...     "successful_records": [9, 9, 9, 9, 3, 3, 3, 3],
    ...     "failed_records": [1, 1, 1, 1, 7, 7, 7, 7],
    ...     "created_at": pd.date_range("2026-01-01", periods=8, tz="UTC"),
    ... })
    >>> row = change_point(batches).iloc[0]
    >>> print(row["changed_at"].date(), row["before_fraction"], row["after_fraction"])
    2026-01-05 0.9 0.3
    >>> print(round(row["p_value"] * 70, 6))  # as far apart in 2 of the 70 orders
    2.0
    """
    for name, value, lowest in (("n_resamples", n_resamples, 1), ("min_batches", min_batches, 2)):
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, found {value}")
    names, groups, rows = settled_in_order(batches, by, time, CHANGE_POINT, "change_point")
    parts = dict(iter(rows.groupby("chart")))
    found = [
        _tested(parts.get(number, rows.iloc[:0]), n_resamples, seed, min_batches)
        for number in groups["chart"].tolist()
    ]
    table = CHANGE_POINT.conform(pd.DataFrame(found, columns=CHANGE_POINT.names))
    table["adjusted_p_value"] = _adjusted(table["p_value"])
    return pd.concat([groups[names], table], axis=1)


def _tested(rows: pd.DataFrame, n_resamples: int, seed: int, min_batches: int) -> dict[str, Any]:
    """One group's row."""
    good = rows["_successes"].to_numpy("float64")
    size = rows["settled_records"].to_numpy("float64")
    row: dict[str, Any] = {"batches": len(rows)}
    if len(rows) < min_batches:
        return row | {"reason": f"fewer than {min_batches} settled batches"}
    if good.sum() in (0, size.sum()):
        return row | {"reason": "all succeeded" if good.sum() else "none succeeded"}
    scores = _scores(good[None], size[None])[0]
    split = int(scores.argmax()) + 1
    return row | {
        "changed_at": rows["at"].iloc[split],
        "before_fraction": good[:split].sum() / size[:split].sum(),
        "after_fraction": good[split:].sum() / size[split:].sum(),
        "statistic": scores.max(),
        "p_value": _p_value(good, size, scores.max(), n_resamples, seed),
        **_autocorrelation(good, size, split, n_resamples, seed),
    }


def _autocorrelation(
    good: Numbers, size: Numbers, split: int, n_resamples: int, seed: int
) -> dict[str, Any]:
    """How much neighbours within the two parts resemble each other, and whether by chance."""
    parts = [slice(None, split), slice(split, None)]
    p = np.concatenate([np.full(len(good[k]), good[k].sum() / size[k].sum()) for k in parts])
    spread = np.sqrt(size * p * (1 - p))
    z = np.divide(good - p * size, spread, out=np.zeros(len(good)), where=spread > 0)
    across = np.ones(len(z) - 1)
    across[split - 1] = 0  # the pair on either side of the change

    def lag(values: Numbers) -> Numbers:
        return (values[:, :-1] * values[:, 1:]) @ across

    total = (z**2).sum()
    if not total > 0:
        return {}
    random = np.random.default_rng(seed)
    rounds = min(n_resamples, _ORDERS)
    found, as_large = float(lag(z[None])[0]), 0
    step = max(1, _CELLS // 4 // len(z))
    for start in range(0, rounds, step):
        rows = min(step, rounds - start)
        mixed = [random.permuted(np.tile(z[k], (rows, 1)), axis=1) for k in parts]
        as_large += int((lag(np.concatenate(mixed, axis=1)) >= found * _SAME - 1e-12).sum())
    p_value = (1 + as_large) / (1 + rounds)
    return {
        "autocorrelation": found / total,
        "autocorrelation_p_value": p_value,
        "autocorrelated": p_value <= 0.05,
    }


def _scores(good: Numbers, size: Numbers) -> Numbers:
    """The standardised difference at each split, for each row of batches."""
    before, reached = size.cumsum(axis=1)[:, :-1], good.cumsum(axis=1)[:, :-1]
    n, s = size.sum(axis=1, keepdims=True), good.sum(axis=1, keepdims=True)
    # |a/m - (s-a)/(n-m)| = |a n - s m| / (m (n - m)), and the variance has the same factors.
    apart = np.abs(reached * n - s * before) / np.sqrt(before * (n - before))
    scores: Numbers = apart / np.sqrt(s * (n - s) / n)
    return scores


def _p_value(good: Numbers, size: Numbers, found: float, n_resamples: int, seed: int) -> float:
    kinds, kind, counts = np.unique(
        np.column_stack([good, size]), axis=0, return_inverse=True, return_counts=True
    )
    orders = lgamma(len(good) + 1) - sum(lgamma(count + 1) for count in counts.tolist())
    most = min(n_resamples, _CELLS // len(good))
    if orders < log(most + 0.5):
        drawn: Iterator[Numbers] = iter([arrangements(counts)])
        extra, total = 0, round(exp(orders))
    else:
        drawn = _drawn(kind.reshape(-1), n_resamples, seed)
        extra, total = 1, n_resamples
    as_large = 0
    for places in drawn:
        scores = _scores(kinds[places, 0], kinds[places, 1]).max(axis=1)
        as_large += int((scores >= found * _SAME).sum())
    return (as_large + extra) / (total + extra)


def arrangements(counts: Numbers) -> Numbers:
    """Every order of things of several kinds, ``counts`` of each: a row per order."""
    length = int(counts.sum())
    placed, free = np.zeros((1, length), dtype=np.intp), np.arange(length)[None]
    for kind in np.argsort(counts, kind="stable"):
        room, many = free.shape[1], int(counts[kind])
        chosen = np.array(list(combinations(range(room), many)), dtype=np.intp)
        left = np.ones((len(chosen), room), dtype=bool)
        np.put_along_axis(left, chosen, False, axis=1)
        rest = np.nonzero(left)[1].reshape(len(chosen), room - many)
        placed = np.repeat(placed, len(chosen), axis=0)
        np.put_along_axis(placed, free[:, chosen].reshape(len(placed), many), kind, axis=1)
        free = free[:, rest].reshape(len(placed), room - many)
    return placed


def _drawn(kind: Numbers, n_resamples: int, seed: int) -> Iterator[Numbers]:
    """Random orders, as many rows at once as memory allows."""
    random = np.random.default_rng(seed)
    step = max(1, _CELLS // 4 // len(kind))
    for start in range(0, n_resamples, step):
        rows = min(step, n_resamples - start)
        yield random.permuted(np.tile(kind, (rows, 1)), axis=1)


def _adjusted(p_values: pd.Series) -> pd.Series:
    from scipy.stats import false_discovery_control

    tested = p_values.dropna()
    if tested.empty:
        return p_values
    adjusted = pd.Series(false_discovery_control(tested.to_numpy()), index=tested.index)
    return adjusted.reindex(p_values.index)
