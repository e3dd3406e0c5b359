"""Charts: each function takes the frame of a measure and returns a plotly Figure."""

from reach_analytics.plots.batches.control_chart import plot_control_chart
from reach_analytics.plots.batches.durations import plot_durations
from reach_analytics.plots.batches.success import plot_status, plot_success
from reach_analytics.plots.changes import plot_changes
from reach_analytics.plots.collection import plot_collection_health
from reach_analytics.plots.dependencies.graph import plot_bottlenecks, plot_dependency_graph
from reach_analytics.plots.dependencies.upload_plan import plot_upload_plan
from reach_analytics.plots.lost import plot_lost
from reach_analytics.plots.waits import plot_backlog, plot_expiry, plot_release_rates, plot_survival

__all__ = [
    "plot_backlog",
    "plot_bottlenecks",
    "plot_changes",
    "plot_collection_health",
    "plot_control_chart",
    "plot_dependency_graph",
    "plot_durations",
    "plot_expiry",
    "plot_lost",
    "plot_release_rates",
    "plot_status",
    "plot_success",
    "plot_survival",
    "plot_upload_plan",
]
