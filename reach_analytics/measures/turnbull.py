"""The nonparametric maximum likelihood of a distribution seen through intervals.

Turnbull (1976): each time is known to lie in (low, high], and is seen at all only because it lies
beyond its entry. Masses on the cells between all end points are found by expectation and
maximization; each seen time stands for those like it that ended before their entry, unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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


def intervals(entry: Floats, low: Floats, high: Floats, *, most: int = 200) -> Intervals:
    """The intervals on the grid of their end points, or on an even one if these are many."""
    ends = np.concatenate([entry, low, high])
    points = np.unique(ends[np.isfinite(ends)])
    if len(points) > most:
        points = np.linspace(points[0], points[-1], most)
    endless = ~np.isfinite(high)
    left = _nearest(points, np.maximum(low, entry))
    first = np.minimum(_nearest(points, entry), left)
    right = np.maximum(_nearest(points, np.where(endless, low, high)), left + 1)
    right[endless] = len(points)
    # Of cells that no end tells apart, one is enough.
    used, number = np.unique(np.concatenate([first, left, right]), return_inverse=True)
    first, left, right = np.split(number, 3)
    kept = used[used < len(points)]
    right[right == len(used) - 1] = len(kept) if used[-1] == len(points) else len(used) - 1
    return Intervals(points[kept], first, left, right)


def _nearest(points: Floats, values: Floats) -> Ints:
    middle = (points[1:] + points[:-1]) / 2
    return np.searchsorted(middle, values)


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
        The most rounds.

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
