"""How long waits last: curves, medians and rates, with what could not be seen allowed for."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from reach_analytics.measures._shared.grouping import By, each_group, gathered, group_names
from reach_analytics.measures._survival.lifetimes import (
    Curve,
    Lifetimes,
    first_age,
    fit,
    read_lifetimes,
)
from reach_analytics.tables import (
    ARRIVALS,
    RESOURCE_KEY,
    SURVIVAL,
    WAIT_OUTCOMES,
    WAIT_TIMES,
    Frame,
)

__all__ = ["Method", "curves", "medians", "survival", "wait_times"]

Method = Literal["kaplan-meier", "turnbull"] | None
_ROOT = ["tenant_id", "root_schema_definition_id", "root_external_id"]
_ENOUGH = 20  # roots for an interval to cover as stated


def survival(
    waits: Frame,
    *,
    by: By = None,
    method: Method = None,
    min_events: int = 10,
    min_clusters: int = 5,
    min_at_risk: int = 5,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Which part still waits at each age, as a curve.

    ``survival_fraction`` is about the *latent* time to release: an expiry censors a wait, so the
    curve tells how long things would take if nothing expired, up to the longest wait allowed.
    ``released_incidence`` and ``expired_incidence`` are what actually became of them by that age
    (Aalen and Johansen 1978). Both are of waits that lasted until they were seen: each counts from
    the age at its first observation on (left truncation), and the curve begins at the age from
    which on at least ``min_at_risk`` were in sight.

    An end is only known to lie between two observations. Where half the median bracket is small
    against the standard error, each end is put in the middle of its bracket (Kaplan and Meier
    1958); else the curve is the nonparametric maximum likelihood of the brackets (Turnbull 1976),
    on cells as wide as the median bracket. Inside a cell, from ``age_from`` to ``age``, where it
    falls is unknown: it lies between the values, and its interval between the ends, of this row and
    the one before. ``released_incidence`` and ``expired_incidence`` always have each end in the
    middle. The interval at each age is the bootstrap's, with what depends on one root drawn
    together; see docs/coverage.md for what it covers.

    Parameters
    ----------
    waits : pandas.DataFrame
        As from ``history.wait_outcomes()``, for how long records wait; or as from
        ``history.arrivals()``, for how long dependencies take, each counted once.
    by : str or list of str, optional
        Columns to group by, as ``"schema_name"``.
    method : {"kaplan-meier", "turnbull"}, optional
        By the rule above without it.
    min_events, min_clusters : int
        Groups with fewer events, or fewer roots behind them, get no curve.
    min_at_risk : int
        The curve stops where fewer are in sight.
    n_resamples : int
        Bootstrap resamples; with 0 there is no interval.
    seed : int
        The same seed gives the same interval.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; age_from and age (lengths of time; equal where an end is put at one
        moment), at_risk, events (numbers), survival_fraction with low_fraction and high_fraction
        (95 %), released_incidence, expired_incidence (0–1), method. A row where the curve falls. No
        rows for groups too small; see `wait_times`.

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import survival
    >>> survival(tables.WAIT_OUTCOMES.empty(), by="schema_name").columns[:3].tolist()
    ['schema_name', 'age_from', 'age']
    """
    names, rows = _read(waits, by, [*SURVIVAL.names], "survival")
    guards = (min_events, min_clusters, min_at_risk)
    return curves(rows, names, guards, method, n_resamples, seed)


