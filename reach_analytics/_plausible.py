"""Which times and counts are plausible, and which only stand for "unset" or are a mistake.

Zero times (``0001-01-01T00:00:00Z``, 1970 to the second) are what programs write for a time that
was never set, and the end of the calendar is what they write for "never". Both count as absent:
a wait that expires in the year 9999 does not expire. Within the bounds, every library used here can
print and add values: nanoseconds since 1970 in 64 bits end in 2262, and ten million counts of
``MOST`` can be summed in 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EARLIEST = EPOCH
"""Plausible times lie after it."""

LATEST = datetime(2262, 1, 1, tzinfo=UTC)
"""Plausible times lie before it."""

MOST = 10**12
"""The most records that a batch may count."""

LONGEST = timedelta(days=366)
"""The longest plausible wait of a record, or run of a batch. What is longer has a wrong date, or
means "for ever", and must not decide when the others are over."""

MENDED = "$mended"
"""The name in ``extra`` for what had to be repaired to be read, and how often."""


def are_meant(moments: Iterable[datetime | None]) -> bool:
    """Whether aware times from the API are all plausible; absent ones are.

    Examples
    --------
    >>> are_meant([datetime(2026, 3, 2, tzinfo=UTC), None])
    True
    >>> are_meant([datetime(1, 1, 1, tzinfo=UTC)])
    False
    """
    for moment in moments:  # noqa: SIM110  a loop, since this runs for every wait of every observation
        if moment is not None and not EARLIEST < moment < LATEST:
            return False
    return True
