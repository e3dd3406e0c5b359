"""Whether success changed by more than chance, between two spans of equal length."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd

from reach_analytics.measures._shared.arrays import Flags, Floats
from reach_analytics.measures._shared.intervals import clustered_interval

__all__ = ["success_change"]

_LEVEL = 0.05
_FEW = 1_000  # batches, up to which chance is drawn rather than computed
_CELLS = 10_000_000  # of a table of draws


def success_change(
    earlier: pd.DataFrame,
    later: pd.DataFrame,
    earlier_at: pd.Timestamp,
    later_at: pd.Timestamp,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Of all tenants and of each, the success of the batches created between the moments, beside
    that of those created in as long a time before the first.

    Each is taken as it was known at the end of its span, so that waits had as long to end in the
    one as in the other. The p-value is that of the sum over the later batches of s - p n (with s
    successful of n settled records, and p pooled over both spans) if chance had put each batch into
    its span: among ``n_resamples`` random orders, or by the normal limit for more than a thousand
    batches (Hájek 1960). Batches are drawn whole, since their records succeed or fail together.
    ``beyond_chance`` allows for as many tests as there are rows (Holm 1979); it is null where
    nothing could have shown it: where of so few batches, or so few ``n_resamples``, the least
    p-value there can be is above what the first step of that asks for.

    Returns
    -------
    pandas.DataFrame
        Rows as in `tables.CHANGES`; a null tenant_id stands for all tenants.
    """
    span = later_at - earlier_at
    before = _created(earlier, earlier_at - span, earlier_at)
    after = _created(later, earlier_at, later_at, last=True)
    both = pd.concat([before.assign(is_later=False), after.assign(is_later=True)])
    sound = (both["settled"] > 0) & (both["hits"] >= 0) & (both["hits"] <= both["settled"])
    both = both[sound].sort_values(["tenant_id", "batch_id", "is_later"], kind="stable")
    if both.empty:
        return pd.DataFrame()
    random = np.random.default_rng(seed)
    groups = [(None, both), *both.groupby("tenant_id")]
    alone = len(groups) == 2  # whose test is that of all tenants
    rows = [
        {"tenant_id": key, **_row(own, n_resamples, random)}
        for key, own in (groups[:1] if alone else groups)
    ]
    table = pd.DataFrame(rows)
    table["beyond_chance"] = pd.array(_holm(table["p_value"].to_numpy()), "boolean")
    tests = int(table["p_value"].notna().sum())
    blind = table["p_value"].isna() | (table.pop("least") * tests > _LEVEL)
    table.loc[blind, "beyond_chance"] = pd.NA
    if alone:
        table = pd.concat([table, table.assign(tenant_id=groups[1][0])], ignore_index=True)
    table = table.assign(tenant_id=table["tenant_id"].astype("str"), about="success")
    size = table["size"]
    table["change"] = np.select(
        [size.isna(), size > 0, size < 0], ["unknown", "rose", "fell"], "same"
    )
    return table


def _created(
    batches: pd.DataFrame, begin: pd.Timestamp, end: pd.Timestamp, *, last: bool = False
) -> pd.DataFrame:
    """The settled and the successful records of the batches created in a span."""
    created = batches["created_at"]
    within = (created >= begin) & ((created <= end) if last else (created < end))
    own = batches[within]
    good = own["successful_records"].astype("Float64").astype("float64")
    bad = own["failed_records"].astype("Float64").astype("float64")
    return own[["tenant_id", "batch_id"]].assign(hits=good, settled=good + bad)


def _row(own: pd.DataFrame, n_resamples: int, random: np.random.Generator) -> dict[str, object]:
    hits, settled = own["hits"].to_numpy(), own["settled"].to_numpy()
    is_later = own["is_later"].to_numpy(bool)
    found = clustered_interval(is_later.astype(np.int64), hits, settled, 2)
    with np.errstate(invalid="ignore"):
        part = np.bincount(is_later, hits, 2) / np.bincount(is_later, settled, 2)
    several = is_later.any() and not is_later.all()
    drawn = len(own) <= _FEW
    later = int(is_later.sum())
    orders = comb(len(own), later) if len(own) < 60 else np.inf
    alike = 2 if 2 * later == len(own) else 1  # the spans the other way round differ as much
    return {
        "before": part[0],
        "after": part[1],
        "size": part[1] - part[0],
        "before_low": found["low"][0],
        "before_high": found["high"][0],
        "after_low": found["low"][1],
        "after_high": found["high"][1],
        "p_value": _p_value(hits, settled, is_later, n_resamples, random) if several else np.nan,
        "least": max(alike / orders, 1 / (n_resamples + 1) if drawn else 0.0),
    }


def _p_value(
    hits: Floats, settled: Floats, is_later: Flags, n_resamples: int, random: np.random.Generator
) -> float:
    """How often chance differs as much: of random orders, the observed one counted among them."""
    own = hits - hits.sum() / settled.sum() * settled
    own = np.where(np.abs(own) < 1e-9 * settled.max(), 0.0, own)  # what is left of rounding
    size, chosen = len(own), int(is_later.sum())
    observed = abs(own[is_later].sum())
    if observed < 1e-9 * settled.max():
        return 1.0  # both spans fared alike
    variance = chosen * (size - chosen) / (size * (size - 1)) * (own**2).sum()
    if variance <= 0:
        return 1.0  # all batches fared alike
    if size > _FEW:
        from scipy.special import erfc

        return float(erfc(observed / np.sqrt(2 * variance)))
    as_much = 0
    for first in range(0, n_resamples, max(1, _CELLS // size)):
        count = min(max(1, _CELLS // size), n_resamples - first)
        drawn = random.permuted(np.broadcast_to(own, (count, size)), axis=1)[:, :chosen].sum(axis=1)
        as_much += int((np.abs(drawn) >= observed * (1 - 1e-9)).sum())
    return (as_much + 1) / (n_resamples + 1)


def _holm(p_values: Floats) -> Flags:
    """Which of the tests reject at 5 % together, stepping down from the least p-value."""
    order = np.argsort(p_values, kind="stable")
    tested = int((~np.isnan(p_values)).sum())
    steps = np.arange(tested, tested - len(order), -1).clip(min=1)
    with np.errstate(invalid="ignore"):
        passes = np.minimum.accumulate(p_values[order] * steps <= _LEVEL)
    found = np.zeros(len(order), bool)
    found[order] = passes
    return found
