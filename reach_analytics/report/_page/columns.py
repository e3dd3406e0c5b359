"""Which columns of which frame the page shows, and what it calls them."""

from __future__ import annotations

from reach_analytics.report._page.cells import Column

_TENANT = Column("tenant_name", "Tenant")
_SCHEMA = Column("schema_name", "Schema")

HEALTH = (
    _TENANT,
    Column("batches", "Batches", "count"),
    Column("processing_batches", "Processing", "count"),
    Column("failed_batches", "Failed batches", "count"),
    Column("total_records", "Records", "count"),
    Column("successful_records", "Succeeded", "count"),
    Column("settled_fraction", "Of settled", "percent"),
    Column("lost_records", "Lost", "count"),
    Column("expired", "Expired", "range"),
    Column("pending_resources", "Waiting", "count"),
    Column("overdue", "Overdue", "count"),
    Column("expiring_soon", "Expire in 1 h", "count"),
    Column("next_expiry", "Next expiry", "moment"),
)
SUCCESS = (
    _SCHEMA,
    Column("batches", "Batches", "count"),
    Column("total_records", "Records", "count"),
    Column("successful_records", "Succeeded", "count"),
    Column("failed_records", "Failed", "count"),
    Column("pending_records", "Waiting", "count"),
    Column("settled_fraction", "Of settled", "percent"),
    Column("settled_low_fraction", "95 % from", "percent"),
    Column("settled_high_fraction", "to", "percent"),
    Column("strict_fraction", "Of all", "percent"),
)
BATCHES = (
    _TENANT,
    _SCHEMA,
    Column("created_at", "Created", "moment"),
    Column("total_records", "Records", "count"),
    Column("successful_records", "Succeeded", "count"),
    Column("failed_records", "Failed", "count"),
    Column("batch_id", "Batch"),
)
CHANGES = (
    Column("about", "About"),
    Column("change", "Change"),
    Column("size", "Size", "number"),
    Column("before", "Before", "number"),
    Column("after", "After", "number"),
    _TENANT,
    _SCHEMA,
    Column("external_id", "Id"),
)
RECONCILIATION = (
    Column("part", "Records"),
    Column("rule", "Known by rule"),
    Column("records", "Count", "count"),
)
LOST = (
    _TENANT,
    _SCHEMA,
    Column("external_id", "Record"),
    Column("outcome", "How"),
    Column("cause", "Why"),
    Column("records", "Records", "count"),
    Column("certain", "Certain", "flag"),
    Column("lost_after", "After", "moment"),
    Column("lost_by", "By", "moment"),
)
PLAN = (
    Column("position", "Order", "count"),
    _TENANT,
    _SCHEMA,
    Column("external_id", "Upload"),
    Column("frees", "Frees", "count"),
    Column("running_total", "Freed so far", "count"),
    Column("max_running_total", "At most possible", "count"),
    Column("needed_by", "Needed by", "moment"),
)
PLAN_BY_TENANT = (
    _TENANT,
    _SCHEMA,
    Column("uploads", "Uploads", "count"),
    Column("frees", "Free", "count"),
    Column("needed_by", "Needed by", "moment"),
)
BOTTLENECKS = (
    Column("external_id", "Missing"),
    _SCHEMA,
    _TENANT,
    Column("unlock", "Frees alone", "count"),
    Column("blocked", "Holds up", "count"),
    Column("direct", "Directly", "count"),
    Column("needed_by", "Needed by", "moment"),
)
ERRORS = (
    Column("source", "Source"),
    Column("pattern", "Path"),
    Column("value", "Value"),
    Column("batches", "Batches", "count"),
    Column("total", "Sum", "number"),
    Column("example", "Batch, as an example"),
)
COVERAGE = (
    _TENANT,
    Column("batches_waiting", "Batches that wait", "count"),
    Column("batches_covered", "With a full list", "count"),
    Column("coverage_fraction", "Share", "percent"),
    Column("resources_counted", "Records counted", "count"),
    Column("resources_listed", "Records listed", "count"),
    Column("batches_stale", "Older list", "count"),
    Column("batches_partial", "None or a part", "count"),
    Column("oldest_list", "Oldest list", "length"),
)
