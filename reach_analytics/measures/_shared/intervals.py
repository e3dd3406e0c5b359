"""Intervals around a fraction whose records come in clusters that succeed or fail together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reach_analytics.measures._shared.arrays import Floats, Ints

LEAST = 10  # clusters for an interval to hold what it says; measured, see docs/coverage.md
_MIN_EFFECTIVE = 3.0  # and so many of equal size would say as much
_INDEPENDENT = 0.3  # prior probability that the records of a cluster have nothing in common
# Correlations within a cluster to average over; the first stands for none.
CORRELATIONS = np.concatenate([[1e-6], np.geomspace(5e-4, 0.8, 15)])
_STEPS = 40  # halvings that find a quantile


def clustered_interval(
    number: Ints, hits: Floats, total: Floats, groups: int, *, least: int = LEAST
) -> dict[str, Floats | npt.NDArray[np.object_]]:
    """The 95 % interval of each group's pooled fraction Σ hits / Σ total over its clusters.

    The records of a cluster share a chance that varies between clusters (beta-binomial, Skellam
    1948): with the correlation r of two records of a cluster, ``hits`` of n have the variance
    n p (1 - p) (1 + (n - 1) r). The interval is of the posterior of p, averaged over r, which few
    clusters tell little about; its prior is 0 with probability 0.3 and else Beta(½, 1), that of p
    Jeffreys'. Given r, p is taken to be Beta with as many records as the clusters are worth, Σ n /
    (1 + (n - 1) r).

    Parameters
    ----------
    number : int array
        The group of each cluster, below ``groups``.
    hits, total : float arrays
        Of each cluster; those without records count for nothing.
    least : int
        With fewer clusters the interval is ``descriptive``.

    Returns
    -------
    dict of arrays
        Per group: design_effect (the variance of the pooled fraction, by Korn and Graubard 1998,
        over that of as many independent records; nan with one cluster, or where all or none
        count), low, high (nan without records), and kind: ``adjusted``; None without records; and
        ``descriptive``, since the interval then need not hold what it says: with fewer than
        ``least`` clusters, with sizes as uneven as if there were fewer than 3, where all or none
        count, and where the pooled fraction lies outside (the interval then reaches to it). One
        cluster, of which nothing tells how it differs from others, has Wilson's interval (1927), as
        if its records were independent.
    """
    some = total > 0
    number, hits, total = number[some], hits[some], total[some]

    def summed(values: Floats) -> Floats:
        return np.bincount(number, values, groups).astype(np.float64)

    n, s, k = summed(total), summed(hits), summed(np.ones(len(number)))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = s / n
        worth = n**2 / summed(total**2)
        spread = summed((hits - p[number] * total) ** 2)
        effect = k / (k - 1) * spread / (n * p * (1 - p))
    mixed = (s > 0) & (s < n)
    low, high = _quantiles(*_posterior(number, hits, total, groups))
    kind = np.full(groups, None, dtype=object)
    kind[n > 0] = "descriptive"
    # Where the large clusters fare otherwise than the small ones, the pooled fraction is not the
    # clusters' mean, and the interval of the one need not hold the other.
    with np.errstate(invalid="ignore"):
        inside = (low <= p) & (p <= high)
        low, high = np.fmin(low, p), np.fmax(high, p)
    kind[mixed & inside & (k >= least) & (worth >= _MIN_EFFECTIVE)] = "adjusted"
    low, high = np.where(s <= 0, 0.0, low), np.where(s >= n, 1.0, high)
    alone_low, alone_high = _wilson(p, n)
    none, alone = n <= 0, k == 1
    return {
        "design_effect": np.where(mixed & (k > 1), effect, np.nan),
        "low": np.where(none, np.nan, np.where(alone, alone_low, low)),
        "high": np.where(none, np.nan, np.where(alone, alone_high, high)),
        "kind": kind,
    }


def _wilson(p: Floats, n: Floats, z: float = 1.959963984540054) -> tuple[Floats, Floats]:
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def posterior(hits: Floats, total: Floats) -> tuple[Floats, Floats, Floats]:
    """The posterior of one group of clusters with records, as `clustered_interval` has it: for each
    of `CORRELATIONS` its weight, and the two parameters of the Beta of p; one row each."""
    return _posterior(np.zeros(len(total), np.int64), hits, total, 1)


def _posterior(
    number: Ints, hits: Floats, total: Floats, groups: int
) -> tuple[Floats, Floats, Floats]:
    """Per group and correlation: its weight, and the two parameters of the Beta of p."""
    from scipy.special import betaln

    shape = (groups, len(CORRELATIONS))
    weight, first, second = np.empty(shape), np.empty(shape), np.empty(shape)
    for column, rho in enumerate(CORRELATIONS):
        each = total / (1 + (total - 1) * rho)
        n = np.bincount(number, each, groups) + 1  # Jeffreys' prior is worth one record
        p = (np.bincount(number, each * hits / total, groups) + 0.5) / n
        a, b = (q * (1 / rho - 1) for q in (p[number], 1 - p[number]))
        told = betaln(a + hits, b + total - hits) - betaln(a, b)
        # Laplace's approximation of the integral over p, on the scale of its logit.
        integral = 0.5 * (np.log(p * (1 - p)) - np.log(n * p * (1 - p)))
        weight[:, column] = np.bincount(number, told, groups) + integral
        first[:, column], second[:, column] = p * n, (1 - p) * n
    weight += np.log(_prior())
    weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True), first, second


def _prior() -> Floats:
    """The prior probability of the cell around each correlation."""
    edges = np.concatenate([[0], (CORRELATIONS[1:] + CORRELATIONS[:-1]) / 2, [1]])
    mass = (1 - _INDEPENDENT) * np.diff(np.sqrt(edges))  # Beta(½, 1) up to an edge
    mass[0] += _INDEPENDENT
    return np.asarray(mass)


def _quantiles(weight: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """The quantiles at 2.5 and 97.5 % of each row's mixture of Betas, by halving."""
    from scipy.special import betainc

    found = []
    for level in (0.025, 0.975):
        low, high = np.zeros(len(weight)), np.ones(len(weight))
        for _ in range(_STEPS):
            middle = (low + high) / 2
            below = (weight * betainc(first, second, middle[:, None])).sum(axis=1) < level
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found.append((low + high) / 2)
    return found[0], found[1]
