"""A watch in a separate process, to be killed; it records what the store acknowledged."""

from __future__ import annotations

import faulthandler
import os
import time
from datetime import timedelta

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.collector._observe.write_buffer import WriteBuffer

SPEED = 200  # virtual seconds a second
BUSY = reach.PollingPolicy(
    backoff_fraction=0.02,
    min_interval=timedelta(seconds=5),
    waiting_min_interval=timedelta(seconds=10),
)


def watch(environment: dict[str, str], place: str, notes: str) -> None:
    """Watch until killed. Each acknowledged observation is a line of ``notes``."""
    faulthandler.enable(open(f"{notes}.fault", "w"))
    os.environ.update(environment)
    write = WriteBuffer.write

    def noting(buffer: WriteBuffer) -> None:
        held = list(buffer._held)
        write(buffer)
        lines = [f"{x.run_id} {x.tenant_id} {x.batch_id} {x.sent_at.isoformat()}\n" for x in held]
        with open(notes, "a") as file:
            file.write("".join(lines))

    WriteBuffer.write = noting
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
