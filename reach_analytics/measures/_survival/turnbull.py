"""The nonparametric maximum likelihood of a distribution seen through intervals.

Turnbull (1976): each time is known to lie in (low, high], and is seen at all only because it lies
beyond its entry. Masses on the cells between all end points are found by expectation and
maximization; each seen time stands for those like it that ended before their entry, unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reach_analytics.measures._shared.arrays import Flags, Floats, Ints


@dataclass(frozen=True)
class Intervals:
    """Times in (low, high], seen from entry on, as numbers of the points between cells.

    Attributes
    ----------
    points : float array
        Where cells meet, ascending. The last cell has no end.
    entry, low, high : int arrays
        ``high`` is ``len(points)`` for a time without an upper bound.
    """

    points: Floats
    entry: Ints
    low: Ints
    high: Ints

    @property
    def cells(self) -> int:
        """The cells: those between points, and the one beyond the last."""
        return len(self.points)


def intervals(
    entry: Floats, low: Floats, high: Floats, *, width: float | None = None, most: int = 400
) -> Intervals:
    """The intervals on the grid of their end points.

    With ``width`` the cells are multiples of it, or of more if there would be more than ``most``.
    Late entries with cells finer than the intervals make the estimate swing wildly: a discrete
    hazard on cells as wide as the intervals does not (Alioum and Commenges 1996 on the cause).
    """
    start = float(np.min(entry, initial=np.inf)) if len(entry) else 0.0

    def place(values: Floats) -> Ints:
        return np.rint((values - start) / step).astype(np.int64)

    if not width:
        points = np.unique(np.concatenate([entry, low, high[np.isfinite(high)]]))
        if len(points) > most:
            return intervals(entry, low, high, width=float(np.ptp(points)) / most, most=most)
        numbers = [np.searchsorted(points, v) for v in (entry, low, np.minimum(high, points[-1]))]
        exact = np.isfinite(high) & (numbers[2] <= numbers[1]) & (numbers[2] > numbers[0])
        numbers[1] = np.where(exact, numbers[2] - 1, numbers[1])  # at the end of its cell
        return _used(points, *numbers, endless=~np.isfinite(high))
    step, endless = float(width), ~np.isfinite(high)
    while True:
        first, left = place(entry), place(np.maximum(low, entry))
        right = place(np.where(endless, low, high))
        # One narrower than a cell lies in the cell of its middle.
        narrow = right <= left
        middle = np.floor(((low + np.where(endless, low, high)) / 2 - start) / step)
        left = np.where(narrow & ~endless, np.maximum(middle.astype(np.int64), first), left)
        right = np.maximum(right, left + 1)
        used = np.unique(np.concatenate([first, left, right]))
        if len(used) <= most:
            break
        step *= 2
    points = start + used * step
    numbers = [np.searchsorted(used, v) for v in (np.minimum(first, left), left, right)]
    return _used(points, *numbers, endless=endless)


def _used(points: Floats, entry: Ints, low: Ints, high: Ints, *, endless: Flags) -> Intervals:
    """On the points that some end lies at: of cells that none tells apart, one is enough."""
    low = np.maximum(low, entry)
    seen = np.unique(np.concatenate([entry, low, high[~endless]]))
    entry, low, high = (np.searchsorted(seen, values) for values in (entry, low, high))
    return Intervals(points[seen], entry, low, np.where(endless, len(seen), high))


def npmle(
    data: Intervals,
    weight: Floats,
    *,
    start: Floats | None = None,
    tolerance: float = 1e-8,
    rounds: int = 10_000,
) -> Floats:
    """The mass of each cell.

    Parameters
    ----------
    data : Intervals
    weight : float array
        How often each counts; of two dimensions for several estimates at once, one a row.
    start : float array, optional
        Masses to start from; positive where any may be. Equal by default.
    tolerance : float
        An estimate is done when none of its masses changes by more.
    rounds : int
        The most iterations.

    Returns
    -------
    float array
        The masses, which sum to 1; a row for each row of ``weight``.
    """
    weights = np.atleast_2d(weight)
    begin = np.full(data.cells, 1 / data.cells) if start is None else start
    mass = np.tile(begin, (len(weights), 1))
    ends = _Ends(data)
    going = np.arange(len(weights))
    for _ in range(rounds):
        new = mass[going] * ends.pull(weights[going], mass[going])
        new /= new.sum(axis=1, keepdims=True)
        moved = np.abs(new - mass[going]).max(axis=1)
        mass[going] = new
        going = going[moved > tolerance]
        if not len(going):
            break
    return mass if np.ndim(weight) == 2 else mass[0]


class _Ends:
    """Where intervals and entries begin and end, as sparse matrices that add up over cells."""

    def __init__(self, data: Intervals) -> None:
        from scipy.sparse import coo_array

        self.data = data
        rows, size = np.arange(len(data.low)), (len(data.low), data.cells + 1)
        ones = np.ones(len(rows))

        def at(place: Ints) -> Any:
            return coo_array((ones, (rows, place)), shape=size).tocsr()

        self.inside = (at(data.low) - at(data.high)).T.tocsr()
        self.before = (at(np.zeros_like(data.entry)) - at(data.entry)).T.tocsr()

    def pull(self, weight: Floats, mass: Floats) -> Floats:
        """By what the data would multiply each mass: the seen times there, and the unseen."""
        data = self.data
        below = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(mass, axis=1)], axis=1)
        seen = weight / np.maximum(below[:, data.high] - below[:, data.low], 1e-300)
        unseen = weight / np.maximum(below[:, -1:] - below[:, data.entry], 1e-300)
        change = (self.inside @ seen.T + self.before @ unseen.T).T
        return np.asarray(np.cumsum(change, axis=1)[:, :-1].clip(min=0))
