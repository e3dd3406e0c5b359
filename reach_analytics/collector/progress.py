"""The progress bar of a watch, on a terminal or in a notebook."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from reach_analytics.collector.watching import Watching


class Progress:
    """Shows looks and their pace, changes, errors, what is left of the budget, and what is next."""

    EACH_S = 0.5

    def __init__(self, wanted: bool) -> None:
        self._bar: Any = tqdm(desc="watch", unit=" looks", disable=None if wanted else True)
        self._shown_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, watching: Watching, now: datetime) -> None:
        """Bring the bar up to date."""
        if self._bar.disable or time.monotonic() - self._shown_at < self.EACH_S:
            return
        self._shown_at = time.monotonic()
        self._bar.update(watching.hand.taken - self._bar.n)
        self._bar.set_postfix(_told(watching, now))


def _told(watching: Watching, now: datetime) -> dict[str, Any]:
    hand, left = watching.hand, watching.budget.left(now)
    told: dict[str, Any] = {
        "batches": len(hand.batches),
        "changes": watching.changes,
        "errors": hand.failed_looks,
    }
    if left != float("inf"):
        told["budget"] = int(left)
    if watching.outage.since is not None:
        told["down since"] = f"{watching.outage.since:%H:%M}"
    elif (next_at := watching.next_at) is not None:
        told["next"] = f"in {max(0, round((next_at - now).total_seconds()))} s"
    return told
