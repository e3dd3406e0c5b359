"""Chart of `coverage`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import tenants
from reach_analytics.plots._rows import check_top, hover, row_labels, stacked
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import COVERAGE

__all__ = ["plot_coverage"]


@drawn_from("coverage")
def plot_coverage(coverage: pd.DataFrame, *, top: int = 20) -> go.Figure:
    """How well it is known what waits: the batches of each tenant by how full and how old their
    lists are.

    Parameters
    ----------
    coverage : pandas.DataFrame or History
        As from ``history.coverage()``.
    top : int
        How many tenants to draw: those with the most batches without a full and fresh list.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.
    ValueError
        If ``top`` is below 1.

    Examples
    --------
    >>> from reach_analytics import plot_coverage
    >>> from reach_analytics import tables
    >>> plot_coverage(tables.COVERAGE.empty()).layout.title.text
    'Nothing waits'
    """
    COVERAGE.check(coverage, COVERAGE.names, "plot_coverage")
    check_top(top)
    rows = coverage[coverage["batches_waiting"] > 0]
    if rows.empty:
        return _theme.say_empty("Nothing waits")
    lacking = rows["batches_waiting"] - rows["batches_covered"]
    drawn = rows.assign(_lacking=-lacking, _less=-rows["batches_waiting"])
    drawn = drawn.sort_values(["_lacking", "_less", "tenant_id"]).head(top).reset_index(drop=True)
    parts = [
        ("a full and fresh list", _theme.GREEN, drawn["batches_covered"]),
        ("an older list", _theme.ORANGE, drawn["batches_stale"]),
        ("none, or a part", _theme.GREY, drawn["batches_partial"]),
    ]
    told = hover(
        [f"<b>{tenant}</b>" for tenant in _theme.texts(tenants(drawn))],
        *([f"{count} {name}" for count in _theme.counts(counts)] for name, _, counts in parts),
        [f"{count} records counted" for count in _theme.counts(drawn["resources_counted"])],
        [f"{count} records listed" for count in _theme.counts(drawn["resources_listed"])],
    )
    chart = stacked(row_labels(tenants(drawn), pd.Series(drawn.index)), parts, told)
    covered, waiting = (int(rows[f"batches_{name}"].sum()) for name in ("covered", "waiting"))
    answer = f"{_theme.share(covered, waiting)} of the batches that wait are well known"
    about = "Batches with something pending, by what is known of it"
    if len(rows) > len(drawn):
        about += f"; not drawn: {_theme.counted(len(rows) - len(drawn), 'tenant')}"
    return _theme.titled(chart, answer, about)
