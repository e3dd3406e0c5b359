"""Charts: each function takes the frame of a measure, or a `History`, and returns a plotly
Figure."""

from reach_analytics.plots.batches.batch import plot_batch, plot_quality
from reach_analytics.plots.batches.change_point import plot_change_point
from reach_analytics.plots.batches.control_chart import plot_control_chart
from reach_analytics.plots.batches.durations import plot_durations
from reach_analytics.plots.batches.running import plot_running, plot_throughput
from reach_analytics.plots.batches.success import plot_status, plot_success
from reach_analytics.plots.changes import plot_changes
from reach_analytics.plots.collection import plot_collection_health
from reach_analytics.plots.coverage import plot_coverage
from reach_analytics.plots.dependencies.graph import plot_bottlenecks, plot_dependency_graph
from reach_analytics.plots.dependencies.schemas import plot_choke_points, plot_schema_graph
from reach_analytics.plots.dependencies.upload_plan import plot_upload_plan
from reach_analytics.plots.lost import plot_lost
from reach_analytics.plots.waits.backlog import plot_backlog
from reach_analytics.plots.waits.expiring import plot_expiring
from reach_analytics.plots.waits.release_rates import plot_release_rates
from reach_analytics.plots.waits.survival import plot_survival

__all__ = [
    "plot_backlog",
    "plot_batch",
    "plot_bottlenecks",
    "plot_change_point",
    "plot_changes",
    "plot_choke_points",
    "plot_collection_health",
    "plot_control_chart",
    "plot_coverage",
    "plot_dependency_graph",
    "plot_durations",
    "plot_expiring",
    "plot_lost",
    "plot_quality",
    "plot_release_rates",
    "plot_running",
    "plot_schema_graph",
    "plot_status",
    "plot_success",
    "plot_survival",
    "plot_throughput",
    "plot_upload_plan",
]
