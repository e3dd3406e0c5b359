"""A run: its observer, its write buffer, and its summary at the end."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reach_analytics.client import Client
from reach_analytics.collector._observe.observer import Observer
from reach_analytics.collector._observe.write_buffer import WriteBuffer
from reach_analytics.collector.summary import RunSummary
from reach_analytics.store import Store


@dataclass(frozen=True)
class Run:
    """What `collect` and `watch` start with, and summarize at the end."""

    client: Client
    buffer: WriteBuffer
    observer: Observer
    started_at: datetime
    sent_before: int

    def summary(self, **others: Any) -> RunSummary:
        """The summary: what the store has acknowledged, and other fields."""
        return RunSummary(
            run_id=self.observer.run_id,
            started_at=self.started_at,
            finished_at=self.client.now(),
            batches=len(self.buffer.batches),
            observations=self.buffer.observations,
            failed_observations=self.buffer.failed_observations,
            new_states=self.buffer.new_states,
            requests=self.client.requests_sent - self.sent_before,
            **others,
        )


def begin(
    caller: str,
    client: Client,
    store: Store | str | os.PathLike[str],
    run_id: str | None,
    group: int,
    group_seconds: float = 10.0,
) -> Run:
    """A new run, once its arguments are checked; it sends nothing yet."""
    if not isinstance(client, Client):
        raise TypeError(f"{caller} takes a Client first, found {type(client).__name__}")
    if group < 1:
        raise ValueError(f"group must be at least 1, found {group}")
    if not group_seconds > 0:
        raise ValueError(f"group_seconds must be above 0, found {group_seconds}")
    opened = store if isinstance(store, Store) else Store(store)
    buffer = WriteBuffer(opened, client.now, group, group_seconds)
    observer = Observer(run_id or str(uuid.uuid4()), client.now)
    return Run(client, buffer, observer, client.now(), client.requests_sent)
