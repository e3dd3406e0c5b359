"""Measures: documented frames in, documented frames out. No clock, no file, no drawing."""

from reach_analytics.measures.arrivals import arrivals
from reach_analytics.measures.backlog import backlog
from reach_analytics.measures.change import change_point
from reach_analytics.measures.chart import success_chart
from reach_analytics.measures.choke_points import choke_points
from reach_analytics.measures.collection import collection_health
from reach_analytics.measures.conventions import conventions
from reach_analytics.measures.coverage import coverage, still_missing
from reach_analytics.measures.deadlocks import deadlocks, depth
from reach_analytics.measures.dependencies import DependencyGraph, bottlenecks, dependency_graph
from reach_analytics.measures.duration import durations, throughput
from reach_analytics.measures.errors import errors
from reach_analytics.measures.expiring import expiring
from reach_analytics.measures.expiry_codes import expiry_codes
from reach_analytics.measures.health import health
from reach_analytics.measures.outcomes import outcomes
from reach_analytics.measures.plan import what_if
from reach_analytics.measures.progress import eta, stuck
from reach_analytics.measures.quality import quality
from reach_analytics.measures.reconciliation import reconciliation
from reach_analytics.measures.schema_graph import schema_graph
from reach_analytics.measures.success import status, success
from reach_analytics.measures.survival import survival, wait_times
from reach_analytics.measures.upload_plan import upload_plan
from reach_analytics.measures.waiting import waiting

__all__ = [
    "DependencyGraph",
    "arrivals",
    "backlog",
    "bottlenecks",
    "change_point",
    "choke_points",
    "collection_health",
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
    "outcomes",
    "quality",
    "reconciliation",
    "schema_graph",
    "status",
    "still_missing",
    "stuck",
    "success",
    "success_chart",
    "survival",
    "throughput",
    "upload_plan",
    "wait_times",
    "waiting",
    "what_if",
]
