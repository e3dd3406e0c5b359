"""Where a name occurs: an id of a batch, a pending resource or a record, or a missing key."""

from __future__ import annotations

import json

import ibis

from reach_analytics.tables import BATCH_KEY

__all__ = ["looks_at", "mentioning"]

_COUNTS = ["total_records", "processed_records", "successful_records", "pending_records"]
_COUNTS += ["failed_records"]


def mentioning(snapshots: ibis.Table, name: str) -> ibis.Table:
    """(tenant_id, batch_id) of the batches of that id, or in a state of which the name occurs: as
    the id of a pending resource or record, as what one misses, or within the error details."""
    lists = snapshots.pending_resources
    named = lists.filter(lambda one: _is_named(one, name) | _misses(one, name))
    told = ibis.or_(*[snapshots.error_details.contains(text) for text in _in_json(name)])
    hit = (snapshots.batch_id == name) | (named.length() > 0).fill_null(False)
    return snapshots.filter(hit | told.fill_null(False)).select(BATCH_KEY).distinct()


def _in_json(name: str) -> list[str]:
    """The name as JSON may have it."""
    return sorted({json.dumps(name, ensure_ascii=plain)[1:-1] for plain in (True, False)})


def looks_at(states: ibis.Table, batches: ibis.Table, name: str) -> ibis.Table:
    """The successful observations of some batches, with what each says of the name: ``own``, the
    pending resources of that id, and ``missed``, the keys of that id that one misses, once for each
    that does; null without a list.

    Parameters
    ----------
    states : ibis.Table
        Observations with the state that each saw, its list included.
    batches : ibis.Table
        tenant_id, batch_id.
    """
    rows = states.filter(states.ok).semi_join(batches, BATCH_KEY)
    lists = rows.pending_resources
    listed = rows.has_pending_details.fill_null(False)
    own = lists.filter(lambda one: _is_named(one, name))
    missing = lists.map(lambda one: one["missing_dependencies"]).flatten()
    return rows.select(
        *BATCH_KEY,
        *("sent_at", "received_at", "scope", "complete", "status", *_COUNTS),
        listed=listed,
        own=own,
        missed=missing.filter(lambda key: (key["external_id"] == name).fill_null(False)),
    )


def _is_named(one: ibis.Value, name: str) -> ibis.Value:
    return (one["id"] == name).fill_null(False) | (one["resource_external_id"] == name).fill_null(
        False
    )


def _misses(one: ibis.Value, name: str) -> ibis.Value:
    keys = one["missing_dependencies"].map(lambda key: key["external_id"])
    return keys.contains(name).fill_null(False)
