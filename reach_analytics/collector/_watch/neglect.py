"""Noticing that more is due than the budget, the API or this machine allows."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from reach_analytics.collector._schedule.due_queue import DueQueue

logger = logging.getLogger("reach_analytics.collector")

_LATE = timedelta(minutes=1)  # this late, and by its own interval, a request counts as neglected
_CHECK_EACH = timedelta(seconds=10)


class Neglect:
    """The most requests that were late at once; a warning whenever it has doubled.

    Parameters
    ----------
    due : DueQueue
    has_budget : bool
        Whether a budget may be what allows too few.
    """

    def __init__(self, due: DueQueue, now: datetime, *, has_budget: bool) -> None:
        self.most = 0
        self._due = due
        self._checked_at = now
        self._why = (
            "more is due than the budget allows: %d requests are late; raise the budget"
            if has_budget
            else "more is due than the API, its rate limit or this machine allows: "
            "%d requests are late"
        )

    def check(self, now: datetime, since: datetime) -> None:
        """Count what is late, now and then; time before ``since`` does not count."""
        if now - self._checked_at < _CHECK_EACH:
            return
        self._checked_at = now
        late = self._due.overdue(now, since, _LATE)
        if late >= 2 * max(self.most, 1):
            logger.warning(self._why, late, extra={"event": "neglect", "observations": late})
        self.most = max(self.most, late)

    def set_back(self, now: datetime) -> None:
        """Adjust to a clock that was set back to ``now``."""
        self._checked_at = now
