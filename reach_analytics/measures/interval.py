"""Intervals around a fraction whose records come in clusters that succeed or fail together."""

from __future__ import annotations

import pandas as pd

LEAST = 5  # clusters for a design effect to say something


def clustered_interval(
    fraction: pd.Series,
    total: pd.Series,
    clusters: pd.Series,
    own_square: pd.Series,
    cross: pd.Series,
    square: pd.Series,
) -> dict[str, pd.Series]:
    """Wilson's interval at 95 % for ``total / max(1, design effect)`` records (Korn and Graubard
    1998), per row.

    With *s* of *n* records of each cluster counted in ``fraction``, the last three are Σs², Σsn
    and Σn², so that each cluster is touched once.

    Returns
    -------
    dict of Series
        design_effect, low, high, and kind (``adjusted``, ``descriptive`` with fewer than five
        clusters or where all or none count, null without records).
    """
    from statsmodels.stats.proportion import proportion_confint

    p, n, k = (values.astype("float64") for values in (fraction, total, clusters))
    spread = (
        own_square.astype("float64") - 2 * p * cross.astype("float64") + p**2 * square.astype(float)
    )
    mixed = (p > 0) & (p < 1) & (k > 1)
    effect = (k / (k - 1) * spread / (n * p * (1 - p))).where(mixed)
    effective = n / effect.fillna(1).clip(lower=1)
    some = (n > 0).fillna(False)
    low, high = proportion_confint(p[some] * effective[some], effective[some], method="wilson")
    kind = pd.Series("descriptive", index=p.index).where(~(mixed & (k >= LEAST)), "adjusted")
    return {
        "design_effect": effect,
        "low": pd.Series(low, index=p.index[some]).reindex(p.index),
        "high": pd.Series(high, index=p.index[some]).reindex(p.index),
        "kind": kind.where(some),
    }
