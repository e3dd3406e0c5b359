"""Observations as the collector makes them, from plain JSON documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from reach_analytics.client.documents import batch_from_json
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.tables import DETAIL

START = datetime(2026, 3, 2, 6, tzinfo=UTC)


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def observation(
    document: dict | None,
    at: float = 0,
    *,
    batch_id: str | None = None,
    tenant_id: str = "t",
    scope: str = DETAIL,
    run_id: str = "r",
    error: str | None = None,
) -> RecordedObservation:
    """An observation sent at that minute and answered a second later; failed without a document."""
    return RecordedObservation(
        run_id,
        tenant_id,
        batch_id or (document or {})["batchId"],
        minute(at),
        minute(at) + timedelta(seconds=1),
        scope,
        None if document is None else batch_from_json(json.dumps(document).encode()),
        200 if document is not None else 500,
        None if document is not None else (error or "status 500"),
    )


def batch(
    batch_id: str = "b",
    waits: dict[str, str] | None = None,
    *,
    created: float | None = None,
    expires: float | dict[str, float] | None = None,
    **fields,
) -> dict:
    """A document whose resources wait: ``{"A": "xy"}`` is A, missing x and y.

    ``created`` and ``expires`` are minutes; the latter may give each resource its own.
    """
    document = {"batchId": batch_id, "status": "partial_success", **fields}
    if waits is None:
        return document
    document.setdefault("progress", {"totalRecords": 10, "pendingRecords": len(waits)})
    document["pendingResources"] = [
        {
            "id": f"p-{key}",
            "resourceExternalId": key,
            "schemaDefinitionId": "s",
            **_times(created, expires[key] if isinstance(expires, dict) else expires),
            "missingDependencies": [
                {"schemaDefinitionId": "s", "externalId": m, "schemaName": "things"} for m in missed
            ],
        }
        for key, missed in waits.items()
    ]
    return document


def _times(created: float | None, expires: float | None) -> dict[str, str]:
    pairs = {"createdAt": created, "expiresAt": expires}
    return {name: minute(at).isoformat() for name, at in pairs.items() if at is not None}


def counts(total: int, good: int, bad: int, processed: int | None = None) -> dict:
    """The progress of a batch; only the list tells what is pending."""
    return {
        "totalRecords": total,
        "processedRecords": total if processed is None else processed,
        "successfulRecords": good,
        "failedRecords": bad,
    }
