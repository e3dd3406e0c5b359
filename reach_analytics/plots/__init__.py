"""Figures: the frame of a measure in, a plotly Figure out. Nothing is computed but positions."""

from reach_analytics.plots.dependencies import plot_bottlenecks, plot_dependency_graph
from reach_analytics.plots.plan import plot_upload_plan
from reach_analytics.plots.success import plot_status, plot_success

__all__ = [
    "plot_bottlenecks",
    "plot_dependency_graph",
    "plot_status",
    "plot_success",
    "plot_upload_plan",
]
