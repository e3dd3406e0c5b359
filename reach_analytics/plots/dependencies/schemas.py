"""Charts of `schema_graph` and `choke_points`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import tenants
from reach_analytics.plots._rows import check_top, hover, row_labels, stacked
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import CHOKE_POINTS, RESOURCE_KEY, SCHEMA_GRAPH

__all__ = ["plot_choke_points", "plot_schema_graph"]

_WIDEST = 14  # pixels of a line
_LABEL = 20


@drawn_from("schema_graph")
def plot_schema_graph(schema_graph: pd.DataFrame) -> go.Figure:
    """Which schemas wait for which: what is missing on the left, what waits for it on the right,
    the line between them the thicker the more records wait.

    Lines of references that a schema declares and nothing waits for are dotted.

    Parameters
    ----------
    schema_graph : pandas.DataFrame or History
        As from ``history.schema_graph()``; its tenants are added up.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_schema_graph
    >>> from reach_analytics import tables
    >>> plot_schema_graph(tables.SCHEMA_GRAPH.empty()).layout.title.text
    'No schema waits for another'
    """
    SCHEMA_GRAPH.check(schema_graph, SCHEMA_GRAPH.names, "plot_schema_graph")
    ends = ["missing_schema_name", "schema_name"]
    known = schema_graph.assign(**{name: schema_graph[name].fillna("–") for name in ends})
    edges = known.groupby(ends, sort=True)[["resources", "keys"]].sum().reset_index()
    if edges.empty:
        return _theme.say_empty("No schema waits for another")
    left, right = (
        edges.groupby(name)["resources"].sum().sort_values(ascending=False, kind="stable").index
        for name in ends
    )
    place = [{name: -float(n) for n, name in enumerate(side)} for side in (left, right)]
    chart = _theme.figure(showlegend=False)
    most = max(1, int(edges["resources"].max()))
    for edge in edges.sort_values("resources").itertuples():
        _line(chart, edge, place[0][edge.missing_schema_name], place[1][edge.schema_name], most)
    for at, side, anchor in ((0, left, "middle left"), (1, right, "middle right")):
        chart.add_scatter(
            x=[at] * len(side),
            y=[place[at][name] for name in side],
            mode="markers+text",
            text=[_theme.text(name, _LABEL) for name in side],
            textposition=anchor,
            marker={"size": 12, "color": (_theme.BLUE, _theme.GREY)[at]},
            hovertext=_theme.texts(side),
            hovertemplate=_theme.HOVER,
            cliponaxis=False,
        )
    tallest, rooms = max(len(left), len(right)), [_room(side) for side in (left, right)]
    hidden = {"visible": False}
    chart.update_layout(
        height=170 + 44 * tallest,
        xaxis={**hidden, "range": [-0.02, 1.02]},
        yaxis={**hidden, "range": [-tallest + 0.4, 0.6]},
        margin={"l": rooms[0], "r": rooms[1]},
    )
    waits = edges[edges["resources"] > 0]
    answer = "Nothing waits; schemas only declare references"
    if len(waits):
        worst = waits.iloc[int(waits["resources"].to_numpy().argmax())]
        of, by = (_theme.plain(worst[name], _LABEL) for name in ends)
        answer = f"{worst['resources']:,} {by} wait for {of}"
    return _theme.titled(chart, answer, "What is missing on the left, what waits on the right")


def _room(names: pd.Index) -> int:
    """Pixels for the labels of one side."""
    return 24 + 8 * max(len(_theme.plain(name, _LABEL)) for name in names)


def _line(chart: go.Figure, edge: Any, start: float, end: float, most: int) -> None:
    t = np.linspace(0, 1, 17)
    waits = int(edge.resources)
    names = ("missing_schema_name", "schema_name")
    missing, waiting = (_theme.text(getattr(edge, name)) for name in names)
    told = f"<b>{waiting}</b> wait for <b>{missing}</b><br>{waits:,} records"
    told += f"<br>{edge.keys:,} dependencies"
    chart.add_scatter(
        x=t,
        y=start + (end - start) * t * t * (3 - 2 * t),
        mode="lines",
        line={
            "color": _theme.ORANGE if waits else _theme.GREY,
            "width": 1 + (_WIDEST - 1) * waits / most if waits else 1,
            "dash": "solid" if waits else "dot",
        },
        opacity=0.55,
        hovertext=[told] * len(t),
        hovertemplate=_theme.HOVER,
    )


@drawn_from("choke_points")
def plot_choke_points(choke_points: pd.DataFrame, *, top: int = 15) -> go.Figure:
    """Records that wait themselves and hold up others: how many each would free if it were forced
    through.

    Parameters
    ----------
    choke_points : pandas.DataFrame or History
        As from ``history.choke_points()``; the first ``top`` rows are drawn.
    top : int
        How many to draw.

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
    >>> from reach_analytics import plot_choke_points
    >>> from reach_analytics import tables
    >>> plot_choke_points(tables.CHOKE_POINTS.empty()).layout.title.text
    'Nothing that waits holds up anything'
    """
    CHOKE_POINTS.check(choke_points, CHOKE_POINTS.names, "plot_choke_points")
    check_top(top)
    if choke_points.empty:
        return _theme.say_empty("Nothing that waits holds up anything")
    rows = choke_points.head(top).reset_index(drop=True)
    told = hover(
        [f"<b>{key}</b>" for key in _theme.texts(rows["external_id"])],
        _theme.texts(rows["schema_name"]),
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(rows))],
        [f"would free {count}" for count in _theme.counts(rows["forced_unlock"])],
        [f"{count} name it as missing" for count in _theme.counts(rows["direct"])],
        [f"misses {count} itself" for count in _theme.counts(rows["missing_count"])],
        [f"dies at {when}" for when in _theme.moments(rows["expires_at"])],
        np.where(rows["in_cycle"], "in a deadlock", "").tolist(),
    )
    free = rows["forced_unlock"]
    parts = [
        ("waits for something", _theme.ORANGE, free.where(~rows["in_cycle"], 0)),
        ("in a deadlock", _theme.VERMILION, free.where(rows["in_cycle"], 0)),
    ]
    group = rows.groupby(RESOURCE_KEY, dropna=False).ngroup()
    chart = stacked(row_labels(rows["external_id"], group), parts, told)
    first = rows.iloc[0]
    freed = _theme.counted(int(first["forced_unlock"]), "record")
    answer = f"{_theme.plain(first['external_id'], 24)} waits, and would free {freed}"
    about = "Records that wait themselves, and how many would be free if each were forced through"
    if len(choke_points) > len(rows):
        about += f"; the first {len(rows):,} of {len(choke_points):,}"
    return _theme.titled(chart, answer, about)
