"""Measures: documented frames in, documented frames out. No clock, no file, no drawing."""

from reach_analytics.measures.deadlocks import deadlocks, depth
from reach_analytics.measures.dependencies import DependencyGraph, bottlenecks, dependency_graph
from reach_analytics.measures.errors import errors
from reach_analytics.measures.expiring import expiring
from reach_analytics.measures.health import health
from reach_analytics.measures.plan import what_if
from reach_analytics.measures.quality import quality
from reach_analytics.measures.success import status, success
from reach_analytics.measures.upload_plan import upload_plan

__all__ = [
    "DependencyGraph",
    "bottlenecks",
    "deadlocks",
    "dependency_graph",
    "depth",
    "errors",
    "expiring",
    "health",
    "quality",
    "status",
    "success",
    "upload_plan",
    "what_if",
]
