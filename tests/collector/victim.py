"""A watch in a process of its own, to be killed; it notes what the store has acknowledged."""

from __future__ import annotations

import faulthandler
import os
import time
from datetime import timedelta

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.collector.hand import Hand

SPEED = 200  # virtual seconds a second
BUSY = reach.Policy(
    quiet_share=0.02, floor=timedelta(seconds=5), waiting_floor=timedelta(seconds=10)
)


def watch(environment: dict[str, str], place: str, notes: str) -> None:
    """Watch until killed. Each acknowledged look is a line of ``notes``."""
    faulthandler.enable(open(f"{notes}.fault", "w"))
    os.environ.update(environment)
    write = Hand.write

    def noting(hand: Hand) -> None:
        held = list(hand._held)
        write(hand)
        lines = [f"{x.run_id} {x.tenant_id} {x.batch_id} {x.sent_at.isoformat()}\n" for x in held]
        with open(notes, "a") as file:
            file.write("".join(lines))

    Hand.write = noting
    client = reach.Client(retry=RetryPolicy(attempts=2, base_s=0.01), threads=4)
    reach.watch(
        client,
        place,
        policy=BUSY,
        group=10,
        group_seconds=30,
        wait=lambda seconds: time.sleep(min(seconds / SPEED, 0.02)),
        progress=False,
    )
