"""Which batches differ from the usual: a control chart of the settled fraction."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from reach_analytics._time import parse_timestamp
from reach_analytics.measures._shared.grouping import By, group_names, time_column
from reach_analytics.measures._shared.predictive import predictive_limits
from reach_analytics.tables import BATCH_KEY, BATCHES, CONTROL_CHART, Frame, Table, as_utc

__all__ = ["Limits", "control_chart", "settled_in_order"]

Limits = Literal["beta-binomial", "laney", "laney-strict", "p"]
_MIN = 20  # batches of a baseline that is given by a moment
_RANGE = 1.128  # mean distance of two standard normal values, as control charts have it
_TAIL = 0.0013498980316300933  # chance beyond three standard deviations, on one side
_SPARSE = 5  # expected successes or failures below which the normal limits do not hold


def control_chart(
    batches: Frame,
    *,
    by: By = None,
    time: str = "created_at",
    baseline: int | str | datetime = 20,
    limits: Limits = "beta-binomial",
) -> pd.DataFrame:
    """Batches whose settled fraction is not what it used to be, by a control chart per group.

    The baseline is the first batches of a group. It is frozen: the centre and the spread come from
    it alone, and later batches are judged by them and never change them. With *s* of *n* settled
    records succeeded in each batch, ``centre_fraction`` is p̄ = Σs / Σn over the baseline.

    The records of a batch succeed or fail together, so batches differ by more than chance, and the
    larger ones hardly less than the small ones. By default the limits are those between which a
    further batch of its size lies with 99.73 %, if batches differ as those of the baseline do
    (beta-binomial; what so few batches leave open widens them). With ``"laney"`` they are Laney's
    (2002), which take all variance to shrink with n::

        p̄ ± 3 · max(1, sigma_z) · √(p̄ (1 - p̄) / n)
        sigma_z = mean of |z - the z before it| / 1.128   with z = (s / n - p̄) / √(p̄ (1 - p̄) / n)

    cut to 0–1; ``"laney-strict"`` lets ``sigma_z`` narrow them too, and ``"p"`` leaves it out. With
    these, where fewer than 5 successes or failures are expected (n p̄ or n (1 - p̄)), the limits are
    the binomial distribution's own tails of 0.135 % each.

    In control, with a baseline of 20 batches of 30 to 2,000 records, 0.1 to 0.5 % of the batches
    signal by the default limits, and up to 10 % by Laney's (see docs/coverage.md).

    Parameters
    ----------
    batches : pandas.DataFrame
        As from ``history.batches()``. Only batches with settled records (successful + failed above
        0) and with a time are placed.
    by : str or list of str, optional
        Columns to group by, as ``"schema_name"``: each group has a chart of its own. Batches
        without a value form a group.
    time : str
        The time that orders the batches: ``created_at``, ``started_at`` or ``completed_at``.
    baseline : int, str or datetime
        How many batches, from a group's first on, are the baseline; or its last moment (a time
        without an offset counts as UTC). A moment needs 20 batches up to it.
    limits : {"beta-binomial", "laney", "laney-strict", "p"}
        How wide the limits are, as above.

    Returns
    -------
    pandas.DataFrame
        One row per batch, by group and time: the ``by`` columns; chart (number of the group, from
        1), tenant_id, batch_id, at (UTC), settled_records, settled_fraction, centre_fraction,
        low_fraction, high_fraction (0–1), sigma_z (as estimated; null for ``p``),
        in_baseline, signal (``above``, ``below`` or null), basis (``beta-binomial``, ``p'``, ``p``
        or ``exact``) and reason: null, or why the group has no limits and no signals
        (``fewer than 20 settled batches``, ``all succeeded in the baseline``, ``none succeeded in
        the baseline``).

    Raises
    ------
    FrameError
        If ``batches`` lacks a needed column.
    ValueError
        If ``baseline`` is a number below 2 or no time, ``limits`` is none of these, or ``by`` names
        a column of the result.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics.measures.batches.control_chart import control_chart
    >>> failed = [10, 20, 10, 20, 60]
    >>> batches = pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": list("abcde"), "failed_records": failed,
    ...     "successful_records": [100 - n for n in failed],
    ...     "created_at": pd.date_range("2026-01-01", periods=5, tz="UTC"),
    ... })
    >>> chart = control_chart(batches, baseline=4, limits="laney")
    >>> print(chart[["batch_id", "settled_fraction", "low_fraction", "signal"]].round(3)
    ...       .fillna("-").to_string(index=False))
    batch_id  settled_fraction  low_fraction signal
           a               0.9         0.584      -
           b               0.8         0.584      -
           c               0.9         0.584      -
           d               0.8         0.584      -
           e               0.4         0.584  below
    """
    if limits not in get_args(Limits):
        raise ValueError(f"limits must be one of {get_args(Limits)}, found {limits!r}")
    least, until = _baseline(baseline)
    names, _, rows = settled_in_order(batches, by, time, CONTROL_CHART, "control_chart")
    places = rows.groupby("chart").cumcount()
    rows["in_baseline"] = places < least if until is None else rows["at"] <= until
    rows = rows.assign(**_centre(rows, least))
    found = _beta_binomial(rows) if limits == "beta-binomial" else _shewhart(rows, limits)
    table = rows.assign(**found, **_signal(rows["settled_fraction"], found))
    own = CONTROL_CHART.conform(table)
    groups = [name for name in names if name not in own.columns]
    return pd.concat([rows[groups].reset_index(drop=True), own], axis=1)


def settled_in_order(
    batches: Frame, by: By, time: str, table: Table, caller: str
) -> tuple[list[str], pd.DataFrame, pd.DataFrame]:
    """The columns to group by, the groups (a row each), and their batches to chart in time order.

    A batch has its group's number as ``chart``, from 1, ``at``, ``_successes``,
    ``settled_records`` and ``settled_fraction``.
    """
    names = group_names(by, {*table.names} - {"tenant_id"}, "the batches")
    key = BATCH_KEY
    counts = ["successful_records", "failed_records"]
    batches = BATCHES.normalize(batches, [*names, *key, time_column(time), *counts], caller)
    chosen = batches[list(dict.fromkeys([*names, *key]))].reset_index(drop=True)
    whole = chosen.groupby(names, dropna=False) if names else None
    chosen["chart"] = 1 if whole is None else whole.ngroup() + 1
    groups = chosen.drop_duplicates("chart").sort_values("chart", ignore_index=True)
    good, bad = (batches[c].astype("Float64").astype("float64").to_numpy() for c in counts)
    chosen["at"] = as_utc(batches[time]).array
    chosen["_successes"], chosen["settled_records"] = good, good + bad
    chosen["settled_fraction"] = chosen["_successes"] / chosen["settled_records"]
    charted = (good >= 0) & (bad >= 0) & (good + bad > 0) & chosen["at"].notna()
    rows = chosen[charted].sort_values(["chart", "at", *key], ignore_index=True)
    return names, groups[[*names, "chart"]], rows


def _baseline(baseline: Any) -> tuple[int, pd.Timestamp | None]:
    """How many batches the baseline has to have, and its last moment if it is given by that."""
    if isinstance(baseline, (int, np.integer)) and not isinstance(baseline, bool):
        if baseline >= 2:
            return int(baseline), None
    elif isinstance(baseline, (str, datetime)):
        try:
            return _MIN, parse_timestamp(baseline, "baseline")
        except ValueError:
            pass  # the error below names both forms
    raise ValueError(
        f"baseline must be a number of batches from 2 on, or a time, found {baseline!r}"
    )


def _centre(rows: pd.DataFrame, least: int) -> dict[str, pd.Series]:
    """The pooled fraction of each chart's baseline, or why there is none to use."""
    base = rows[rows["in_baseline"]].groupby("chart")
    count = rows["chart"].map(base.size()).fillna(0)
    sums = base[["_successes", "settled_records"]].sum()
    centre = rows["chart"].map(sums["_successes"] / sums["settled_records"]).astype("float64")
    reason = pd.Series(None, index=rows.index, dtype="str")
    reason = reason.mask(centre == 1, "all succeeded in the baseline")
    reason = reason.mask(centre == 0, "none succeeded in the baseline")
    reason = reason.mask(count < least, f"fewer than {least} settled batches")
    return {"centre_fraction": centre.where(reason.isna()), "reason": reason}


