"""What a pass or a watch did, for people, for programs and for logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Problem:
    """Something that kept part of the batches from being seen."""

    tenant_id: str
    message: str


@dataclass(frozen=True)
class RunSummary:
    """What one pass, or a watch, did.

    Attributes
    ----------
    run_id : str
    started_at, finished_at : datetime
    tenants, batches : int
        Tenants gone through, and different batches looked at.
    looks, failed_looks : int
        Looks written to the store, and how many of them got no readable answer.
    new_states : int
        Batch states that the store did not hold yet.
    requests : int
        Requests sent, retries included.
    problems : tuple of Problem
        Tenants or listing rows that could not be gone through; the others were not held up. Of
        each tenant, a watch keeps the last.
    changes : int, optional
        Looks that saw something new; None where a pass does not know.
    neglected : int
        The most looks that were overdue at once, by more than a minute and their own distance,
        since the budget, or the API, did not allow for them.
    outages : int
        How often the API did not answer for so long that asking was put off.
    """

    run_id: str
    started_at: datetime
    finished_at: datetime
    tenants: int
    batches: int
    looks: int
    failed_looks: int
    new_states: int
    requests: int
    problems: tuple[Problem, ...] = ()
    changes: int | None = None
    neglected: int = 0
    outages: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything was seen."""
        return not self.problems and not self.failed_looks and not self.neglected

    @property
    def duration(self) -> timedelta:
        """How long it took, by the clock it was given."""
        return self.finished_at - self.started_at

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values for JSON; times in ISO 8601, the duration in seconds."""
        plain = asdict(self) | {"ok": self.ok, "duration_s": self.duration.total_seconds()}
        for name in ("started_at", "finished_at"):
            plain[name] = plain[name].isoformat()
        return plain

    def __str__(self) -> str:
        changes = "" if self.changes is None else f"{self.changes} changes, "
        text = (
            f"{self.batches} batches of {self.tenants} tenants: {self.looks} looks, {changes}"
            f"{self.failed_looks} failed, {self.new_states} new states, {self.requests} requests"
        )
        if self.outages:
            text += f", {self.outages} {'outage' if self.outages == 1 else 'outages'}"
        if self.neglected:
            text += (
                f"\n  up to {self.neglected} looks were overdue: more was due than was allowed for"
            )
        told = (f"\n  {plain(p.tenant_id)}: {plain(p.message)}" for p in self.problems)
        return text + "".join(told)

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title="Collected", title_justify="left", title_style="bold", show_header=False
        )
        table.add_column("what")
        table.add_column("how many", justify="right")
        for name, value, is_bad in self._rows():
            table.add_row(Text(name), Text(value, "red" if is_bad else ""))
        return table

    def _repr_html_(self) -> str:
        """For a notebook."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:right'>{f'<b>{escape(value)}</b>' if is_bad else escape(value)}"
            "</td></tr>"
            for name, value, is_bad in self._rows()
        )
        return f"<table>{rows}</table>"

    def _rows(self) -> Iterator[tuple[str, str, bool]]:
        """What a table shows: name, value, and whether that is bad news."""
        names = ("tenants", "batches", "looks", "failed_looks", "changes", "new_states", "requests")
        for name in (*names, "neglected", "outages"):
            if (value := getattr(self, name)) is not None:
                yield name.replace("_", " "), f"{value:,}", bool(value) and name in _BAD
        yield "time", str(timedelta(seconds=round(self.duration.total_seconds()))), False
        for problem in self.problems:
            yield plain(problem.tenant_id), plain(problem.message), True


_BAD = ("failed_looks", "neglected", "outages")


def plain(text: str) -> str:
    """Foreign text without control characters, which could move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
