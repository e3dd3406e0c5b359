"""Which times and counts can be meant, and which only stand for "unset" or are a mistake.

Zero times (``0001-01-01T00:00:00Z``, 1970 to the second) are what programs write for a time that
was never set, and the end of the calendar is what they write for "never". Both count as absent:
a wait that expires in the year 9999 does not expire. The bounds leave what every library down the
road can print and add up: nanoseconds since 1970 in 64 bits end in 2262, and ten million counts of
``MOST`` may be summed in 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Times are meant if they lie after it."""

LATEST = datetime(2262, 1, 1, tzinfo=UTC)
"""Times are meant if they lie before it."""

MOST = 10**12
"""The most records that a batch may count."""

LONGEST = timedelta(days=366)
"""The longest that a record is given to wait, or a batch works; what is longer has a wrong date, or
means "for ever", and must not decide when the others have had their time."""

MENDED = "$mended"
"""The name in ``extra`` under which stands what had to be mended to be read, and how often."""


def are_meant(moments: Iterable[datetime | None]) -> bool:
    """Whether aware times from the API can all be meant; an absent one is nothing to doubt.

    Examples
    --------
    >>> are_meant([datetime(2026, 3, 2, tzinfo=UTC), None])
    True
    >>> are_meant([datetime(1, 1, 1, tzinfo=UTC)])
    False
    """
    for moment in moments:  # a loop, since this is asked of every wait of every look
        if moment is not None and not EARLIEST < moment < LATEST:
            return False
    return True


_TIMES = ("created_at", "started_at", "completed_at")
_COUNTS = (
    *("total_records", "processed_records", "successful_records"),
    *("pending_records", "failed_records"),
)


def meant_states(snapshots: ibis.Table) -> ibis.Table:
    """The stored states with their own times and counts null where these cannot be meant.

    What is collected now is set apart before it is stored; this is for what was stored before, or
    by others. The times of pending resources are seen to where these are unnested: `meant_time`.
    """
    import ibis

    times = {name: meant_time(snapshots[name]) for name in _TIMES}
    counts = {
        name: ibis.ifelse(
            snapshots[name].between(0, MOST), snapshots[name], ibis.null(snapshots[name].type())
        )
        for name in _COUNTS
    }
    return snapshots.mutate(**times, **counts)


def meant_time(moment: ibis.Value) -> ibis.Value:
    """A stored time; null if it cannot be meant."""
    import ibis

    earliest, latest = (ibis.literal(end, type=moment.type()) for end in (EARLIEST, LATEST))
    meant = (moment > earliest) & (moment < latest)
    return ibis.ifelse(meant, moment, ibis.null(moment.type()))
