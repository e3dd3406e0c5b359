"""An observation of a batch as rows of the two stored tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Any

import pyarrow as pa

from reach_analytics.client import BatchDocument, PendingResource, extra_json
from reach_analytics.client.documents import microseconds
from reach_analytics.collector._observe.fingerprint import state_hash
from reach_analytics.tables import (
    DETAIL,
    MISSING_DEPENDENCY,
    PENDING_RESOURCE,
    STORED_OBSERVATIONS,
    STORED_SNAPSHOTS,
    TIME,
    Table,
)


@dataclass(frozen=True)
class RecordedObservation:
    """One observation: when, how, and what was seen or what went wrong."""

    run_id: str
    tenant_id: str
    batch_id: str
    sent_at: datetime
    received_at: datetime
    scope: str
    document: BatchDocument | None = None
    http_status: int | None = None
    error: str | None = None

    @property
    def lists_pending(self) -> bool:
        """Whether the answer tells which resources wait.

        A single-batch answer without the list does too if its count is zero; an empty list beside
        a count above zero does not.
        """
        document = self.document
        if document is None:
            return False
        if not document.pending_resources:
            listed = document.pending_resources is not None
            count = document.pending_records
            return count == 0 if self.scope == DETAIL and count is not None else listed
        return True

    @cached_property
    def state_hash(self) -> str | None:
        """The fingerprint of the state that was seen; a `PayloadError` if it cannot be written."""
        if self.document is None:
            return None
        return state_hash(self.document, has_pending_details=self.lists_pending)

    @cached_property
    def extra(self) -> str | None:
        """The fields we do not know, as JSON; a `PayloadError` if they cannot be written."""
        return None if self.document is None else extra_json(self.document)

    @property
    def complete(self) -> bool:
        """Whether the list holds every waiting resource, judging by the batch's count."""
        if self.document is None or self.scope != DETAIL or not self.lists_pending:
            return False
        return len(self.document.pending_resources or ()) >= (self.document.pending_records or 0)


def to_tables(
    observations: Sequence[RecordedObservation],
    ingested_at: datetime,
    states: Collection[tuple[str, str, str]] | None = None,
) -> tuple[pa.Table, pa.Table]:
    """The observations as (snapshots, observations) rows, ready for ``Store.append``.

    Observations of the same state share one snapshot row, with the earliest time. If ``states`` is
    given, as (tenant_id, batch_id, state_hash), all other states are already stored and left out.
    """
    hashes = [observation.state_hash for observation in observations]
    first: dict[tuple[str, str, str], RecordedObservation] = {}
    for observation, mark in zip(observations, hashes, strict=True):
        if mark is not None:
            key = (observation.tenant_id, observation.batch_id, mark)
            if states is not None and key not in states:
                continue
            earlier = first.get(key)
            if earlier is None or observation.received_at < earlier.received_at:
                first[key] = observation
    return _snapshots(first), _observations(observations, hashes, ingested_at)


def _observations(
    observations: Sequence[RecordedObservation], hashes: Sequence[str | None], ingested_at: datetime
) -> pa.Table:
    sent = [microseconds(observation.sent_at) for observation in observations]
    columns: dict[str, Any] = {
        name: [getattr(observation, name) for observation in observations]
        for name in ("run_id", "tenant_id", "batch_id", "scope", "complete", "http_status", "error")
    }
    columns["ok"] = [observation.document is not None for observation in observations]
    columns["state_hash"] = hashes
    columns["sent_at"] = pa.array(sent, pa.int64()).cast(TIME)
    columns["received_at"] = _times(observation.received_at for observation in observations)
    columns["ingested_at"] = _times([ingested_at] * len(observations))
    columns["repeats"] = [None] * len(
        observations
    )  # the store folds observations when their day is over
    columns["observed_date"] = _days(sent)
    return _table(STORED_OBSERVATIONS, columns)


def _snapshots(first: dict[tuple[str, str, str], RecordedObservation]) -> pa.Table:
    observations = list(first.values())
    documents = [
        observation.document for observation in observations if observation.document is not None
    ]
    received = [microseconds(observation.received_at) for observation in observations]
    columns: dict[str, Any] = {
        name: [getattr(document, name) for document in documents]
        for name in STORED_SNAPSHOTS.names
        if name in BatchDocument.__dataclass_fields__
    }
    for name in ("created_at", "started_at", "completed_at"):
        columns[name] = _times(columns[name])
    columns["tenant_id"] = [key[0] for key in first]
    columns["state_hash"] = [key[2] for key in first]
    columns["first_received_at"] = pa.array(received, pa.int64()).cast(TIME)
    columns["snapshot_date"] = _days(received)
    columns["has_pending_details"] = [observation.lists_pending for observation in observations]
    columns["pending_resources"] = _pending(observations)
    columns["extra"] = [observation.extra for observation in observations]
    return _table(STORED_SNAPSHOTS, columns)


def _pending(observations: Sequence[RecordedObservation]) -> pa.Array:
    """The pending lists as one nested array, built column by column.

    An observation that shows that nothing waits gets an empty list; one that does not tell, null.
    """
    lists = [
        (observation.document.pending_resources if observation.document else None)
        or ([] if observation.lists_pending else None)
        for observation in observations
    ]
    resources = list(chain.from_iterable(resources or () for resources in lists))
    return pa.ListArray.from_arrays(_offsets(lists), _resources(resources))


def _resources(resources: Sequence[PendingResource]) -> pa.StructArray:
    columns = [
        pa.array([getattr(resource, name) for resource in resources], pa.string())
        for name in ("id", "resource_external_id", "schema_definition_id", "schema_name")
    ]
    columns += [_times(r.created_at for r in resources), _times(r.expires_at for r in resources)]
    lists = [resource.missing_dependencies for resource in resources]
    dependencies = list(chain.from_iterable(members or () for members in lists))
    missing = pa.StructArray.from_arrays(
        [
            pa.array([getattr(d, name) for d in dependencies], pa.string())
            for name in ("schema_definition_id", "external_id", "schema_name")
        ],
        fields=list(MISSING_DEPENDENCY),
    )
    columns.append(pa.ListArray.from_arrays(_offsets(lists), missing))
    return pa.StructArray.from_arrays(columns, fields=list(PENDING_RESOURCE))


def _offsets(lists: Sequence[Sequence[Any] | None]) -> pa.Array:
    """Arrow list offsets; a null offset marks a null list."""
    offsets: list[int | None] = []
    end = 0
    for members in lists:
        offsets.append(None if members is None else end)
        end += len(members or ())
    return pa.array([*offsets, end], pa.int32())


def _times(moments: Iterable[datetime | None]) -> pa.Array:
    whole = [None if moment is None else microseconds(moment) for moment in moments]
    return pa.array(whole, pa.int64()).cast(TIME)


def _days(whole: Sequence[int]) -> pa.Array:
    return pa.array([moment // 86_400_000_000 for moment in whole], pa.int32()).cast(pa.date32())


def _table(table: Table, columns: dict[str, Any]) -> pa.Table:
    arrays = [
        columns[field.name]
        if isinstance(columns[field.name], pa.Array)
        else pa.array(columns[field.name], field.type)
        for field in table.schema
    ]
    return pa.Table.from_arrays(arrays, schema=table.schema)
