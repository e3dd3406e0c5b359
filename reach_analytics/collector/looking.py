"""One look at a batch, or at the rows of a listing's page: from a request to observations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from reach_analytics.client import Client
from reach_analytics.client.documents import BatchDocument, batch_from_json
from reach_analytics.client.paging import Page
from reach_analytics.collector.observe import DETAIL, LIST, Observed
from reach_analytics.collector.summary import Problem
from reach_analytics.errors import PayloadError, ReachError

NO_BATCH = frozenset({"", ".", ".."})


@dataclass(frozen=True)
class Looker:
    """Looks on behalf of a run, by its clock. Safe to use from several threads."""

    run_id: str
    now: Callable[[], datetime]

    def look(self, client: Client, batch_id: str) -> tuple[Observed, Exception | None]:
        """Look at a batch, with details; if that fails, a failed look and the error."""
        sent_at = self.now()
        try:
            look = client.look(batch_id)
            if look.document.batch_id != batch_id:
                found = look.document.batch_id
                raise PayloadError(f"asked for batch {batch_id!a}, found {found!a}", status=200)
            times = look.sent_at, look.received_at
            seen = self._seen(client.tenant_key, look.document, times, DETAIL, look.status)
            return seen, None
        except (ReachError, ValueError) as error:  # ValueError: an id that no path can hold
            times = sent_at, self.now()
            status = getattr(error, "status", None)
            key = client.tenant_key
            return self._failed(key, batch_id, times, DETAIL, status, str(error)), error

    def rows(self, tenant_id: str, page: Page) -> tuple[list[Observed], list[Problem]]:
        """The rows of a page as looks; one that cannot be read is a failed look, or a problem."""
        looks: list[Observed] = []
        problems: list[Problem] = []
        times, status = (page.answer.sent_at, page.answer.received_at), page.answer.status
        for index, row in enumerate(page.rows):
            batch_id = None
            try:
                where = f"$.data.results[{index}]"
                document = batch_from_json(row, path=page.answer.path, where=where)
                batch_id = document.batch_id
                looks.append(self._seen(tenant_id, document, times, LIST, status))
            except PayloadError as error:
                error.status = status
                named = error.batch_id or batch_id
                told = f"{error}, in row {index + 1} of page {page.number}"
                if named is None:
                    problems.append(Problem(tenant_id, told))
                else:
                    looks.append(self._failed(tenant_id, named, times, LIST, status, told))
        return looks, problems

    def _seen(
        self,
        tenant_id: str,
        document: BatchDocument,
        times: tuple[datetime, datetime],
        scope: str,
        status: int,
    ) -> Observed:
        look = Observed(self.run_id, tenant_id, document.batch_id, *times, scope, document, status)
        _ = look.state_hash, look.extra  # raises here if it cannot be written: this look's error
        return look

    def _failed(
        self,
        tenant_id: str,
        batch_id: str,
        times: tuple[datetime, datetime],
        scope: str,
        status: int | None,
        error: str,
    ) -> Observed:
        return Observed(
            self.run_id, tenant_id, batch_id, *times, scope, http_status=status, error=error
        )
