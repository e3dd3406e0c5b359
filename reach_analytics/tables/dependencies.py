"""The tables of measures about dependencies."""

from __future__ import annotations

from reach_analytics.tables.base import (
    BOOL,
    INT,
    STRING,
    TIME,
    Column,
    Table,
    without,
)
from reach_analytics.tables.stored import BATCH_ID, RESOURCE, TENANT_ID, WAIT_KEY

__all__ = [
    "BOTTLENECKS",
    "CHOKE_POINTS",
    "DEADLOCKS",
    "DECLARED",
    "DEPTH",
    "GRAPH_EDGES",
    "GRAPH_NODES",
    "SCHEMA_GRAPH",
    "UPLOAD_PLAN",
    "WHAT_IF",
]

BOTTLENECKS = Table(
    "bottlenecks",
    "one row per missing dependency",
    ("tenant_id", "schema_definition_id", "external_id"),
    (
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of what is missing"),
        Column("external_id", STRING, "your own id of what is missing"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column(
            "is_root", BOOL, "whether no pending resource provides it: it must be delivered", False
        ),
        Column("direct", INT, "pending resources that name it as missing", False),
        Column("direct_sole", INT, "of these, the ones that miss nothing else", False),
        Column("blocked", INT, "pending resources that wait for it directly or in a chain", False),
        Column("blocked_exact", BOOL, "whether `blocked` is exact", False),
        Column(
            "unlock", INT, "pending resources freed if it alone arrives, chains included", False
        ),
        Column("needed_by", TIME, "earliest expiry among the resources that name it as missing"),
    ),
    get_it="history.bottlenecks()",
    order=("-unlock", "-blocked", "-direct", "tenant_id", "schema_definition_id", "external_id"),
)


CHOKE_POINTS = Table(
    "choke_points",
    "one row per key that waits while others wait for it",
    ("tenant_id", "schema_definition_id", "external_id"),
    (
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of the resource"),
        Column("external_id", STRING, "your own id of it"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("waits", INT, "pending resources with this key", False),
        Column("direct", INT, "pending resources that name it as missing", False),
        Column("forced_unlock", INT, "pending resources freed if it is, itself included", False),
        Column("missing_count", INT, "fewest dependencies that one of its waits misses", False),
        Column(
            "above_schema_definition_id",
            STRING,
            "schema of the key that all paths to it pass through",
        ),
        Column("above_external_id", STRING, "your own id of that key; null if there is none"),
        Column("in_cycle", BOOL, "whether it waits for itself through others", False),
        Column("expires_at", TIME, "when the last of its waits is over"),
    ),
    get_it="history.choke_points()",
    order=("-forced_unlock", "-direct", "tenant_id", "schema_definition_id", "external_id"),
)


GRAPH_NODES = Table(
    "nodes",
    "one row per missing dependency, waiting resource, or group of similar waiting resources",
    ("node",),
    (
        Column("node", INT, "number of the node", False),
        TENANT_ID,
        Column("kind", STRING, "`missing` (must be delivered), `waiting`, or `group`", False),
        Column("schema_definition_id", STRING, "schema definition of the resource"),
        Column("external_id", STRING, "your own id of it; null if it stands for several"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("keys", INT, "missing keys it stands for; 0 for a group", False),
        Column("count", INT, "pending resources it stands for; 0 for a missing one", False),
        Column("depth", INT, "longest chain of dependencies below it; 0 for a root", False),
        Column("unlock", INT, "pending resources freed if it alone arrives; null if several"),
        Column("in_cycle", BOOL, "whether it waits for itself through others", False),
        Column("expires_at", TIME, "earliest expiry among what it stands for"),
    ),
    get_it="history.dependency_graph().nodes",
    order=("node",),
)


GRAPH_EDGES = Table(
    "edges",
    "one row per (dependency, dependent); the edge points from the dependency to the dependent",
    ("source", "target"),
    (
        Column("source", INT, "node of the dependency", False),
        Column("target", INT, "node of what waits for it", False),
        Column("count", INT, "pending resources behind the edge", False),
    ),
    get_it="history.dependency_graph().edges",
    order=("source", "target"),
)


DEADLOCKS = Table(
    "deadlocks",
    "one row per member of a deadlock",
    ("tenant_id", "schema_definition_id", "external_id"),
    (
        Column("deadlock", INT, "number of the deadlock, from 1, the most tainting first", False),
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of the member"),
        Column("external_id", STRING, "your own id of it"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("members", INT, "members of its deadlock", False),
        Column("tainted", INT, "pending resources in or behind it that no delivery frees", False),
        Column("unlock", INT, "pending resources freed if this member is present", False),
        Column("needed_by", TIME, "earliest expiry among the resources that name it as missing"),
    ),
    get_it="history.deadlocks()",
    order=("deadlock", "tenant_id", "schema_definition_id", "external_id"),
)


DEPTH = Table(
    "depth",
    "one row per pending resource, with the length of its chain of dependencies",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *without(RESOURCE[3:], "created_at"),
        Column("depth", INT, "links to the farthest root, 0 if it misses nothing; null if stuck"),
        Column("root_schema_definition_id", STRING, "schema of the root at the far end"),
        Column("root_external_id", STRING, "your own id of that root"),
    ),
    get_it="history.depth()",
    order=(
        "-depth",
        "tenant_id",
        "batch_id",
        "pending_id",
        "external_id",
        "schema_definition_id",
    ),
)


WHAT_IF = Table(
    "what_if",
    "one row per pending resource, with its outcome under the deliveries",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *without(RESOURCE[3:], "created_at"),
        Column("outcome", STRING, "`released`, `expired` or `waiting`", False),
        Column("at", TIME, "when that happens; null if it still waits, or no times were given"),
    ),
    get_it="history.what_if([...])",
    order=tuple(WAIT_KEY),
)


UPLOAD_PLAN = Table(
    "upload_plan",
    "one row per missing dependency to deliver, in order",
    ("position",),
    (
        Column("position", INT, "position in the order, from 1", False),
        Column(
            "block", INT, "block number, from 1; dependencies to deliver together share one", False
        ),
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of what is missing"),
        Column("external_id", STRING, "your own id of what is missing"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("frees", INT, "pending resources freed by it, given those before it", False),
        Column("running_total", INT, "pending resources freed so far", False),
        Column("max_running_total", INT, "what no plan of as many uploads exceeds; null at a pace"),
        Column("block_frees", INT, "pending resources freed by its block", False),
        Column("needed_by", TIME, "earliest expiry among the resources that name it as missing"),
        Column("deliver_at", TIME, "when it is delivered at the given pace; null without one"),
        Column("guarantee", STRING, "what is known about how good the order is", False),
        Column("reason", STRING, "why it frees nothing: `deadlock` or `too late`; null otherwise"),
    ),
    get_it="history.upload_plan()",
    order=("position",),
)


SCHEMA_GRAPH = Table(
    "schema_graph",
    "one row per (schema, schema that it refers to), seen or declared",
    (),
    (
        Column("tenant_id", STRING, "the tenant where it was seen; null if it is only declared"),
        Column("schema_name", STRING, "schema of the waiting resources; its id if it has no name"),
        Column("missing_schema_name", STRING, "schema of what they wait for"),
        Column(
            "resources", INT, "pending resources of the first that miss some of the second", False
        ),
        Column("keys", INT, "distinct dependencies that they miss", False),
        Column(
            "declared", BOOL, "whether the schema's definition says so; null without definitions"
        ),
    ),
    get_it="history.schema_graph()",
    order=("-resources", "-keys", "schema_name", "missing_schema_name", "tenant_id"),
)


DECLARED = Table(
    "declared",
    "one row per (schema definition, schema that it declares to refer to)",
    (),
    (
        Column("schema_definition_id", STRING, "id of the schema definition", False),
        Column("schema_name", STRING, "its name"),
        Column("references_schema", STRING, "id or name of the schema that it refers to; or null"),
    ),
    get_it="client.schema_definitions()",
)
