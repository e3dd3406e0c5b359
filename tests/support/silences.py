"""Worlds of running batches, some of them dead, and their observations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reach_analytics import tables

START = pd.Timestamp("2026-03-02", tz="UTC")


@dataclass(frozen=True)
class Silences:
    """``past`` finished batches, ``running`` ones and ``dead`` ones, observed every
    ``every`` minutes. Silences between two changes last a minute times ``typical`` in the median,
    spread as the ``kind`` has it; batches differ in pace by ``uneven`` (of a lognormal)."""

    seed: int = 0
    past: int = 60
    running: int = 20
    dead: int = 0
    every: float = 1.0
    typical: float = 5.0
    kind: str = "exponential"
    uneven: float = 0.0
    steps: int = 12


def play(world: Silences, silent_for: float) -> tuple[pd.DataFrame, set[str], set[str], float]:
    """The observations, the ids of the dead batches (silent for ``silent_for`` at the last one) and
    of the healthy ones, and the longest completed silence."""
    random = np.random.default_rng(world.seed)
    frames, longest = [], 0.0
    now = 0.0
    names: dict[str, set[str]] = {"dead": set(), "running": set()}
    plan = [("past", n) for n in range(world.past)] + [("running", n) for n in range(world.running)]
    plan += [("dead", n) for n in range(world.dead)]
    for state, number in plan:
        gaps = _gaps(world, random)
        moments = np.concatenate([[0.0], np.cumsum(gaps)])
        name = f"{state}{number}"
        if state == "past":
            begin, end = -moments[-1] - random.uniform(0, 500), None
            longest = max(longest, gaps.max())
        elif state == "running":
            begin, end = -random.uniform(0, moments[-1]), 0.0
            names["running"].add(name)
        else:
            done = random.integers(1, world.steps)
            begin, end = -moments[done] - silent_for, 0.0
            moments = moments[: done + 1]
            names["dead"].add(name)
        frames.append(_observations(name, begin, moments, world, now, end))
    frame = tables.OBSERVATIONS.conform(pd.concat(frames, ignore_index=True))
    return frame, names["dead"], names["running"], longest


def _gaps(world: Silences, random: np.random.Generator) -> np.ndarray:
    pace = world.typical * np.exp(world.uneven * random.standard_normal())
    draws = {
        "exponential": lambda: random.exponential(1 / np.log(2), world.steps),
        "lognormal": lambda: np.exp(random.standard_normal(world.steps)),
        "even": lambda: random.uniform(0.5, 1.5, world.steps),
    }
    return np.asarray(pace * draws[world.kind]())


def _observations(name, begin, moments, world, now, end) -> pd.DataFrame:
    """Observations from the batch's begin to its end, or to now."""
    changes = begin + moments
    last = changes[-1] + 2 * world.every if end is None else end
    sent = np.arange(np.ceil(begin / world.every) * world.every, last + 1e-9, world.every)
    sent = sent if len(sent) else np.array([last])
    done = np.searchsorted(changes, sent, side="right") - 1
    total = world.steps
    times = START + pd.to_timedelta(sent, unit="min")
    return pd.DataFrame(
        {
            "tenant_id": "t",
            "batch_id": name,
            "schema_name": "s",
            "run_id": [f"{name}-{n}" for n in range(len(sent))],
            "sent_at": times,
            "received_at": times,
            "scope": "detail",
            "ok": True,
            "complete": True,
            "status": np.where(done >= total, "success", "processing"),
            "total_records": total * 10,
            "processed_records": np.maximum(done, 0) * 10,
            "successful_records": np.maximum(done, 0) * 10,
            "pending_records": 0,
            "failed_records": 0,
        }
    )