def curves(
    rows: pd.DataFrame,
    names: list[str],
    guards: tuple[int, int, int],
    method: Method,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """The curves of waits with a number of what they end with; see `survival`."""
    _check(method, n_resamples)

    def curve(own: pd.DataFrame) -> pd.DataFrame:
        lives, reason = _guarded(_lifetimes(own), *guards)
        if reason is not None:
            return SURVIVAL.empty()
        found = fit(lives, min_at_risk=guards[2], n_resamples=n_resamples, seed=seed, method=method)
        return _curve_table(found)

    return gathered(each_group(rows, names, curve), names, rows, SURVIVAL.empty())


def wait_times(
    waits: Frame,
    *,
    by: By = None,
    method: Method = None,
    min_events: int = 10,
    min_clusters: int = 5,
    min_at_risk: int = 5,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """The median wait of each group, or why it is not known; and how fast waits end.

    ``per_hour`` = events / hours under observation. Its interval is Garwood's (1936) where each
    wait has a root of its own; where not, that of the logarithm by the jackknife over roots, with
    Student's t. ``interval`` is ``descriptive`` with fewer than 20 roots: neither that interval nor
    that of the median then need cover as stated (see docs/coverage.md).

    Parameters
    ----------
    waits, by, method, min_events, min_clusters, min_at_risk, n_resamples, seed
        As for `survival`.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; waits, events, clusters (counts); unseen_before (a length of time: the
        median is of waits that last longer); per_hour, per_hour_low, per_hour_high; interval
        (``adjusted`` or ``descriptive``, null without events); median_wait,
        median_low, median_high (lengths of time: where the curve of `survival` falls to a half,
        a straight line in its cell, and an interval that spans cells), method,
        and reason (null if there is a median). One row without ``by``, none without waits.

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import wait_times
    >>> len(wait_times(tables.ARRIVALS.empty()))
    0
    """
    names, rows = _read(waits, by, [*WAIT_TIMES.names], "wait_times")
    guards = (min_events, min_clusters, min_at_risk)
    return medians(rows, names, guards, method, n_resamples, seed)


def medians(
    rows: pd.DataFrame,
    names: list[str],
    guards: tuple[int, int, int],
    method: Method,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """The medians of waits with a number of what they end with; see `wait_times`."""
    _check(method, n_resamples)

    def row(own: pd.DataFrame) -> pd.DataFrame:
        every = _lifetimes(own)
        lives, reason = _guarded(every, *guards)
        found = {**_rates(every), "reason": reason}
        if reason is None:
            curve = fit(
                lives, min_at_risk=guards[2], n_resamples=n_resamples, seed=seed, method=method
            )
            found |= {**_median(curve), "unseen_before": _seconds(lives.entry.min())}
        return pd.DataFrame([found])

    return gathered(each_group(rows, names, row), names, rows, WAIT_TIMES.empty())


def _check(method: str | None, n_resamples: int) -> None:
    if method not in (None, "kaplan-meier", "turnbull"):
        raise ValueError(f"method must be 'kaplan-meier', 'turnbull' or None, found {method!r}")
    if n_resamples < 0:
        raise ValueError(f"n_resamples must be at least 0, found {n_resamples}")


def _read(waits: Frame, by: By, taken: list[str], caller: str) -> tuple[list[str], pd.DataFrame]:
    """The group tables, and the waits with the number of what ends together."""
    names = group_names(by, taken, "the waits")
    waits = WAIT_OUTCOMES.to_frame(waits, caller)
    of_keys = "resources" in waits.columns  # which each of `arrivals` counts
    table, cluster = (ARRIVALS, RESOURCE_KEY) if of_keys else (WAIT_OUTCOMES, _ROOT)
    waits = table.normalize(waits, [*table.names, *names], caller)
    own = [*RESOURCE_KEY] if of_keys else ["batch_id"]
    key = waits[[*dict.fromkeys([*cluster, *own])]]
    rooted = key.assign(**{name: key[name].where(key[cluster[-1]].isna()) for name in own})
    number = (key if of_keys else rooted).groupby([*key.columns], dropna=False).ngroup()
    return names, waits.assign(ends_with=number.to_numpy())


def _lifetimes(rows: pd.DataFrame) -> Lifetimes:
    _, cluster = np.unique(rows["ends_with"].to_numpy(), return_inverse=True)
    return read_lifetimes(rows, np.asarray(cluster, np.int64))


def _guarded(
    lives: Lifetimes, events: int, clusters: int, at_risk: int
) -> tuple[Lifetimes, str | None]:
    """The waits from the age on at which enough were in sight, and why there is no curve."""
    start = first_age(lives, at_risk)
    if np.isnan(start):
        return lives, f"fewer than {max(1, at_risk)} in sight at once"
    late = lives.from_age(start)
    ended = late.cause == 1
    if ended.sum() < max(1, events):
        return late, f"fewer than {max(1, events)} events"
    if len(np.unique(late.cluster[ended])) < clusters:
        return late, f"fewer than {clusters} roots behind them"
    _, number = np.unique(late.cluster, return_inverse=True)
    cluster = np.asarray(number, np.int64)
    return Lifetimes(late.entry, late.low, late.high, late.cause, cluster), None


def _curve_table(curve: Curve) -> pd.DataFrame:
    low, high = _percentiles(curve.again)
    return pd.DataFrame(
        {
            "age_from": pd.to_timedelta(curve.since, unit="s"),
            "age": pd.to_timedelta(curve.ages, unit="s"),
            "at_risk": curve.at_risk,
            "events": curve.events,
            "survival_fraction": curve.waiting,
            "low_fraction": low,
            "high_fraction": high,
            "released_incidence": curve.released,
            "expired_incidence": curve.expired,
            "method": curve.method,
        }
    )


def _percentiles(again: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not len(again):
        return np.full((2, again.shape[1]), np.nan)
    return np.asarray(np.quantile(again, [0.025, 0.975], axis=0, method="inverted_cdf"))


def _median(curve: Curve) -> dict[str, object]:
    half = _halves(curve.waiting[None, :], curve)[0]
    if np.isinf(half):
        reason = "fewer than half are over at the last age in sight"
        return {"method": curve.method, "reason": reason}
    # Where in its cell the curve crosses a half is not known, so the interval spans the cell.
    low, _ = _percentiles(_halves(curve.again, curve, 0.0)[:, None]).ravel()
    _, high = _percentiles(_halves(curve.again, curve, 1.0)[:, None]).ravel()
    return {
        "median_wait": _seconds(half),
        "median_low": _seconds(low),
        "median_high": _seconds(high),
        "method": curve.method,
    }


def _halves(
    curves: npt.NDArray[np.float64], curve: Curve, within: float | None = None
) -> npt.NDArray[np.float64]:
    """For each curve the age at which it falls to a half; infinite if it never does.

    That is ``within`` its cell, as a part of the cell's width; by default where a straight line
    from its one end to the other would cross a half.
    """
    if not len(curve.ages):
        return np.full(len(curves), np.inf)
    below = curves <= 0.5 + 1e-12
    first = below.argmax(axis=1)
    row = np.arange(len(curves))
    before = np.where(first > 0, curves[row, first - 1], 1.0)
    fall = before - curves[row, first]
    line = np.where(fall > 0, (before - 0.5) / np.where(fall > 0, fall, 1.0), 1.0).clip(0, 1)
    share = line if within is None else within
    found = curve.since[first] + share * (curve.ages[first] - curve.since[first])
    return np.where(below.any(axis=1), found, np.inf)


def _rates(lives: Lifetimes) -> dict[str, object]:
    """The counts, and the events per hour with their interval."""
    from scipy.special import gammaincinv

    ended = lives.cause == 1
    hours = (lives.middle - lives.entry) / 3600
    d, total = int(ended.sum()), float(hours.sum())
    _, number = np.unique(lives.cluster, return_inverse=True)
    counts: dict[str, object] = {
        "waits": len(lives),
        "events": d,
        "clusters": len(np.unique(lives.cluster[ended])),
    }
    if not total > 0:
        return counts
    rate = d / total
    roots = int(number.max()) + 1
    if roots == len(lives):
        low = gammaincinv(d, 0.025) / total if d else 0.0
        high = gammaincinv(d + 1, 0.975) / total
    else:
        low, high = _jackknife(
            *(np.bincount(number, each).astype(np.float64) for each in (ended, hours))
        )
    kind = None if not d else "adjusted" if roots >= _ENOUGH else "descriptive"
    return {
        **counts,
        "per_hour": rate,
        "per_hour_low": low,
        "per_hour_high": high,
        "interval": kind,
    }


def _jackknife(
    events: npt.NDArray[np.float64], hours: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """The interval of the rate Σ events / Σ hours over roots, on the scale of its logarithm."""
    from scipy.special import stdtrit

    roots = len(events)
    d, total = events.sum(), hours.sum()
    if roots < 2 or not d:
        return np.nan, np.nan
    # One root less; where it held all events, half of one is left.
    without = np.log(np.maximum(d - events, 0.5) / np.maximum(total - hours, 1e-12))
    spread = (roots - 1) / roots * ((without - without.mean()) ** 2).sum()
    half = stdtrit(roots - 1, 0.975) * np.sqrt(spread)
    return float(d / total * np.exp(-half)), float(d / total * np.exp(half))


def _seconds(value: float) -> pd.Timedelta | np.timedelta64:
    # A plain NaT would make a column of times, not of lengths.
    return pd.Timedelta(value, unit="s") if np.isfinite(value) else np.timedelta64("NaT", "us")
