"""What can go wrong between an API and its caller, on a schedule.

A fault says which requests it may hit (``path``, a shell pattern, and ``method``) and which of them
it does: every n-th, or each with a seeded probability, at most ``times`` times. Which requests are
hit depends on their number alone, so a run can be repeated.
Several faults can hit one request: latency comes first, then a dropped connection, then an error
(`RateLimit` before `Failure`), then faults of pages, and last of bodies. Of two faults of one kind
the first acts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
from msgspec import Meta

__all__ = [
    "MILLION",
    "ClockSkew",
    "Count",
    "Drop",
    "DuplicatePage",
    "Failure",
    "Fault",
    "Faults",
    "Latency",
    "Malformed",
    "Positive",
    "RateLimit",
    "ReorderPages",
    "RepeatCursor",
    "Seconds",
    "Truncate",
    "WholeSeconds",
]

MILLION = 1_000_000
Positive = Annotated[int, Meta(ge=1, le=MILLION)]
Count = Annotated[int, Meta(ge=0, le=MILLION)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
WholeSeconds = Annotated[int, Meta(ge=0, le=3600)]


class _Fault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    rename="camel",
    omit_defaults=True,
):
    """When a fault strikes; without ``every`` and ``probability``, always."""

    path: str = "*"
    method: str | None = None
    every: Positive | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-MILLION, le=MILLION)] = 0
    times: Count | None = None

    def strikes(self, number: int) -> bool:
        """Whether the ``number``-th request that it may hit, from 1, is hit."""
        if self.every is not None and number % self.every:
            return False
        if self.probability is None:
            return True
        return random.Random(f"{self.seed}/{number}").random() < self.probability


class RateLimit(_Fault, frozen=True, tag="rate_limit"):
    """429 with ``Retry-After``."""

    retry_after_s: WholeSeconds = 1


class Failure(_Fault, frozen=True, tag="error"):
    """A 5xx, with ``Retry-After`` if ``retry_after_s`` is given."""

    status: Annotated[int, Meta(ge=500, le=599)] = 503
    retry_after_s: WholeSeconds | None = None


class Latency(_Fault, frozen=True, tag="latency"):
    """The answer is delayed, in real seconds."""

    delay_s: Seconds = 1.0


class Drop(_Fault, frozen=True, tag="drop"):
    """The connection ends before any answer; with ``after``, the request takes effect first."""

    after: bool = False


class Truncate(_Fault, frozen=True, tag="truncate"):
    """The body is cut after a fraction of it, and the connection ends."""

    keep: Annotated[float, Meta(ge=0, lt=1)] = 0.5


class Malformed(_Fault, frozen=True, tag="malformed"):
    """The body is complete for HTTP but not JSON: ``body``, or the first half of the real one."""

    body: str | None = None


class DuplicatePage(_Fault, frozen=True, tag="duplicate_page"):
    """A listing page comes twice: its cursor, a new one, leads to it again."""


class ReorderPages(_Fault, frozen=True, tag="reorder_pages"):
    """A listing page comes only after the one that should follow it, with its rows reversed."""


class RepeatCursor(_Fault, frozen=True, tag="repeat_cursor"):
    """A listing page's cursor is the one it was requested with, so that it leads in a circle."""


class ClockSkew(_Fault, frozen=True, tag="clock_skew"):
    """The ``Date`` header is off by ``seconds``."""

    seconds: Annotated[float, Meta(ge=-1e8, le=1e8)] = 300.0


Fault = (
    RateLimit
    | Failure
    | Latency
    | Drop
    | Truncate
    | Malformed
    | DuplicatePage
    | ReorderPages
    | RepeatCursor
    | ClockSkew
)


class Faults:
    """Faults in force, and how many requests each could have hit and did hit.

    Examples
    --------
    >>> faults = Faults([RateLimit(every=3), Latency(path="/api/*", delay_s=0.5, times=1)])
    >>> [[type(f).__name__ for f in faults.draw("GET", "/api/batches")] for _ in range(3)]
    [['Latency'], [], ['RateLimit']]
    """

    def __init__(self, rules: Sequence[Fault] = (), counts: Any = ()) -> None:
        self.rules = list(rules)
        self.seen = [0] * len(self.rules)
        self.struck = [0] * len(self.rules)
        if counts:
            self.seen, self.struck = map(list, counts)
            if not len(self.seen) == len(self.struck) == len(self.rules):
                raise ValueError("faults and their counts differ in number")

    def draw(self, method: str, path: str) -> list[Fault]:
        """The faults that hit the next request."""
        drawn = []
        for i, rule in enumerate(self.rules):
            if rule.method not in (None, method) or not fnmatchcase(path, rule.path):
                continue
            self.seen[i] += 1
            if rule.times is not None and self.struck[i] >= rule.times:
                continue
            if rule.strikes(self.seen[i]):
                self.struck[i] += 1
                drawn.append(rule)
        return drawn

    def __repr__(self) -> str:
        return f"Faults({self.rules!r})"
