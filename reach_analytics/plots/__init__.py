"""Figures: the frame of a measure in, a plotly Figure out. Nothing is computed but positions."""

from reach_analytics.plots.chart import plot_success_chart
from reach_analytics.plots.collection import plot_collection_health
from reach_analytics.plots.dependencies import plot_bottlenecks, plot_dependency_graph
from reach_analytics.plots.durations import plot_durations
from reach_analytics.plots.plan import plot_upload_plan
from reach_analytics.plots.success import plot_status, plot_success
from reach_analytics.plots.waits import plot_backlog, plot_expiry, plot_outcomes, plot_survival

__all__ = [
    "plot_backlog",
    "plot_bottlenecks",
    "plot_collection_health",
    "plot_dependency_graph",
    "plot_durations",
    "plot_expiry",
    "plot_outcomes",
    "plot_status",
    "plot_success",
    "plot_success_chart",
    "plot_survival",
    "plot_upload_plan",
]
