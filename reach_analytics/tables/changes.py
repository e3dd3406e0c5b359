"""The tables of what changed between two moments, and of where each record stands."""

from __future__ import annotations

from reach_analytics.tables.base import BOOL, FLOAT, STRING, TIME, Column, Table
from reach_analytics.tables.stored import RESOURCE_KEY, TENANT_ID

__all__ = ["CHANGES", "STANDINGS"]

CHANGES = Table(
    "changes",
    "one row per change between two moments",
    (),
    (
        Column(
            "about",
            STRING,
            "`batches`, `records`, `dependencies`, `bottleneck`, `success` or `deadlock`",
            False,
        ),
        Column(
            "change",
            STRING,
            "`new`, `settled`, `failed`; `landed`, `waiting`, `released`, `expired`, `unknown`; "
            "`arrived`, `gone`; `grew`, `shrank`; `rose`, `fell`, `same`",
            False,
        ),
        Column("size", FLOAT, "how many, or by how much; of success a difference of fractions"),
        Column("before", FLOAT, "the number, or fraction, at the earlier moment"),
        Column("after", FLOAT, "the same at the later one"),
        Column("before_low", FLOAT, "of success, lower end of the 95 % interval of `before`"),
        Column("before_high", FLOAT, "upper end"),
        Column("after_low", FLOAT, "of success, lower end of the 95 % interval of `after`"),
        Column("after_high", FLOAT, "upper end"),
        Column("p_value", FLOAT, "how often chance alone differs as much"),
        Column("beyond_chance", BOOL, "whether it is more than chance; null where nobody can tell"),
        Column("schema_name", STRING, "of dependencies: name of their schema definition"),
        Column("external_id", STRING, "of one: your own id; of a deadlock, its first member"),
        Column("tenant_id", STRING, "the tenant; null for all of them together"),
        Column("schema_definition_id", STRING, "schema definition of what is missing"),
    ),
    get_it="history.changes()",
)


STANDINGS = Table(
    "standings",
    "one row per record that anything observed names",
    ("tenant_id", "schema_definition_id", "external_id"),
    (
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of the record"),
        Column("external_id", STRING, "your own id of it", False),
        Column("schema_name", STRING, "name of that schema definition"),
        Column("status", STRING, "`landed`, `waits`, `missing`, `lost` or `unknown`", False),
        Column("at", TIME, "since when, or by when that was so"),
        Column("expires_at", TIME, "when it, or the first of what misses it, is deleted"),
        Column("waits_for", STRING, "what it waits for, in words"),
        Column("cause", STRING, "of a lost one: why, in words"),
        Column("batch_id", STRING, "the batch that it came with"),
    ),
    order=tuple(RESOURCE_KEY),
)
