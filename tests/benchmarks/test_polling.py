"""Requests of `watch` compared with polling at a fixed interval, over the same 24 hours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

import reach_analytics as reach
from reach_analytics.client.documents import batch_from_json
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector._schedule.batch_states import BatchStates
from reach_analytics.sandbox import scenario
from reach_analytics.sandbox._http import documents
from reach_analytics.tables import DETAIL

SECOND = timedelta(seconds=1)


@dataclass
class Seen:
    """What a way of polling requested, and what it observed of each batch when."""

    requests: int
    changes: int
    # when, and whether the batch was unfinished
    observations: dict[tuple[str, str], list[tuple[datetime, bool]]]
    made: dict[tuple[str, str], datetime]

    @property
    def per_change(self) -> float:
        return self.requests / self.changes

    def staleness(self) -> tuple[float, float, float]:
        """p50 and p95 of the age of the known state in seconds, and p95 as a part of the batch's
        own age: over every second of every batch while it was unfinished."""
        ages, shares = [], []
        for key, observations in self.observations.items():
            for (at, unfinished), (then, _) in pairwise(observations):
                if not unfinished:
                    continue
                steps = np.arange(0.5, max((then - at).total_seconds(), 1), 1.0)
                ages.append(steps)
                shares.append(steps / ((at - self.made[key]).total_seconds() + steps))
        age, share = np.concatenate(ages), np.concatenate(shares)
        p50, p95 = np.percentile(age, [50, 95])
        return float(p50), float(p95), float(np.percentile(share, 95))


def fixed(every: timedelta, hours: float, name: str = "late_dependencies") -> Seen:
    """Every unfinished batch is observed every 30 s, and so is every tenant's newest page.

    Simulated on the sandbox's world without HTTP; each observation and page counts as a request.
    """
    played = scenario.find(name)
    world = played.world(0)
    states, seen = BatchStates(), Seen(0, 0, {}, {})
    now = played.start
    while now < played.start + timedelta(hours=hours):
        now += every
        world.advance(now)
        seen.requests += len(world.tenants)
        for batch in world.batches.values():
            key = batch.tenant_id, batch.id
            known = states.batches.get(key)
            if known is not None and known.finished:
                continue
            told = json.dumps(documents.batch(world, batch, pending_details=True)).encode()
            document = batch_from_json(told)
            observation = RecordedObservation("fixed", *key, now, now, DETAIL, document, 200)
            seen.requests += 1
            seen.changes += states.learn(observation)
            seen.made[key] = document.created_at
            seen.observations.setdefault(key, []).append((now, not states.batches[key].finished))
    return seen


def watched(place, hours: float, name: str = "late_dependencies", **options) -> Seen:
    """The same hours watched over HTTP; observations by the store, requests by the server."""
    seen = Seen(0, 0, {}, {})
    with reach.sandbox.serve(name) as sandbox, reach.Client(**sandbox.credentials) as client:
        reach.watch(
            client,
            place,
            until=timedelta(hours=hours),
            wait=lambda seconds: sandbox.advance(sandbox.now() + seconds * SECOND),
            group_seconds=3600,
            progress=False,
            compact=False,
            **options,
        )
        seen.requests = len(sandbox.requests)
    observations = reach.open_history(place).observations()
    ended = observations["status"].isin(["success", "partial_success", "failure"])
    observations = observations.assign(ended=ended | observations["completed_at"].notna())
    for key, rows in observations[observations["ok"]].groupby(
        ["tenant_id", "batch_id"], sort=False
    ):
        seen.made[key] = rows["created_at"].iloc[0]
        seen.observations[key] = _observed(rows, seen)
    return seen


COUNTS = [f"{name}_records" for name in ("processed", "successful", "pending", "failed")]


def _observed(rows, seen: Seen) -> list[tuple[datetime, bool]]:
    """A batch's observations; counts its changes. Only observations of the batch itself tell what
    waits; a change that a listing shows first counts once."""
    told, last, detail, waits = [], None, (None, None), False
    for row in rows.itertuples():
        core = tuple(str(getattr(row, name)) for name in ("status", *COUNTS))
        is_detail = row.scope == DETAIL
        new_list = is_detail and detail[0] == core and detail[1] != row.state_hash
        seen.changes += core != last or new_list
        last = core
        if is_detail:
            detail, waits = (core, row.state_hash), (row.pending_resources_count or 0) > 0
        else:
            waits = waits or (row.pending_records or 0) > 0
        if is_detail or not waits:
            told.append((row.sent_at, waits or not row.ended))
    return told


def test_watching_sends_a_third_of_the_requests_of_fixed_polling(tmp_path, full_size, capsys):
    hours = 24 if full_size else 3
    ours, theirs = watched(tmp_path / "store", hours), fixed(30 * SECOND, hours)
    with capsys.disabled():
        for name, seen in (("fixed 30 s", theirs), ("watch", ours)):
            p50, p95, share = seen.staleness()
            print(
                f"\n{name:>10}: {seen.requests:,} requests, {seen.changes:,} changes seen, "
                f"{seen.per_change:.1f} requests a change; what is known is {p50:.0f} s old at the "
                f"median, {p95:.0f} s at p95, {share:.1%} of the batch's age at p95",
                end="",
            )
        print(f"\n{ours.per_change / theirs.per_change:.3f} of the requests a change")
    assert ours.per_change <= theirs.per_change / (3 if full_size else 2)
    assert ours.staleness()[2] <= (0.10 if full_size else 0.20)
