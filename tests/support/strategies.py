"""Batch documents of every shape the API may send, for Hypothesis; as plain JSON values."""

from __future__ import annotations

from datetime import datetime

from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | texts
)
free = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
counts = st.integers(0, 10**6)
timestamps = st.datetimes(datetime(1970, 1, 2), datetime(2261, 12, 31)).map(
    lambda t: t.isoformat(timespec="microseconds").replace("+00:00", "") + "Z"
)
statuses = st.sampled_from(["success", "partial_success", "failure", "processing", "novel"])


def objects(required: dict, optional: dict, *, unknown: bool) -> st.SearchStrategy:
    """Objects with these fields, optional ones absent or null at times, and unknown ones."""
    known = st.fixed_dictionaries(
        required, optional={name: st.none() | value for name, value in optional.items()}
    )
    if not unknown:
        return known
    names = st.sampled_from(["novel", "x-y", "Ärger", "batch_id"])
    return st.tuples(st.dictionaries(names, free, max_size=2), known).map(
        lambda t: {**t[0], **t[1]}
    )


def documents(*, unknown: bool = True) -> st.SearchStrategy:
    key = {"schemaDefinitionId": texts, "externalId": texts, "schemaName": texts}
    resource = {
        **dict.fromkeys(["id", "resourceExternalId", "schemaDefinitionId", "schemaName"], texts),
        **dict.fromkeys(["createdAt", "expiresAt"], timestamps),
        "missingDependencies": st.lists(objects({}, key, unknown=unknown), max_size=3),
    }
    names = ["totalRecords", "processedRecords", "successfulRecords", "pendingRecords"]
    progress = {**dict.fromkeys([*names, "failedRecords"], counts)}
    progress["successRate"] = st.floats(0, 100)
    errors = {"summary": free, "details": free, "message": texts}
    optional = {
        **dict.fromkeys(["batchType", "schemaName", "schemaDefinitionId"], texts),
        **dict.fromkeys(["createdAt", "startedAt", "completedAt"], timestamps),
        "progress": objects({}, progress, unknown=unknown),
        "errors": objects({}, errors, unknown=unknown),
        "pendingResources": st.lists(objects({}, resource, unknown=unknown), max_size=4),
    }
    required = {"batchId": texts.filter(bool), "status": statuses}
    return objects(required, optional, unknown=unknown)