def _beta_binomial(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Limits from what the baseline says of its centre and of how much its batches differ."""
    p, n = rows["centre_fraction"], rows["settled_records"]
    low, high = (pd.Series(np.nan, index=rows.index) for _ in range(2))
    for _, own in rows[p.notna()].groupby("chart"):
        base = own[own["in_baseline"]]
        hits, total = (base[c].to_numpy("float64") for c in ("_successes", "settled_records"))
        sizes = own["settled_records"].to_numpy("float64")
        low[own.index], high[own.index] = predictive_limits(hits, total, sizes, _TAIL)
    basis = pd.Series("beta-binomial", index=rows.index, dtype="str").where(p.notna())
    sigma_z = _sigma_z(rows, (p * (1 - p) / n) ** 0.5)
    return {"sigma_z": sigma_z, "low_fraction": low, "high_fraction": high, "basis": basis}


def _shewhart(rows: pd.DataFrame, limits: str) -> dict[str, pd.Series]:
    """Limits of three standard deviations, which shrink as batches grow."""
    p, n = rows["centre_fraction"], rows["settled_records"]
    sigma = (p * (1 - p) / n) ** 0.5
    plain = limits == "p"
    spread = pd.Series(np.nan, index=rows.index) if plain else _sigma_z(rows, sigma)
    factor = spread.clip(lower=1) if limits == "laney" else spread
    width = 3 * sigma * (1 if plain else factor)
    low, high = (p - width).clip(lower=0), (p + width).clip(upper=1)
    basis = pd.Series("p" if plain else "p'", index=rows.index, dtype="str").where(p.notna())
    sparse = np.minimum(n * p, n * (1 - p)) < _SPARSE
    if sparse.any():
        from scipy.stats import binom

        low[sparse] = binom.ppf(_TAIL, n[sparse], p[sparse]) / n[sparse]
        high[sparse] = binom.isf(_TAIL, n[sparse], p[sparse]) / n[sparse]
    return {
        "sigma_z": spread,
        "low_fraction": low,
        "high_fraction": high,
        "basis": basis.mask(sparse, "exact"),
    }


def _sigma_z(rows: pd.DataFrame, sigma: pd.Series) -> pd.Series:
    """How far neighbours of the baseline lie apart, in units of what chance gives."""
    base = rows["in_baseline"]
    z = ((rows["settled_fraction"] - rows["centre_fraction"]) / sigma)[base]
    steps = z.groupby(rows["chart"][base]).diff().abs()
    spread = steps.groupby(rows["chart"][base]).mean() / _RANGE
    return rows["chart"].map(spread).astype("float64")


def _signal(fraction: pd.Series, limits: dict[str, pd.Series]) -> dict[str, pd.Series]:
    signal = pd.Series(None, index=fraction.index, dtype="str")
    signal = signal.mask(fraction > limits["high_fraction"], "above")
    return {"signal": signal.mask(fraction < limits["low_fraction"], "below")}
