"""The progress bar of a watch, on a terminal or in a notebook."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reach_analytics._progress import progress_bar

if TYPE_CHECKING:
    from reach_analytics.collector._watch.loop import WatchLoop


class Progress:
    """Shows observations and their rate, changes, errors, the remaining budget and what is next."""

    EACH_S = 0.5

    def __init__(self, wanted: bool) -> None:
        off = None if wanted else True
        self._bar = progress_bar(desc="watch", unit=" observations", disable=off)
        self._shown_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, loop: WatchLoop, now: datetime) -> None:
        """Bring the bar up to date."""
        if self._bar.disable or time.monotonic() - self._shown_at < self.EACH_S:
            return
        self._shown_at = time.monotonic()
        self._bar.update(loop.buffer.taken - self._bar.n)
        self._bar.set_postfix(_told(loop, now))


def _told(loop: WatchLoop, now: datetime) -> dict[str, Any]:
    buffer, left = loop.buffer, loop.budget.left(now)
    told: dict[str, Any] = {
        "batches": len(buffer.batches),
        "changes": loop.changes,
        "errors": buffer.failed_observations,
    }
    if left != float("inf"):
        told["budget"] = int(left)
    if loop.pause.breaker.since is not None:
        told["down since"] = f"{loop.pause.breaker.since:%H:%M}"
    elif (next_at := loop.next_at) is not None:
        told["next"] = f"in {max(0, round((next_at - now).total_seconds()))} s"
    return told
