"""How old what is known is: from the intervals between observations to ages, exactly.

Over the interval Δ between two observations, the age of what is known grows from 0 to Δ. So over
all time between observations the age is above a for Σ max(Δ - a, 0) of ΣΔ, and ΣΔ²/2 / ΣΔ on
average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reach_analytics.measures._shared.arrays import Flags, Floats, Ints


@dataclass(frozen=True)
class Seen:
    """Successful observations by batch and time, as arrays of one length; times in microseconds.

    Attributes
    ----------
    batch : array
        Number of the batch.
    sent : array
        When each was sent.
    detail : array
        Whether it was a detail observation.
    state, core : array
        What was seen, and what of it a listing shows too, as numbers.
    finished, waits : array
        Whether the batch had ended with nothing pending, and whether something was.
    created : array
        When the batch was created, or first seen if that is not known.
    """

    batch: Ints
    sent: Ints
    detail: Flags
    state: Ints
    core: Ints
    finished: Flags
    waits: Flags
    created: Ints

    @property
    def first(self) -> Flags:
        """Whether each is the first of its batch."""
        return np.asarray(np.diff(self.batch, prepend=self.batch[:1] - 1) != 0)

    def changed(self) -> Flags:
        """Whether each saw something new, what an earlier one has shown not counted again."""
        moved = self.first | (np.diff(self.core, prepend=self.core[:1]) != 0)
        moves = np.cumsum(moved)
        own = np.flatnonzero(self.detail)
        before, after = own[:-1], own[1:]
        other = (self.batch[before] == self.batch[after]) & (moves[before] == moves[after])
        other &= self.state[before] != self.state[after]
        moved[after[other]] = True
        return np.asarray(moved)

    def distances(self) -> tuple[Ints, Ints, Ints]:
        """(position of the later observation, interval, age of the batch at the earlier one).

        While a batch waits, a listing shows that it does, but not for what: it counts only if it is
        the first that shows that something waits.
        """
        waited = np.concatenate([[False], self.waits])[:-1] & ~self.first
        renews = np.flatnonzero(self.detail | ~self.waits | ~waited)
        before, after = renews[:-1], renews[1:]
        counts = (self.batch[before] == self.batch[after]) & ~self.finished[before]
        before, after = before[counts], after[counts]
        age = np.maximum(self.sent[before] - self.created[before], 0)
        return after, self.sent[after] - self.sent[before], age


def mean_age(distances: Ints, group: Ints, groups: int) -> Floats:
    """ΣΔ²/(2ΣΔ) of each group; NaN without any time."""
    order = np.lexsort((distances, group))  # sums of floats depend on the order of rows
    lengths, group = distances[order].astype(np.float64), group[order]
    total = np.bincount(group, lengths, groups)
    square = np.bincount(group, lengths**2, groups)
    return np.asarray(square / np.where(total > 0, 2 * total, np.nan))


def age_quantiles(distances: Ints, group: Ints, groups: int, ps: Sequence[float]) -> list[Floats]:
    """For each p the age a with P(age > a) = 1 - p over the time of each group; NaN without any."""
    ones = np.ones(len(distances), np.int64)
    return _exceeded(distances, ones, group, groups, [1 - p for p in ps])


def relative_age_quantile(
    distances: Ints, ages: Ints, group: Ints, groups: int, p: float
) -> Floats:
    """The same of age / own age of the batch at the same moment, from 0 to 1.

    With A the batch's age at the earlier observation, s / (s + A) > q is s > A q/(1 - q), and lasts
    for max(Δ - A q/(1 - q), 0): the same equation for the odds q/(1 - q), with weights A.
    """
    [odds] = _exceeded(distances, ages, group, groups, [1 - p])
    return np.asarray(1 - 1 / (1 + odds))


def _exceeded(
    distances: Ints, weights: Ints, group: Ints, groups: int, shares: Sequence[float]
) -> list[Floats]:
    """For each share the smallest r ≥ 0 with Σ max(Δ - r·w, 0) ≤ share · ΣΔ in each group; infinite
    if there is none.

    That sum falls with r along straight lines which meet at the r = Δ/w. These are sorted, and the
    line is taken that crosses what is sought.
    """
    some = distances > 0
    length, weight = distances[some].astype(np.float64), weights[some].astype(np.float64)
    own, bends = group[some], weight > 0
    knee = np.divide(length, weight, out=np.full(len(length), np.inf), where=bends)
    order = np.lexsort((-knee, own))
    length, weight, own = length[order], weight[order], own[order]
    knee, bends = knee[order], bends[order]
    start = np.searchsorted(own, np.arange(groups))
    sums, weighed = _within(length, own, start), _within(weight, own, start)
    total = np.bincount(own, length, groups)
    without = np.bincount(own, length * ~bends, groups)  # lasts whatever r is
    bent = np.where(bends, sums - np.where(bends, knee, 0) * weighed, without[own])  # at the knees
    found = []
    for target in (share * total for share in shares):
        lines = np.bincount(own[bent <= target[own]], minlength=groups)
        fits = (total > 0) & (without <= target) & (lines > 0)
        at = (start + lines - 1)[fits]
        one = np.where(total > 0, np.inf, np.nan)
        one[fits] = (sums[at] - target[fits]) / weighed[at]
        found.append(one)
    return found


def _within(values: Floats, group: Ints, start: Ints) -> Floats:
    """Running totals that begin anew in each group; the groups lie one after the other."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(total[1:] - total[start[group]])
