"""The fingerprint of a batch's state: what tells a changed batch from an unchanged one."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from datetime import datetime
from typing import Any

import msgspec

from reach_analytics.client import BatchDocument, PendingResource
from reach_analytics.client._payload import dump, json_value
from reach_analytics.client.documents import microseconds

# Unknown top-level fields that would describe the answer rather than the batch. They are stored
# with the first answer that carries them, and do not make a new state.
VOLATILE_FIELDS = frozenset({"requestId", "serverTime", "traceId"})


def state_hash(document: BatchDocument, *, has_pending_details: bool) -> str:
    """Fingerprint of a batch's state: equal states give equal text, in whatever order lists came.

    Pending resources and their dependencies are sorted, times compared as instants, JSON objects
    by content; fields in `VOLATILE_FIELDS` are left out. 32 hexadecimal digits of SHA-256.
    """
    counts = [getattr(document, name) for name in _HASHED]
    times = [_instant(t) for t in (document.created_at, document.started_at, document.completed_at)]
    free = [_canonical(document.error_summary), _canonical(document.error_details)]
    steady = {k: v for k, v in document.extra.items() if k not in VOLATILE_FIELDS}
    unknown_of = steady.pop("pendingResources", {})
    listed = document.pending_resources
    pending = sorted(
        _resource_key(resource, unknown_of.get(str(i), {}))
        for i, resource in enumerate(listed or ())
    )
    head = [counts, times, free, dump(steady).decode(), has_pending_details]
    return hashlib.sha256(b"\n".join([dump(head), *pending])).hexdigest()[:32]


# In the order of their declaration; the others are compared each in its own way.
_APART = ("batch_id", "created_at", "started_at", "completed_at", "error_summary", "error_details")
_HASHED = tuple(
    each.name
    for each in fields(BatchDocument)
    if each.name not in (*_APART, "pending_resources", "extra")
)
_encode = msgspec.json.Encoder().encode


def _resource_key(resource: PendingResource, unknown: dict[str, Any]) -> bytes:
    unknown_of = unknown.get("missingDependencies", {})
    dependencies = sorted(
        _encode((d.schema_definition_id, d.external_id, d.schema_name))
        + (dump(unknown_of[str(i)]) if str(i) in unknown_of else b"")
        for i, d in enumerate(resource.missing_dependencies or ())
    )
    steady = {k: v for k, v in unknown.items() if k != "missingDependencies"}
    own = _encode(
        (
            resource.id,
            resource.resource_external_id,
            resource.schema_definition_id,
            resource.schema_name,
            _instant(resource.created_at),
            _instant(resource.expires_at),
        )
    )
    return b"\t".join([own, *dependencies, *([dump(steady)] if steady else [])])


def _instant(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _canonical(text: str | None) -> str | None:
    return None if text is None else dump(json_value(text.encode())).decode()
