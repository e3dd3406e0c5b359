"""The lists of what waits, flattened: a row per resource, or per dependency that one misses."""

from __future__ import annotations

import ibis

from reach_analytics.queries.plausible import meant_time
from reach_analytics.tables import BATCH_KEY

__all__ = ["dependencies", "pending", "resources"]

_OF_RESOURCE = {
    "external_id": "resource_external_id",
    **{name: name for name in ("schema_definition_id", "schema_name", "created_at", "expires_at")},
}


def pending(listed: ibis.Table) -> ibis.Table:
    """The pending lists, flattened: one row per pending resource."""
    one = resources(listed)
    count = one.resource["missing_dependencies"].length().fill_null(0).cast("int64")
    return one.mutate(missing_count=count)


def dependencies(listed: ibis.Table) -> ibis.Table:
    """The pending lists, flattened twice: one row per missing dependency of each resource."""
    one = resources(listed)
    each = one.mutate(missing=one.resource["missing_dependencies"].unnest()).drop("resource")
    return each.mutate(
        missing_schema_definition_id=each.missing["schema_definition_id"],
        missing_external_id=each.missing["external_id"],
        missing_schema_name=each.missing["schema_name"],
    )


def resources(listed: ibis.Table) -> ibis.Table:
    """One row per pending resource: its names and times, and the whole of it as ``resource``."""
    one = listed.select(*BATCH_KEY, "observed_at", resource=listed.pending_resources.unnest())
    rows = one.mutate(
        pending_id=one.resource["id"],
        **{name: one.resource[theirs] for name, theirs in _OF_RESOURCE.items()},
    )
    return rows.mutate(
        created_at=meant_time(rows.created_at), expires_at=meant_time(rows.expires_at)
    )
