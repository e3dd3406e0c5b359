"""What watching asks of the API, beside polling at a fixed distance, over the same 24 hours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

import reach_analytics as reach
from reach_analytics.client.documents import batch_from_json
from reach_analytics.collector.knowledge import Knowledge
from reach_analytics.collector.observe import DETAIL, Observed
from reach_analytics.sandbox import documents, scenario

SECOND = timedelta(seconds=1)


@dataclass
class Seen:
    """What a way of polling asked, and what it saw of each batch when."""

    requests: int
    changes: int
    looks: dict[tuple[str, str], list[tuple[datetime, bool]]]  # when, and whether it was unsettled
    made: dict[tuple[str, str], datetime]

    @property
    def per_change(self) -> float:
        return self.requests / self.changes

    def staleness(self) -> tuple[float, float, float]:
        """p50 and p95 of the age of what is known, in seconds, and p95 of it as a part of the
        batch's own age: over every second of every batch while it was not settled."""
        ages, shares = [], []
        for key, looks in self.looks.items():
            for (at, unsettled), (then, _) in pairwise(looks):
                if not unsettled:
                    continue
                steps = np.arange(0.5, max((then - at).total_seconds(), 1), 1.0)
                ages.append(steps)
                shares.append(steps / ((at - self.made[key]).total_seconds() + steps))
        age, share = np.concatenate(ages), np.concatenate(shares)
        p50, p95 = np.percentile(age, [50, 95])
        return float(p50), float(p95), float(np.percentile(share, 95))


def fixed(every: timedelta, hours: float, name: str = "late_dependencies") -> Seen:
    """Every batch that is not settled is looked at every 30 s, and every tenant's newest page.

    Played on the sandbox's world without HTTP; a request is counted for each look and page.
    """
    played = scenario.find(name)
    world = played.world(0)
    knowledge, seen = Knowledge(), Seen(0, 0, {}, {})
    now = played.start
    while now < played.start + timedelta(hours=hours):
        now += every
        world.advance(now)
        seen.requests += len(world.tenants)
        for batch in world.batches.values():
            key = batch.tenant_id, batch.id
            known = knowledge.batches.get(key)
            if known is not None and known.settled:
                continue
            told = json.dumps(documents.batch(world, batch, pending_details=True)).encode()
            document = batch_from_json(told)
            look = Observed("fixed", *key, now, now, DETAIL, document, 200)
            seen.requests += 1
            seen.changes += knowledge.learn(look)
            seen.made[key] = document.created_at
            seen.looks.setdefault(key, []).append((now, not knowledge.batches[key].settled))
    return seen


def watched(place, hours: float, name: str = "late_dependencies", **options) -> Seen:
    """The same hours watched over HTTP; looks as the store tells them, requests as the server."""
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
    looks = reach.open_history(place).looks()
    ended = looks["status"].isin(["success", "partial_success", "failure"])
    looks = looks.assign(ended=ended | looks["completed_at"].notna())
    for key, rows in looks[looks["ok"]].groupby(["tenant_id", "batch_id"], sort=False):
        seen.made[key] = rows["created_at"].iloc[0]
        seen.looks[key] = _walked(rows, seen)
    return seen


COUNTS = [f"{name}_records" for name in ("processed", "successful", "pending", "failed")]


def _walked(rows, seen: Seen) -> list[tuple[datetime, bool]]:
    """A batch's looks, its changes counted on the way. What waits is known from looks at the batch
    itself alone; a change that a listing shows first counts once."""
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


def test_watching_asks_a_third_of_what_fixed_polling_asks(tmp_path, full_size, capsys):
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
