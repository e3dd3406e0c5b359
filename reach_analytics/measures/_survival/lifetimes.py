"""Waits as lifetimes: when each came under observation, and what is known of its end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from reach_analytics.measures._shared.arrays import Flags, Floats, Ints
from reach_analytics.measures._survival.turnbull import Intervals, intervals, npmle

_BLOCKS = 1000  # at most so many clusters are drawn
_STEPS = 2000  # so many distinct ages are kept; more are put on an even grid
# A wait enters at its first observation, and the middle of its bracket lies half a bracket later,
# where a hazard of ln 2 / median has made a difference of about 0.35 times bracket / median to the
# curve. It may be up to a fifth of the standard error, which is 0.5 / sqrt(events) at the most.
_FINE = 0.3
_ENDS = {"released": 1, "arrived": 1, "expired": 2}


@dataclass(frozen=True)
class Lifetimes:
    """Ages in seconds.

    Attributes
    ----------
    entry : float array
        Age at the first observation: younger ends would not have been seen.
    low, high : float arrays
        The end lies in (low, high]; high is infinite where the wait was censored at low.
    cause : int array
        1 for an event, 2 for an expiry, 0 for neither.
    cluster : int array
        Numbers of what ends together.
    """

    entry: Floats
    low: Floats
    high: Floats
    cause: Ints
    cluster: Ints

    def __len__(self) -> int:
        return len(self.entry)

    @property
    def middle(self) -> Floats:
        """The middle of each bracket; where there is none, the last that is known."""
        return np.where(
            self.cause == 0,
            self.low,
            (self.low + np.where(np.isfinite(self.high), self.high, self.low)) / 2,
        )

    def take(self, rows: Flags) -> Lifetimes:
        """The chosen ones."""
        return Lifetimes(*(values[rows] for values in vars(self).values()))

    def from_age(self, age: float) -> Lifetimes:
        """Those that last beyond an age, as seen from there on."""
        kept = self.take(self.middle > np.maximum(self.entry, age))
        entry = np.maximum(kept.entry, age)
        return Lifetimes(entry, np.maximum(kept.low, entry), kept.high, kept.cause, kept.cluster)


@dataclass(frozen=True)
class Curve:
    """A curve of what still waits, and of what ended how, by age in seconds.

    ``again`` holds the curve of each resampling, one row each.
    """

    ages: Floats
    at_risk: Floats
    events: Floats
    waiting: Floats
    released: Floats
    expired: Floats
    again: Floats
    method: str
    begins: float | None = None  # where the first cell begins, of a curve known at ends of cells

    @property
    def since(self) -> Floats:
        """Where the cell begins in which the curve falls to its value at each age: there, if it is
        known to the moment."""
        return self.ages if self.begins is None else np.concatenate([[self.begins], self.ages])[:-1]


def read_lifetimes(waits: pd.DataFrame, cluster: Ints) -> Lifetimes:
    """The lifetimes of a `wait_outcomes` or `arrivals` frame, but for rows without a beginning.

    A wait whose end is unknown was released after it was last seen, or would have been after its
    expiry, so that for the time to release it counts as censored at the last observation.
    """
    began = waits["created_at"]
    age = {
        name: (waits[name] - began).dt.total_seconds().to_numpy("float64", na_value=np.nan)
        for name in ("first_seen", "ended_after", "ended_by")
    }
    cause = np.asarray(waits["verdict"].map(_ENDS).fillna(0), np.int64)
    entry = np.maximum(age["first_seen"], 0)
    low = np.maximum(age["ended_after"], 0)
    high = np.where(cause > 0, np.maximum(age["ended_by"], low), np.inf)
    found = Lifetimes(entry, low, high, cause, cluster)
    known = np.isfinite(entry) & np.isfinite(low) & ~np.isnan(high)
    return found.take(np.asarray(known & (found.middle > entry)))


def first_age(lives: Lifetimes, min_at_risk: int) -> float:
    """The age from which on at least so many were under observation at once; nan if never."""
    ages = np.concatenate([lives.entry, lives.middle])
    change = np.concatenate([np.ones(len(lives)), -np.ones(len(lives))])
    order = np.lexsort((change, ages))  # at one age, those who leave go first
    enough = np.flatnonzero(np.cumsum(change[order]) >= min_at_risk)
    return float(ages[order][enough[0]]) if len(enough) else float("nan")


def fit(
    lives: Lifetimes, *, min_at_risk: int, n_resamples: int, seed: int, method: str | None
) -> Curve:
    """The curve by the method that suits the brackets, and its resamplings."""
    rounded = _rounded(lives)
    exact = _kaplan_meier(rounded, min_at_risk)
    event = lives.cause == 1
    width = np.median((lives.high - lives.low)[event])
    half = exact.ages[exact.waiting <= 0.5]
    median = half[0] if len(half) else exact.ages[-1] if len(exact.ages) else 0.0
    fine = bool(width <= _FINE * median / np.sqrt(event.sum()))
    if method == "kaplan-meier" or (method is None and fine):
        block, draws = resampled(lives.cluster, n_resamples, seed)
        return replace(exact, again=_kaplan_meier_again(rounded, exact.ages, block, draws))
    return _turnbull(lives, exact, min_at_risk, n_resamples, seed)


def _rounded(lives: Lifetimes) -> Lifetimes:
    """The same, each end at most a two-thousandth of all ends later, if there are more of them."""
    ends = lives.middle
    if len(np.unique(ends)) <= _STEPS:
        return lives
    grid = np.unique(np.quantile(ends, np.linspace(0, 1, _STEPS), method="higher"))
    end = grid[np.searchsorted(grid, ends)]
    return replace(lives, low=end, high=np.where(lives.cause > 0, end, np.inf))


def _kaplan_meier(lives: Lifetimes, min_at_risk: int) -> Curve:
    """Each event in the middle of its bracket (Kaplan and Meier), at risk from its entry on."""
    end = lives.middle
    times, left, _ = product_limit(lives.entry, end, lives.cause == 1)
    ages = np.unique(end[lives.cause > 0])
    at_risk = _at_risk(lives.entry, end, ages)
    ages = ages[_until_few(at_risk, min_at_risk)]
    at_risk = at_risk[: len(ages)]
    released, expired = incidence(lives, ages)
    return Curve(
        ages=ages,
        at_risk=at_risk,
        events=_per_age(ages, end[lives.cause == 1]),
        waiting=_step(ages, times, left, 1.0),
        released=released,
        expired=expired,
        again=np.empty((0, len(ages))),
        method="Kaplan–Meier, middle of the brackets",
    )


def product_limit(entry: Floats, end: Floats, ended: Flags) -> tuple[Floats, Floats, Floats]:
    """Ages at which something ended, the fraction left after each, and how many were at risk.

    The product-limit estimate (Kaplan and Meier 1958) with delayed entry: what comes under
    observation at an age is at risk after it.
    """
    ages = np.unique(end[ended])
    at_risk = _at_risk(entry, end, ages)
    left = np.cumprod(1 - _per_age(ages, end[ended]) / at_risk)
    return ages, np.asarray(left, np.float64), at_risk


def _at_risk(entry: Floats, end: Floats, ages: Floats) -> Floats:
    """How many are under observation just before each age: entry < age <= end."""
    entered = np.searchsorted(np.sort(entry), ages, side="left")
    left = np.searchsorted(np.sort(end), ages, side="left")
    return np.asarray(entered - left, np.float64)


def _until_few(at_risk: Floats, min_at_risk: int) -> slice:
    few = np.flatnonzero(at_risk < min_at_risk)
    return slice(0, int(few[0]) if len(few) else len(at_risk))


def _per_age(ages: Floats, ends: Floats) -> Floats:
    place = np.searchsorted(ages, ends)
    inside = (
        (place < len(ages)) & (ages[np.minimum(place, len(ages) - 1)] == ends)
        if len(ages)
        else np.zeros(len(ends), bool)
    )
    return np.bincount(place[inside], minlength=len(ages)).astype(np.float64)


def _step(ages: Floats, at: Floats, value: Floats, before: float) -> Floats:
    """The value of a right-continuous step function at each age."""
    return np.asarray(np.concatenate([[before], value])[np.searchsorted(at, ages, side="right")])


def incidence(lives: Lifetimes, ages: Floats) -> tuple[Floats, Floats]:
    """Released and expired by each age, with both as they are (Aalen and Johansen 1978).

    The product-limit estimate of both causes together gives what is left before each age; of that,
    each cause takes its share of those at risk.
    """
    end = lives.middle
    times, left, at_risk = product_limit(lives.entry, end, lives.cause > 0)
    before = np.concatenate([[1.0], left[:-1]])
    curves = []
    for cause in (1, 2):
        own = _per_age(times, end[lives.cause == cause])
        total = np.cumsum(before * own / at_risk)
        curves.append(_step(ages, times, total, 0.0))
    return curves[0], curves[1]


def resampled(cluster: Ints, n_resamples: int, seed: int) -> tuple[Ints, Floats]:
    """What is drawn together, by number, and how often each is drawn in each resampling.

    Clusters are drawn; of very many, random groups of them, which vary as much in the mean and cost
    a fraction.
    """
    random = np.random.default_rng(seed)
    count = int(cluster.max(initial=-1)) + 1
    block = random.permutation(count)[cluster] % _BLOCKS if count > _BLOCKS else cluster
    count = min(count, _BLOCKS)
    draws = random.multinomial(count, np.full(count, 1 / count), size=n_resamples)
    return block, draws.astype(np.float64)


def _kaplan_meier_again(lives: Lifetimes, ages: Floats, block: Ints, draws: Floats) -> Floats:
    """The product-limit estimate of each resampling, at the same ages."""
    from scipy.sparse import coo_array

    size = (draws.shape[1], len(ages) + 1)

    def per_cluster(place: Ints, rows: Flags) -> Floats:
        ones = np.ones(int(rows.sum()))
        table = coo_array((ones, (block[rows], place[rows])), shape=size)
        return np.asarray((table.T @ draws.T).T)

    every = np.ones(len(lives), bool)
    entered = per_cluster(np.searchsorted(ages, lives.entry, side="right"), every)
    left = per_cluster(np.searchsorted(ages, lives.middle, side="right"), every)
    died = per_cluster(np.searchsorted(ages, lives.middle, side="left"), lives.cause == 1)
    at_risk = np.cumsum(entered - left, axis=1)[:, :-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(at_risk > 0, 1 - died[:, :-1] / at_risk, 1.0)
    return np.asarray(np.cumprod(factor.clip(0, 1), axis=1))


def _turnbull(
    lives: Lifetimes, exact: Curve, min_at_risk: int, n_resamples: int, seed: int
) -> Curve:
    """Each event somewhere in its bracket (Turnbull 1976), seen from its entry on. Between the ends
    of cells the curve is not known."""
    event = lives.cause == 1
    high = np.where(event, lives.high, np.inf)
    low = np.where(lives.cause == 2, lives.high, lives.low)
    data = intervals(lives.entry, low, high, width=float(np.median((high - low)[event])))
    same = np.stack([data.entry, data.low, data.high])
    kinds, kind = np.unique(same, axis=1, return_inverse=True)
    data, kind = Intervals(data.points, *kinds), kind.ravel()
    mass = npmle(data, np.bincount(kind).astype(np.float64))
    ages = data.points[1:]
    at_risk = _at_risk(data.points[data.entry[kind]], _ends(data)[kind], ages)
    keep = _until_few(at_risk, min_at_risk)
    ages, count = ages[keep], len(ages[keep])
    block, draws = resampled(lives.cluster, n_resamples, seed)
    start = (mass + 1e-4) / (mass + 1e-4).sum()
    again = [
        npmle(data, _per_kind(some, block, kind), start=start, tolerance=1e-4, rounds=300)
        for some in np.array_split(draws, max(1, n_resamples // 100))
    ]
    later = 1 - np.cumsum(np.concatenate(again), axis=1)[:, :count]
    return Curve(
        ages=ages,
        at_risk=at_risk[keep],
        events=mass[:count] * len(lives),
        waiting=(1 - np.cumsum(mass)[:count]).clip(0, 1),
        released=_step(ages, exact.ages, exact.released, 0.0),
        expired=_step(ages, exact.ages, exact.expired, 0.0),
        again=later.clip(0, 1),
        method="Turnbull, intervals",
        begins=float(data.points[0]),
    )


def _ends(data: Intervals) -> Floats:
    """Until when each kind is under observation: to the end of its interval, or to its low end."""
    last = np.where(data.high < len(data.points), data.high, data.low)
    return np.asarray(data.points[last])


def _per_kind(draws: Floats, block: Ints, kind: Ints) -> Floats:
    """How often each kind of interval is drawn, in each resampling."""
    from scipy.sparse import coo_array

    shape = (draws.shape[1], int(kind.max()) + 1)
    table = coo_array((np.ones(len(kind)), (block, kind)), shape=shape).tocsr()
    return np.asarray((table.T @ draws.T).T)
