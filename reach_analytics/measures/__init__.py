"""Measures: documented frames in, documented frames out. No clock, no file, no drawing."""

from reach_analytics.measures.batches.change_point import change_point
from reach_analytics.measures.batches.control_chart import control_chart
from reach_analytics.measures.batches.durations import durations, throughput
from reach_analytics.measures.batches.errors import errors
from reach_analytics.measures.batches.health import health
from reach_analytics.measures.batches.progress import eta, stuck
from reach_analytics.measures.batches.quality import quality
from reach_analytics.measures.batches.success import status, success
from reach_analytics.measures.changes.words import changes_in_words
from reach_analytics.measures.collection.collection_health import collection_health
from reach_analytics.measures.collection.coverage import coverage, still_missing
from reach_analytics.measures.dependencies.bottlenecks import bottlenecks
from reach_analytics.measures.dependencies.choke_points import choke_points
from reach_analytics.measures.dependencies.deadlocks import deadlocks, depth
from reach_analytics.measures.dependencies.dependency_graph import (
    DependencyGraph,
    dependency_graph,
)
from reach_analytics.measures.dependencies.schema_graph import schema_graph
from reach_analytics.measures.dependencies.upload_plan import upload_plan
from reach_analytics.measures.dependencies.what_if import what_if
from reach_analytics.measures.waits.arrivals import arrivals
from reach_analytics.measures.waits.backlog import backlog
from reach_analytics.measures.waits.conventions import conventions
from reach_analytics.measures.waits.expiring import expiring
from reach_analytics.measures.waits.expiry_codes import expiry_codes
from reach_analytics.measures.waits.lost import lost
from reach_analytics.measures.waits.reconciliation import reconciliation
from reach_analytics.measures.waits.release_rates import release_rates
from reach_analytics.measures.waits.survival import survival, wait_times
from reach_analytics.measures.waits.wait_outcomes import wait_outcomes

__all__ = [
    "DependencyGraph",
    "arrivals",
    "backlog",
    "bottlenecks",
    "change_point",
    "changes_in_words",
    "choke_points",
    "collection_health",
    "control_chart",
    "conventions",
    "coverage",
    "deadlocks",
    "dependency_graph",
    "depth",
    "durations",
    "errors",
    "eta",
    "expiring",
    "expiry_codes",
    "health",
    "lost",
    "quality",
    "reconciliation",
    "release_rates",
    "schema_graph",
    "status",
    "still_missing",
    "stuck",
    "success",
    "survival",
    "throughput",
    "upload_plan",
    "wait_outcomes",
    "wait_times",
    "what_if",
]
