"""Observations from one request: of a batch, or of the rows of a listing page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from reach_analytics.client import Client
from reach_analytics.client.documents import BatchDocument, batch_from_json
from reach_analytics.client.paging import Page
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector.summary import Problem
from reach_analytics.errors import PayloadError, ReachError
from reach_analytics.tables import DETAIL, LIST

NO_BATCH = frozenset({"", ".", ".."})


@dataclass(frozen=True)
class Observer:
    """Makes the observations of a run, by its clock. Safe to use from several threads."""

    run_id: str
    now: Callable[[], datetime]

    def observation(
        self, client: Client, batch_id: str
    ) -> tuple[RecordedObservation, Exception | None]:
        """Observe a batch, with details; on failure, a failed observation and the error."""
        sent_at = self.now()
        try:
            observation = client.observation(batch_id)
            if observation.document.batch_id != batch_id:
                found = observation.document.batch_id
                raise PayloadError(f"asked for batch {batch_id!a}, found {found!a}", status=200)
            times = observation.sent_at, observation.received_at
            seen = self._seen(
                client.tenant_key, observation.document, times, DETAIL, observation.status
            )
            return seen, None
        except (ReachError, ValueError) as error:  # ValueError: an id that no path can hold
            times = sent_at, self.now()
            status = getattr(error, "status", None)
            key = client.tenant_key
            return self._failed(key, batch_id, times, DETAIL, status, str(error)), error

    def rows(self, tenant_id: str, page: Page) -> tuple[list[RecordedObservation], list[Problem]]:
        """The rows of a page as observations; an unreadable row is a failed one, or a problem."""
        observations: list[RecordedObservation] = []
        problems: list[Problem] = []
        times, status = (page.answer.sent_at, page.answer.received_at), page.answer.status
        for index, row in enumerate(page.rows):
            batch_id = None
            try:
                where = f"$.data.results[{index}]"
                document = batch_from_json(row, path=page.answer.path, where=where)
                batch_id = document.batch_id
                observations.append(self._seen(tenant_id, document, times, LIST, status))
            except PayloadError as error:
                error.status = status
                named = error.batch_id or batch_id
                told = f"{error}, in row {index + 1} of page {page.number}"
                if named is None:
                    problems.append(Problem(tenant_id, told))
                else:
                    observations.append(self._failed(tenant_id, named, times, LIST, status, told))
        return observations, problems

    def _seen(
        self,
        tenant_id: str,
        document: BatchDocument,
        times: tuple[datetime, datetime],
        scope: str,
        status: int,
    ) -> RecordedObservation:
        observation = RecordedObservation(
            self.run_id, tenant_id, document.batch_id, *times, scope, document, status
        )
        # Raises here if it cannot be written, so that this observation gets the error.
        _ = observation.state_hash, observation.extra
        return observation

    def _failed(
        self,
        tenant_id: str,
        batch_id: str,
        times: tuple[datetime, datetime],
        scope: str,
        status: int | None,
        error: str,
    ) -> RecordedObservation:
        return RecordedObservation(
            self.run_id, tenant_id, batch_id, *times, scope, http_status=status, error=error
        )
