"""Within which limits the next batch's fraction lies, given those of a baseline."""

from __future__ import annotations

import numpy as np

from reach_analytics.measures._shared.arrays import Floats
from reach_analytics.measures._shared.intervals import CORRELATIONS, posterior

_SIZES = 12  # at which limits are worked out; those between are read off in between
_NODES = 7  # equally likely values that stand for the distribution of the centre
_STEPS = 30


def predictive_limits(
    hits: Floats, total: Floats, sizes: Floats, tail: float
) -> tuple[Floats, Floats]:
    """Below and above which the fraction of a further cluster of each size lies with a chance of
    ``tail``, if it is of the same kind as the clusters of the baseline.

    Clusters differ by chance and from each other (beta-binomial), so that limits do not close in on
    the centre however large a cluster is; what the baseline leaves open, the centre and how much
    clusters differ, is averaged over (see `clustered_interval`). A count of whole records reaches
    half a record beyond its fraction.
    """
    few = np.unique(sizes)
    if len(few) > _SIZES:
        few = np.exp(np.linspace(np.log(few[0]), np.log(few[-1]), _SIZES))
    weight, first, second = (part[0] for part in posterior(hits, total))
    kept = weight > 1e-4
    weight = weight[kept] / weight[kept].sum()
    centres = _nodes(first[kept], second[kept])
    low, high = (
        np.interp(np.log(sizes), np.log(few), _quantile(weight, centres, kept, few, level))
        for level in (tail, 1 - tail)
    )
    return np.clip(low - 0.5 / sizes, 0, 1), np.clip(high + 0.5 / sizes, 0, 1)


def _nodes(first: Floats, second: Floats) -> Floats:
    from scipy.special import betaincinv

    level = (np.arange(_NODES) + 0.5) / _NODES
    return np.asarray(betaincinv(first[:, None], second[:, None], level[None, :]))


def _quantile(
    weight: Floats, centres: Floats, kept: np.ndarray, sizes: Floats, level: float
) -> Floats:
    """The quantile at each size, by halving; a cluster's fraction is taken to be Beta with as many
    records as it is worth."""
    from scipy.special import betainc

    worth = sizes[:, None] / (1 + (sizes[:, None] - 1) * CORRELATIONS[kept])
    first = centres * worth[:, :, None]
    second = (1 - centres) * worth[:, :, None]
    share = weight[:, None] / _NODES
    low, high = np.zeros(len(sizes)), np.ones(len(sizes))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        below = (share * betainc(first, second, middle[:, None, None])).sum(axis=(1, 2)) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
