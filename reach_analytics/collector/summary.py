"""What a pass or a watch did, for people, programs and logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Problem", "RunSummary", "plain"]


@dataclass(frozen=True)
class Problem:
    """Something that kept some batches from being observed."""

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
        Tenants collected, and distinct batches observed.
    observations, failed_observations : int
        Observations written to the store, and how many of them got no readable answer.
    new_states : int
        Batch states that were new to the store.
    requests : int
        Requests sent, retries included.
    problems : tuple of Problem
        Tenants or listing rows that could not be read; the others were not held up. A watch keeps
        the last problem of each tenant.
    changes : int, optional
        Observations that saw something new; None where a pass does not know.
    neglected : int
        The most requests that were overdue at once, by more than a minute and their own interval,
        because the budget or the API did not allow for them.
    outages : int
        How often the API was down for so long that only probes were sent.
    """

    run_id: str
    started_at: datetime
    finished_at: datetime
    tenants: int
    batches: int
    observations: int
    failed_observations: int
    new_states: int
    requests: int
    problems: tuple[Problem, ...] = ()
    changes: int | None = None
    neglected: int = 0
    outages: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything was observed."""
        return not self.problems and not self.failed_observations and not self.neglected

    @property
    def duration(self) -> timedelta:
        """How long it took, by the client's clock."""
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
            f"{self.batches} batches of {self.tenants} tenants: {self.observations} observations, "
            f"{changes}{self.failed_observations} failed, {self.new_states} new states, "
            f"{self.requests} requests"
        )
        if self.outages:
            text += f", {self.outages} {'outage' if self.outages == 1 else 'outages'}"
        if self.neglected:
            text += f"\n  up to {self.neglected} requests were overdue: the limits allow too few"
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
        """The rows of a table: name, value, and whether it is bad news."""
        names = (
            "tenants",
            "batches",
            "observations",
            "failed_observations",
            "changes",
            "new_states",
            "requests",
        )
        for name in (*names, "neglected", "outages"):
            if (value := getattr(self, name)) is not None:
                yield name.replace("_", " "), f"{value:,}", bool(value) and name in _BAD
        yield "time", str(timedelta(seconds=round(self.duration.total_seconds()))), False
        for problem in self.problems:
            yield plain(problem.tenant_id), plain(problem.message), True


_BAD = ("failed_observations", "neglected", "outages")


def plain(text: str) -> str:
    """Foreign text without control characters, which could move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
