"""The charts of a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from reach_analytics import plots
from reach_analytics.errors import UnknownNameError
from reach_analytics.plots._source import draw

if TYPE_CHECKING:
    from reach_analytics.history.history import History

__all__ = ["Plots"]


def _chart(plot: Callable[..., go.Figure]) -> Callable[..., go.Figure]:
    def method(self: Plots, **options: Any) -> go.Figure:
        return draw(plot, self._history, options)

    method.__name__ = plot.__name__.removeprefix("plot_")
    method.__qualname__ = f"Plots.{method.__name__}"
    method.__doc__ = (
        f"`plot_{method.__name__}` of this history, with options of its own or of "
        f"`{vars(plot)['measure']}`."
    )
    return method


class Plots:
    """The charts of a history, one line each: ``history.plot.success(by="schema_name")``.

    Each takes the options of the measure that it draws and of the chart; of one that both have, the
    measure's counts.
    """

    def __init__(self, history: History) -> None:
        self._history = history

    backlog = _chart(plots.plot_backlog)
    bottlenecks = _chart(plots.plot_bottlenecks)
    change_point = _chart(plots.plot_change_point)
    changes = _chart(plots.plot_changes)
    choke_points = _chart(plots.plot_choke_points)
    collection_health = _chart(plots.plot_collection_health)
    control_chart = _chart(plots.plot_control_chart)
    coverage = _chart(plots.plot_coverage)
    dependency_graph = _chart(plots.plot_dependency_graph)
    durations = _chart(plots.plot_durations)
    expiring = _chart(plots.plot_expiring)
    lost = _chart(plots.plot_lost)
    quality = _chart(plots.plot_quality)
    release_rates = _chart(plots.plot_release_rates)
    running = _chart(plots.plot_running)
    schema_graph = _chart(plots.plot_schema_graph)
    status = _chart(plots.plot_status)
    success = _chart(plots.plot_success)
    survival = _chart(plots.plot_survival)
    throughput = _chart(plots.plot_throughput)
    upload_plan = _chart(plots.plot_upload_plan)

    def batch(self, batch_id: str) -> go.Figure:
        """`plot_batch` of one batch.

        Raises
        ------
        UnknownNameError
            If no batch of this history has that id.
        """
        rows = self._history.observations(batch_id)
        if rows.empty:
            raise UnknownNameError(f"no batch that was observed has the id {batch_id!r}")
        return plots.plot_batch(rows)

    def __repr__(self) -> str:
        names = [name for name in dir(self) if not name.startswith("_")]
        return f"<charts: {', '.join(names)}>"
