"""Worlds of waits with known ends, and their observations.

A second, independent model of waits: keys come and go, a wait is released at the first moment at
which all it misses is present, and is deleted at its expiry. Observations take time, overlap and
fail; each shows the state of one moment between its sending and its answer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pandas as pd

from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.tables import LIST
from tests.support.observations import batch, minute, observation

NEVER = float("inf")
HORIZON = 240.0


@dataclass(frozen=True)
class World:
    """What may happen. Times are minutes.

    ``slow`` is the share of observations that take minutes, ``collectors`` run at once, ``fails``
    is the share of released records that fail their validation, ``deletes`` whether keys are
    deleted again, ``code`` what the summary calls an expiry (none if null).
    """

    seed: int = 0
    batches: int = 40
    slow: float = 0.0
    collectors: int = 1
    fails: float = 0.1
    expired_counts_as_failed: bool = True
    code: str | None = None
    deletes: bool = False
    busy: float = 0.0
    sweep: float = 0.0
    every: float = 12.0
    keys: int = 12


@dataclass
class Wait:
    batch_id: str
    name: str
    misses: list[str]
    expires: float
    ends: float = 0
    released: bool = False
    fails: bool = False
    gone: float = 0


@dataclass
class Played:
    observations: list[RecordedObservation] = field(default_factory=list)
    waits: dict[tuple[str, str], Wait] = field(default_factory=dict)


def play(world: World) -> Played:
    """The observations of a world, and the truth about its waits by (batch_id, name)."""
    rng = random.Random(world.seed)
    presence = {f"k{n}": _presence(world, rng) for n in range(world.keys)}
    played = Played()
    for number in range(world.batches):
        _play_batch(world, rng, f"b{number}", presence, played)
    if world.deletes:
        gone = [end for spans in presence.values() for _, end in spans if end < NEVER]
        for number, at in enumerate(gone):
            document = {
                "batchId": f"d{number}",
                "batchType": "PARTNER_RESOURCE_BATCH_DELETE",
                "status": "success",
                "createdAt": minute(at - rng.random() / 4).isoformat(),
                "completedAt": minute(at + rng.random() / 4).isoformat(),
                "progress": {"totalRecords": 1, "successfulRecords": 1},
            }
            played.observations.append(observation(document, HORIZON, scope=LIST))
    return played


def _presence(world: World, rng: random.Random) -> list[tuple[float, float]]:
    """From when to when a key is present; most come once, some never."""
    spans: list[tuple[float, float]] = []
    at = rng.expovariate(1 / 60)
    if rng.random() < 0.25:
        return spans
    while at < HORIZON:
        stays = rng.expovariate(1 / 25) if world.deletes and rng.random() < 0.7 else NEVER
        spans.append((at, at + stays))
        at += stays + rng.expovariate(1 / 40)
    return spans


def _play_batch(world, rng, batch_id, presence, played) -> None:
    waits = []
    for n in range(rng.randint(1, 5)):
        misses = rng.sample(sorted(presence), rng.choice([1, 1, 2]))
        expires = rng.choice([30, 45, 60, 61, 90, 150]) + rng.random()
        wait = Wait(batch_id, f"{batch_id}-{n}", misses, expires)
        _live(wait, world, rng, presence)
        waits.append(wait)
        played.waits[batch_id, wait.name] = wait
    others = sorted(rng.uniform(0, 80) for _ in range(5)) if rng.random() < world.busy else []
    fate = [rng.random() < 0.5 for _ in others]
    for collector in range(world.collectors):
        at = rng.uniform(0, world.every)
        while at < HORIZON:
            took = rng.expovariate(1 / 8) if rng.random() < world.slow else rng.random() / 50
            state = rng.uniform(at, at + took)
            document = _document(world, batch_id, waits, others, fate, presence, state)
            seen = observation(document, at, run_id=f"r{collector}")
            if rng.random() < 0.05:
                seen = observation(None, at, batch_id=batch_id, run_id=f"r{collector}")
            played.observations.append(replace(seen, received_at=minute(at + took)))
            at += rng.uniform(0.2, 1.8) * world.every if world.slow else world.every


def _live(wait: Wait, world: World, rng: random.Random, presence) -> None:
    """When the wait ends, and how."""
    moments = sorted({0.0, *(begin for key in wait.misses for begin, _ in presence[key])})
    met = [t for t in moments if all(_is_present(presence[key], t) for key in wait.misses)]
    wait.released = bool(met) and met[0] < wait.expires
    wait.ends = met[0] if wait.released else wait.expires
    wait.fails = wait.released and rng.random() < world.fails
    wait.gone = wait.ends + (0 if wait.released else rng.random() * world.sweep)


def _is_present(spans, at: float) -> bool:
    return any(begin <= at < end for begin, end in spans)


def _document(world, batch_id, waits, others, fate, presence, at: float) -> dict:
    pending = [wait for wait in waits if wait.gone > at and wait.ends > 0]
    over = [wait for wait in waits if wait.gone <= at or wait.ends <= 0]
    done = [good for moment, good in zip(others, fate, strict=True) if moment <= at]
    good = sum(w.released and not w.fails for w in over) + sum(done)
    invalid = sum(w.fails for w in over) + len(done) - sum(done)
    expired = sum(not w.released for w in over)
    failed = invalid + (expired if world.expired_counts_as_failed else 0)
    counts = {"VALIDATION_ERROR": invalid}
    if world.code:
        counts[world.code] = expired
    summary = {code: count for code, count in counts.items() if count}
    total = len(waits) + len(others)
    document = batch(
        batch_id,
        waits={
            w.name: [key for key in w.misses if not _is_present(presence[key], at)] for w in pending
        },
        created=0,
        expires={w.name: w.expires for w in pending},
        status="processing" if len(done) < len(others) else "partial_success",
        progress={
            "totalRecords": total,
            "processedRecords": total - len(others) + len(done),
            "successfulRecords": good,
            "failedRecords": failed,
            "pendingRecords": len(pending),
        },
    )
    if summary:
        document["errors"] = {"summary": summary}
    return document


def faults(waits: pd.DataFrame, truth: dict[tuple[str, str], Wait]) -> list[str]:
    """Every verdict that is wrong and every bound that does not hold, in words."""
    found = []
    was = [truth[row.batch_id, row.external_id].released for row in waits.itertuples()]
    waits = waits.assign(was=was)
    told = waits[waits["verdict"].isin(["released", "expired"])]
    wrong = told[(told["verdict"] == "released") != told["was"]]
    for row in wrong.itertuples():
        found.append(f"{row.external_id} was not {row.verdict}, as rule {row.rule} says")
    unknown = waits[waits["verdict"] == "unknown"]
    for (one, departure), rows in unknown.groupby(["batch_id", "departure"]):
        released, first = rows["was"].sum(), rows.iloc[0]
        if first["unknown_together"] != len(rows):
            found.append(f"{one}/{departure}: {first['unknown_together']} together are {len(rows)}")
        if not first["released_at_least"] <= released <= first["released_at_most"] <= len(rows):
            bounds = f"{first['released_at_least']}–{first['released_at_most']} of {len(rows)}"
            found.append(f"{one}/{departure}: {released} were released, not {bounds}")
    return found
