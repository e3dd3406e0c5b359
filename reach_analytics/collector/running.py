"""A run under way: who looks, what is in hand, and the summary of it at the end."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reach_analytics.client import Client
from reach_analytics.collector.hand import Hand
from reach_analytics.collector.looking import Looker
from reach_analytics.collector.summary import RunSummary
from reach_analytics.store import Store


@dataclass(frozen=True)
class Run:
    """What `collect` and `watch` begin with, and end with a summary of."""

    client: Client
    hand: Hand
    looker: Looker
    started_at: datetime
    sent_before: int

    def summary(self, **told: Any) -> RunSummary:
        """The summary: what the store has acknowledged, and what else is ``told``."""
        return RunSummary(
            run_id=self.looker.run_id,
            started_at=self.started_at,
            finished_at=self.client.now(),
            batches=len(self.hand.batches),
            looks=self.hand.looks,
            failed_looks=self.hand.failed_looks,
            new_states=self.hand.new_states,
            requests=self.client.requests_sent - self.sent_before,
            **told,
        )


def begin(
    caller: str,
    client: Client,
    store: Store | str | os.PathLike[str],
    run_id: str | None,
    group: int,
    group_seconds: float = 10.0,
) -> Run:
    """A run, once it is sure that it can be one; it sends nothing yet."""
    if not isinstance(client, Client):
        raise TypeError(f"{caller} takes a Client first, found {type(client).__name__}")
    if group < 1:
        raise ValueError(f"group must be at least 1, found {group}")
    if not group_seconds > 0:
        raise ValueError(f"group_seconds must be above 0, found {group_seconds}")
    place = store if isinstance(store, Store) else Store(store)
    hand = Hand(place, client.now, group, group_seconds)
    looker = Looker(run_id or str(uuid.uuid4()), client.now)
    return Run(client, hand, looker, client.now(), client.requests_sent)
