"""How often intervals cover the truth, limits raise false alarms, and verdicts are wrong.

Each study returns a table; ``python -m tests.coverage`` writes them all into docs/coverage.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from reach_analytics import tables
from reach_analytics.measures import (
    backlog,
    change_point,
    control_chart,
    release_rates,
    stuck,
    success,
    survival,
    wait_times,
)
from tests.support import silences, worlds
from tests.support.histories import history
from tests.support.observations import minute
from tests.support.waits import at

START = pd.Timestamp("2026-03-02", tz="UTC")


def percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f}"


def sizes(kind: str, count: int, random: np.random.Generator) -> np.ndarray:
    """Records of each batch: 200, or 10 to 1,000."""
    if kind == "equal":
        return np.full(count, 200)
    return np.exp(random.uniform(np.log(10), np.log(1000), count)).astype(int)


def drawn(n: np.ndarray, p: float, rho: float, random: np.random.Generator) -> np.ndarray:
    """Successes of each batch, whose chances differ between batches by rho."""
    chance = random.beta(p * (1 / rho - 1), (1 - p) * (1 / rho - 1), len(n)) if rho else p
    return random.binomial(n, chance)


def success_interval(rounds: int) -> pd.DataFrame:
    """Of `success`: batches of equal or uneven sizes."""
    rows = []
    for kind in ("equal", "uneven"):
        for count in (6, 10, 30, 100):
            for p in (0.5, 0.9, 0.98):
                row = {"sizes": kind, "batches": count, "p": p}
                for rho in (0, 0.05, 0.1):
                    row[f"rho {rho}"] = _success_cell(kind, count, p, rho, rounds)
                rows.append(row)
    return pd.DataFrame(rows)


def _success_cell(kind: str, count: int, p: float, rho: float, rounds: int) -> str:
    random = np.random.default_rng([count, int(p * 100), int(rho * 100), kind == "equal"])
    n = np.concatenate([sizes(kind, count, random) for _ in range(rounds)])
    s = drawn(n, p, rho, random)
    frame = pd.DataFrame(
        {
            "group": np.repeat(np.arange(rounds), count),
            "total_records": n,
            "processed_records": n,
            "successful_records": s,
            "failed_records": n - s,
            "pending_records": 0,
        }
    )
    found = success(frame, by="group")
    held = found["settled_low_fraction"].le(p) & found["settled_high_fraction"].ge(p)
    told = found["interval"] == "adjusted"
    if told.mean() < 0.5:
        return "descriptive"
    return percent(held[told].mean())


def released_interval(rounds: int) -> pd.DataFrame:
    """Of `release_rates`: waits for roots, some of whose ends are unobserved."""
    rows = []
    for roots in (10, 20, 60, 200):
        for unknown in (0.0, 0.3):
            row = {"roots": roots, "unknown": unknown}
            for p, rho in ((0.5, 0.1), (0.9, 0.1), (0.9, 0.3)):
                row[f"p {p}, rho {rho}"] = _released_cell(roots, unknown, p, rho, rounds)
            rows.append(row)
    return pd.DataFrame(rows)


def _released_cell(roots: int, unknown: float, p: float, rho: float, rounds: int) -> str:
    random = np.random.default_rng([roots, int(unknown * 10), int(p * 10), int(rho * 10)])
    each = 20
    count = rounds * roots * each
    chance = random.beta(p * (1 / rho - 1), (1 - p) * (1 / rho - 1), rounds * roots)
    released = random.random(count) < np.repeat(chance, each)
    # Expired waits are more often unobserved, as they are around an expiry.
    hidden = random.random(count) < np.where(released, unknown / 2, min(1.0, unknown * 2))
    frame = tables.WAIT_OUTCOMES.conform(
        pd.DataFrame(
            {
                "tenant_id": "t",
                "batch_id": np.repeat(np.arange(rounds * roots), each).astype(str),
                "pending_id": np.arange(count).astype(str),
                "created_at": at(0),
                "expires_at": at(60),
                "first_seen": at(1),
                "last_seen": at(5),
                "verdict": np.where(hidden, "unknown", np.where(released, "released", "expired")),
                "rule": "3",
                "departure": np.where(hidden, np.arange(count), 0),
                "unknown_together": np.where(hidden, 1, 0),
                "released_at_least": 0,
                "released_at_most": np.where(hidden, 1, 0),
                "root_external_id": np.repeat(np.arange(rounds * roots), each).astype(str),
            }
        )
    ).assign(group=np.repeat(np.arange(rounds), roots * each))
    found = release_rates(frame, as_of=at(500), by="group")
    held = found["released_low_fraction"].le(p) & found["released_high_fraction"].ge(p)
    told = found["interval"] == "adjusted"
    return percent(held[told].mean()) if told.mean() > 0.5 else "descriptive"


def observed_waits(
    random: np.random.Generator, waits: int, roots: int | None, gap: float, mean: float = 30
) -> pd.DataFrame:
    """Exponential waits, observed every ``gap`` minutes; those on one root end faster or slower
    together, with a coefficient of variation of a half."""
    root = np.arange(waits) if roots is None else random.integers(0, roots, waits)
    pace = random.gamma(4, 0.25, waits if roots is None else roots)
    pace = np.ones(waits) if roots is None else pace[root]
    began = random.uniform(0, 5000, waits)
    lasts = random.exponential(mean, waits) / pace
    first = np.ceil(began / gap) * gap - began if gap else np.zeros(waits)
    limit = 6.0 * mean
    gone = np.minimum(lasts, limit)
    seen = gone > first
    last = first + np.floor((gone - first) / gap) * gap if gap else gone
    released = lasts <= limit
    by = np.minimum(last + gap, limit)
    after = np.where(released, last, limit)

    def moments(minutes: np.ndarray) -> pd.Series:
        return pd.Series(START + pd.to_timedelta((began + minutes) * 60, unit="s"))

    frame = pd.DataFrame(
        {
            "tenant_id": "t",
            "batch_id": np.arange(waits).astype(str),
            "pending_id": np.arange(waits).astype(str),
            "created_at": moments(np.zeros(waits)),
            "expires_at": moments(np.full(waits, limit)),
            "first_seen": moments(first),
            "last_seen": moments(after),
            "verdict": np.where(released, "released", "expired"),
            "rule": "3",
            "ended_after": moments(after),
            "ended_by": moments(np.where(released, by, limit)),
            "root_external_id": root.astype(str),
        }
    )
    return tables.WAIT_OUTCOMES.conform(frame[seen])


AGES = (15, 30, 60, 90)


def survival_band(rounds: int) -> pd.DataFrame:
    """Of `survival` and `wait_times`: exponential waits with a mean of 30 minutes, each on its own
    root. At each age the band is that of the cell it lies in."""
    rows = []
    for waits, gap in ((200, 1), (200, 10), (1000, 2), (1000, 21), (5000, 2)):
        held: dict[int, list[bool]] = {age: [] for age in AGES}
        median = []
        for seed in range(rounds):
            random = np.random.default_rng([waits, gap, seed])
            frame = observed_waits(random, waits, None, gap)
            found = survival(frame, n_resamples=200, seed=seed)
            begin = found["age_from"].iloc[0].total_seconds() / 60
            ages = found["age"].dt.total_seconds() / 60
            for age in AGES:
                place = int(ages.searchsorted(age))
                if place < len(found):
                    high = found["high_fraction"].iloc[place - 1] if place else 1.0
                    truth = np.exp(-(age - begin) / 30)
                    held[age].append(found["low_fraction"].iloc[place] <= truth <= high)
            row = wait_times(frame, n_resamples=200, seed=seed).iloc[0]
            truth = pd.Timedelta(minutes=begin + 30 * np.log(2))
            high = row["median_high"]
            median.append(row["median_low"] <= truth and (pd.isna(high) or truth <= high))
        cells = {f"{age} min": percent(np.mean(held[age])) for age in AGES}
        rows.append(
            {
                "waits": waits,
                "observed every": f"{gap} min",
                **cells,
                "median": percent(np.mean(median)),
            }
        )
    return pd.DataFrame(rows)


def rate_interval(rounds: int) -> pd.DataFrame:
    """Of `wait_times`: releases per hour, by the number of roots."""
    rows = []
    for roots in (None, 6, 10, 20, 40, 100):
        held, told = [], []
        for seed in range(rounds):
            random = np.random.default_rng([roots or 0, seed])
            frame = observed_waits(random, 400, roots, 1)
            row = wait_times(frame, n_resamples=400, seed=seed).iloc[0]
            truth = _true_rate(roots)
            held.append(row["per_hour_low"] <= truth <= row["per_hour_high"])
            told.append(row["interval"])
        name = "400, one each" if roots is None else str(roots)
        rows.append(
            {
                "roots": name,
                "covers": percent(np.mean(held)),
                "called": max(set(told), key=told.count),
            }
        )
    return pd.DataFrame(rows)


def _true_rate(roots: int | None) -> float:
    """Events per hour of observed waiting, from a very large sample."""
    key = roots is None
    if key not in _RATES:
        random = np.random.default_rng(99)
        frame = observed_waits(random, 400_000, None if key else 200_000, 1)
        row = wait_times(frame, n_resamples=0).iloc[0]
        _RATES[key] = float(row["per_hour"])
    return _RATES[key]


_RATES: dict[bool, float] = {}


def control_limits(rounds: int) -> pd.DataFrame:
    """Of `control_chart`: batches in control that signal, nominally 0.27 %; a baseline of 20, then
    200 more, of 30 to 2,000 records each."""
    rows = []
    for p in (0.5, 0.9, 0.98):
        for rho in (0, 0.01, 0.05, 0.1):
            row: dict[str, object] = {"centre": p, "rho": rho}
            for limits in ("beta-binomial", "laney", "p"):
                row[f"limits {limits}"] = percent(_signals(p, rho, limits, rounds))
            rows.append(row)
    return pd.DataFrame(rows)


def _signals(p: float, rho: float, limits: str, rounds: int) -> float:
    random = np.random.default_rng([int(p * 100), int(rho * 100)])
    frames = []
    for number in range(rounds):
        n = np.exp(random.uniform(np.log(30), np.log(2000), 220)).astype(int)
        frames.append(_batches(drawn(n, p, rho, random), n).assign(group=number))
    chart = control_chart(pd.concat(frames), by="group", limits=limits)  # type: ignore[arg-type]
    later = chart[~chart["in_baseline"] & chart["reason"].isna()]
    return float(later["signal"].notna().mean())


def _batches(good: np.ndarray, size: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "tenant_id": "t",
            "batch_id": [f"b{n:05}" for n in range(len(size))],
            "created_at": START + pd.to_timedelta(np.arange(len(size)), unit="min"),
            "successful_records": good,
            "failed_records": size - good,
        }
    )


def change_alarms(rounds: int) -> pd.DataFrame:
    """Of `change_point`: series without a change that give p ≤ 0.05, and how many of these alarms
    are marked as autocorrelated."""
    rows = []
    for count in (20, 60):
        for strength in (0.0, 0.3, 0.6):
            random = np.random.default_rng([count, int(strength * 10)])
            alarms, marked, flags = 0, 0, 0
            for seed in range(rounds):
                level, levels = random.standard_normal(), []
                for shock in random.standard_normal(count):
                    level = strength * level + np.sqrt(1 - strength**2) * shock
                    levels.append(level)
                chance = 1 / (1 + np.exp(-(1.5 + 0.8 * np.array(levels))))
                size = np.full(count, 100)
                frame = _batches(random.binomial(size, chance), size)
                row = change_point(frame, n_resamples=499, seed=seed).iloc[0]
                alarm = row["p_value"] <= 0.05
                alarms += alarm
                marked += alarm and bool(row["autocorrelated"])
                flags += bool(row["autocorrelated"])
            rows.append(
                {
                    "batches": count,
                    "autocorrelation": strength,
                    "alarms": percent(alarms / rounds),
                    "alarms not marked": percent((alarms - marked) / rounds),
                    "marked": percent(flags / rounds),
                }
            )
    return pd.DataFrame(rows)


def dead_batches(rounds: int) -> pd.DataFrame:
    """Of `stuck`: dead batches found once they are silent for three times the longest completed
    silence, and others called stuck at the same moment."""
    rows = []
    for kind in ("exponential", "lognormal", "even"):
        for past, running, dead, uneven in (
            *((60, 0, 3, 0.0), (60, 20, 3, 0.0), (60, 20, 3, 0.5)),
            *((60, 60, 3, 0.5), (60, 20, 20, 0.0), (20, 10, 3, 0.0)),
        ):
            found, total, false, healthy = 0, 0, 0, 0
            for seed in range(rounds):
                world = silences.Silences(seed, past, running, dead, kind=kind, uneven=uneven)
                *_, longest = silences.play(world, 1.0)
                wait = 3 * longest + 4 * world.every
                frame, lost, others, _ = silences.play(world, wait)
                table = stuck(frame, as_of=silences.START + pd.Timedelta(hours=1))
                verdict = table.set_index("batch_id")["verdict"]
                found += int((verdict.reindex(sorted(lost)) == "stuck").sum())
                total += len(lost)
                own = verdict[verdict.index.isin(others)]
                false, healthy = false + int((own == "stuck").sum()), healthy + len(own)
            rows.append(
                {
                    "silences": kind,
                    "past": past,
                    "running": running,
                    "dead": dead,
                    "pace differs": "yes" if uneven else "no",
                    "found": percent(found / total),
                    "false alarms": percent(false / healthy) if healthy else "–",
                }
            )
    return pd.DataFrame(rows)


VERDICT_WORLDS: dict[str, worlds.World] = {
    "no overlaps": worlds.World(),
    "one in ten answers slow": worlds.World(slow=0.1),
    "six in ten slow": worlds.World(slow=0.6),
    "six in ten slow, two collectors": worlds.World(slow=0.6, collectors=2),
    "expiries not counted as failed": worlds.World(slow=0.6, expired_counts_as_failed=False),
    "a code counts expiries": worlds.World(slow=0.6, code="WAIT_EXPIRED"),
    "keys deleted all the time": worlds.World(slow=0.1, deletes=True),
    "all of it": worlds.World(
        slow=0.6, collectors=2, deletes=True, busy=0.5, sweep=8, code="timeout"
    ),
}


def verdicts(rounds: int) -> pd.DataFrame:
    """Of `wait_outcomes`: wrong verdicts and bounds that do not hold; and of `backlog`, the ends of
    buckets at which the true number waiting lies within its range."""
    rows = []
    for name, world in VERDICT_WORLDS.items():
        waits, unknown, wrong = 0, 0, 0
        within: list[bool] = []
        for seed in range(rounds):
            played = worlds.play(replace(world, seed=100 + seed))
            table = history(*played.observations).wait_outcomes(tolerance="1s")
            within += _within_backlog(table, played)
            waits, unknown = (
                waits + len(table),
                unknown + int((table["verdict"] == "unknown").sum()),
            )
            wrong += len(worlds.faults(table, played.waits))
        rows.append(
            {
                "world": name,
                "waits": waits,
                "unknown": percent(unknown / waits),
                "wrong": wrong,
                "backlog within": percent(float(np.mean(within))),
            }
        )
    return pd.DataFrame(rows)


def _within_backlog(table: pd.DataFrame, played: worlds.Played) -> list[bool]:
    """Whether the range at each bucket's end holds the number of observed waits still waiting."""
    ends = [minute(played.waits[row.batch_id, row.external_id].ends) for row in table.itertuples()]
    over = np.sort(pd.to_datetime(pd.Series(ends), utc=True).to_numpy("datetime64[us]"))
    found = backlog(table, freq="20min", as_of=minute(worlds.HORIZON))
    close = (found["bucket"] + pd.Timedelta("20min")).to_numpy("datetime64[us]")
    waiting = len(over) - np.searchsorted(over, close, side="right")
    held = (found["waiting_low"] <= waiting) & (waiting <= found["waiting_high"])
    return [bool(one) for one in held]


# name → (study, rounds of the whole study, rounds in the gate)
STUDIES: dict[str, tuple[Callable[[int], pd.DataFrame], int, int]] = {
    "success": (success_interval, 2000, 200),
    "release_rates": (released_interval, 400, 60),
    "survival": (survival_band, 200, 4),
    "rates": (rate_interval, 400, 10),
    "control": (control_limits, 60, 4),
    "change": (change_alarms, 400, 10),
    "stuck": (dead_batches, 30, 1),
    "verdicts": (verdicts, 8, 1),
}
