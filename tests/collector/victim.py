"""A watch in a process of its own, to be killed; it notes what the store has acknowledged."""

from __future__ import annotations

import os
import time

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.collector.hand import Hand

SPEED = 3600  # virtual seconds a second


def watch(environment: dict[str, str], place: str, notes: str, seed: int) -> None:
    """Watch until killed. Each acknowledged look is a line of ``notes``."""
    os.environ.update(environment)
    write = Hand.write

    def noting(hand: Hand) -> None:
        held = list(hand._held)
        write(hand)
        lines = [f"{x.run_id} {x.tenant_id} {x.batch_id} {x.sent_at.isoformat()}\n" for x in held]
        with open(notes, "a") as file:
            file.write("".join(lines))

    Hand.write = noting
    client = reach.Client(retry=RetryPolicy(attempts=3, base_s=0.01), threads=4)
    reach.watch(
        client,
        place,
        policy=reach.Policy(seed=seed),
        group=25,
        group_seconds=60,
        wait=lambda seconds: time.sleep(min(seconds / SPEED, 0.02)),
        progress=False,
    )
