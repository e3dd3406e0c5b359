"""Charts of `bottlenecks` and `dependency_graph`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import tenants
from reach_analytics.plots._rows import check_top
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import BOTTLENECKS, GRAPH_EDGES, GRAPH_NODES

if TYPE_CHECKING:
    from reach_analytics.measures import DependencyGraph

__all__ = ["plot_bottlenecks", "plot_dependency_graph"]

_STEP = 34  # pixels from one node to the one below
_LAYER = 160  # pixels from one layer to the next, in which a label can be read


@drawn_from("bottlenecks")
def plot_bottlenecks(bottlenecks: pd.DataFrame, *, top: int = 20) -> go.Figure:
    """The missing dependencies that would free the most, as bars: freed within blocked.

    Parameters
    ----------
    bottlenecks : pandas.DataFrame or History
        As from ``history.bottlenecks()``; the first ``top`` rows are drawn.
    top : int
        How many to draw.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_bottlenecks
    >>> from reach_analytics import tables
    >>> plot_bottlenecks(tables.BOTTLENECKS.empty()).layout.title.text
    'Nothing is missing'
    """
    BOTTLENECKS.check(bottlenecks, BOTTLENECKS.names, "plot_bottlenecks")
    check_top(top)
    if bottlenecks.empty:
        return _theme.say_empty("Nothing is missing")
    most = float(bottlenecks.head(top)["blocked"].max())
    chart = _theme.figure(barmode="overlay", xaxis=_theme.count_axis(most))
    shown = bottlenecks.head(top).iloc[::-1].reset_index(drop=True)
    _draw_bars(chart, shown, "blocked", "wait for it, directly or in a chain", _theme.PALE, 0.78)
    for is_root, name, colour in (
        (True, "are freed if it alone arrives", _theme.BLUE),
        (False, "are freed, but it is pending itself", _theme.ORANGE),
    ):
        own = shown[shown["is_root"] == is_root]
        if len(own):
            _draw_bars(chart, own, "unlock", name, colour, 0.5)
    about = zip(shown["external_id"], _schema_labels(shown), strict=True)
    names = [f"{_theme.text(key, 20)}<br><i>{_theme.text(of, 24)}</i>" for key, of in about]
    axis = {"tickmode": "array", "tickvals": list(shown.index), "ticktext": names}
    chart.update_layout(yaxis={**axis, "showgrid": False}, height=190 + 38 * len(shown))
    first = bottlenecks.iloc[0]
    freed = _theme.counted(int(first["unlock"]), "record")
    waits = "" if first["is_root"] else ", which waits itself,"
    answer = f"{_theme.plain(first['external_id'], 24)} alone{waits} would free {freed}"
    told = "Missing dependencies, and the waiting records that depend on them"
    if len(bottlenecks) > len(shown):
        told += f"; the first {len(shown):,} of {len(bottlenecks):,}"
    return _theme.titled(chart, answer, told)


def _schema_labels(rows: pd.DataFrame) -> list[str]:
    """The schema of each row, and the tenant where two rows would look alike without it."""
    alike = rows.duplicated(["external_id", "schema_name"], keep=False)
    parts = zip(rows["schema_name"].fillna("–"), tenants(rows), alike, strict=True)
    return [f"{schema} · {tenant[:12]}" if twice else schema for schema, tenant, twice in parts]


def _draw_bars(
    chart: go.Figure, rows: pd.DataFrame, column: str, name: str, colour: str, width: float
) -> None:
    chart.add_bar(
        x=rows[column],
        y=rows.index,
        orientation="h",
        name=name,
        marker={"color": colour},
        width=width,
        hovertext=_bottleneck_hover(rows),
        hovertemplate=_theme.HOVER,
    )


def _bottleneck_hover(rows: pd.DataFrame) -> list[str]:
    about = np.where(rows["blocked_exact"], "", "≈ ")
    kind = np.where(rows["is_root"], "must be delivered", "is pending itself")
    parts = [
        [f"<b>{key}</b>" for key in _theme.texts(rows["external_id"])],
        _theme.texts(rows["schema_name"]),
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(rows))],
        kind.tolist(),
        [f"unlock {count}" for count in _theme.counts(rows["unlock"])],
        [f"blocked {a}{n}" for a, n in zip(about, _theme.counts(rows["blocked"]), strict=True)],
        [f"direct {count}" for count in _theme.counts(rows["direct"])],
        [f"needed by {when}" for when in _theme.moments(rows["needed_by"])],
    ]
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]


@drawn_from("dependency_graph", top=30)
def plot_dependency_graph(graph: DependencyGraph) -> go.Figure:
    """What waits for what: what must be delivered on the left, what waits for it to the right.

    Parameters
    ----------
    graph : DependencyGraph or History
        As from ``history.dependency_graph(top=…)``; up to about a hundred nodes are readable.

    Returns
    -------
    plotly.graph_objects.Figure
        Node size grows with the pending resources that a node stands for, or would free.

    Raises
    ------
    FrameError
        If the graph's tables lack a documented column.

    Examples
    --------
    >>> from reach_analytics import measures, plot_dependency_graph
    >>> from reach_analytics import tables
    >>> graph = measures.dependency_graph(tables.DEPENDENCIES.empty())
    >>> plot_dependency_graph(graph).layout.title.text
    'Nothing is missing'
    """
    if not (hasattr(graph, "nodes") and hasattr(graph, "hidden_missing")):
        raise TypeError(
            "plot_dependency_graph takes a DependencyGraph, found "
            f"{type(graph).__name__}; pass history.dependency_graph()"
        )
    GRAPH_NODES.check(graph.nodes, GRAPH_NODES.names, "plot_dependency_graph")
    GRAPH_EDGES.check(graph.edges, GRAPH_EDGES.names, "plot_dependency_graph")
    if graph.nodes.empty:
        return _theme.say_empty("Nothing is missing")
    hidden = {"visible": False}
    chart = _theme.figure(xaxis=hidden, yaxis=hidden)
    place = _places(graph)
    in_cycle = graph.nodes.set_index("node")["in_cycle"]
    between = graph.edges["source"].map(in_cycle) & graph.edges["target"].map(in_cycle)
    _draw_edges(chart, graph.edges[~between], place, _theme.PALE, "waits for")
    _draw_edges(chart, graph.edges[between], place, _theme.VERMILION, "deadlock")
    _draw_nodes(chart, graph.nodes, place, {*graph.edges["source"]})
    tallest = int(place.groupby("x").size().max())
    left, right = _label_room(graph.nodes)
    ends = [place["x"].min() - 0.1, place["x"].max() + 0.1]
    chart.update_layout(
        height=min(1400, max(300, 150 + _STEP * tallest)),
        xaxis={"range": ends},
        margin={"l": left, "r": right},
        yaxis={"range": [place["y"].min() - 0.7, place["y"].max() + 0.7]},
    )
    _theme.titled(chart, _graph_answer(graph), _graph_about(graph))
    layers = int(graph.nodes["depth"].max())
    chart.layout.meta["least_width"] = left + right + _LAYER * layers
    return chart


def _label_room(nodes: pd.DataFrame) -> tuple[int, int]:
    """Pixels for the labels on the left and on the right."""
    first, last = nodes["depth"] == 0, nodes["depth"] == nodes["depth"].max()
    widest = [max(map(len, _node_labels(nodes[own])), default=0) for own in (first, last & ~first)]
    left, right = (24 + 7 * length for length in widest)
    return left, right


def _graph_answer(graph: DependencyGraph) -> str:
    nodes = graph.nodes
    drawn = nodes.loc[nodes["kind"] == "missing", "keys"].clip(lower=1)
    missing = int(drawn.sum()) + graph.hidden_missing
    waiting = int(nodes["count"].sum()) + graph.hidden_resources
    held = f"{_theme.counted(waiting, 'record')} wait" + ("s" if waiting == 1 else "")
    if not missing:
        return f"{held} for each other"
    what = _theme.counted(missing, "missing dependency", "missing dependencies")
    return f"{held} for {what}"


def _graph_about(graph: DependencyGraph) -> str:
    told = "What has to be delivered on the left, what waits for it to the right"
    if not graph.hidden_missing and not graph.hidden_resources:
        return told
    missing = _theme.counted(graph.hidden_missing, "missing dependency", "missing dependencies")
    pending = _theme.counted(graph.hidden_resources, "pending record")
    return f"{told}; not drawn: {missing}, {pending}"


def _places(graph: DependencyGraph) -> pd.DataFrame:
    """X by depth; y so that neighbours are near each other (a few barycentre sweeps)."""
    nodes = graph.nodes.set_index("node")
    y = nodes.groupby("depth").cumcount().astype(float)
    links = pd.concat(
        [
            graph.edges[["source", "target"]].set_axis(["of", "at"], axis=1),
            graph.edges[["target", "source"]].set_axis(["of", "at"], axis=1),
        ]
    )
    for _ in range(8):
        pull = y.reindex(links["at"]).groupby(links["of"].to_numpy()).mean()
        wish = pull.reindex(y.index).fillna(y)
        y = wish.groupby(nodes["depth"]).rank(method="first")
        y = y - y.groupby(nodes["depth"]).transform("mean")
    # Neighbouring columns are shifted by a third of a row, so that edges do not run through nodes.
    return pd.DataFrame({"x": nodes["depth"].astype(float), "y": -y + nodes["depth"] % 2 / 3})


def _draw_edges(
    chart: go.Figure, edges: pd.DataFrame, place: pd.DataFrame, colour: str, name: str
) -> None:
    if edges.empty:
        return
    tail, head = place.loc[edges["source"]], place.loc[edges["target"]]
    xs, ys = _curves(tail.to_numpy(), head.to_numpy())
    chart.add_scatter(
        x=xs,
        y=ys,
        mode="lines",
        name=name,
        line={"color": colour, "width": 1.4, "shape": "spline"},
        hoverinfo="skip",
        legendgroup=name,
    )


def _curves(tail: np.ndarray, head: np.ndarray) -> tuple[list[float | None], list[float | None]]:
    """One S-shaped curve per edge, all in one trace, a gap after each. Edges within a column bend
    to the right."""
    t = np.linspace(0, 1, 13)
    ease = t * t * (3 - 2 * t)
    x = tail[:, :1] + (head[:, :1] - tail[:, :1]) * t
    x = x + np.where(head[:, :1] == tail[:, :1], 0.25, 0.0) * np.sin(np.pi * t)
    y = tail[:, 1:] + (head[:, 1:] - tail[:, 1:]) * ease
    gap = np.full((len(tail), 1), None)
    return np.hstack([x, gap]).ravel().tolist(), np.hstack([y, gap]).ravel().tolist()


_KINDS = {
    "missing": ("missing: must be delivered", _theme.BLUE, "diamond"),
    "waiting": ("waits, and others wait for it", _theme.ORANGE, "circle"),
    "group": ("waits", _theme.GREY, "circle"),
}


def _draw_nodes(
    chart: go.Figure, nodes: pd.DataFrame, place: pd.DataFrame, sources: Collection[int]
) -> None:
    """The nodes with their labels, which stand where no edge begins."""
    most = max(1.0, float(nodes["count"].max()), float(nodes["unlock"].fillna(0).max()))
    labelled, quite_large = len(nodes) <= 120, 0.05 * most
    for kind, (name, colour, symbol) in _KINDS.items():
        own = nodes[nodes["kind"] == kind]
        if own.empty:
            continue
        weight = own["count"].where(own["count"] > 0, own["unlock"].fillna(0)).astype(float)
        labels = np.where(labelled | (weight >= quite_large), _node_labels(own), "")
        where = place.loc[own["node"]]
        chart.add_scatter(
            x=where["x"],
            y=where["y"],
            mode="markers+text",
            name=name,
            text=labels.tolist(),
            textposition=np.select(
                [where["x"] == 0, own["node"].isin(sources)],
                ["middle left", "bottom center"],
                "middle right",
            ),
            textfont={"size": 11},
            marker={
                "opacity": 1,
                "size": 9 + 14 * (weight / most) ** 0.5,
                "color": colour,
                "symbol": symbol,
                "line": {
                    "width": np.where(own["in_cycle"], 2.5, 0),
                    "color": _theme.VERMILION,
                },
            },
            hovertext=_node_hover(own),
            hovertemplate=_theme.HOVER,
            cliponaxis=False,
        )


def _node_labels(nodes: pd.DataFrame) -> list[str]:
    names = _theme.texts(nodes["external_id"], 24)
    schemas = _theme.texts(nodes["schema_name"], 24)
    several = nodes["external_id"].isna() & (nodes["count"] + nodes["keys"] > 1)
    rows = zip(several, names, nodes["keys"], nodes["count"], schemas, strict=True)
    return [
        (f"{keys:,} others" if keys > 1 else f"{count:,} {schema}") if folded else name
        for folded, name, keys, count, schema in rows
    ]


def _node_hover(nodes: pd.DataFrame) -> list[str]:
    parts = [
        [f"<b>{label}</b>" for label in _node_labels(nodes)],
        _theme.texts(nodes["schema_name"]),
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(nodes))],
        [f"stands for {count} pending" for count in _theme.counts(nodes["count"])],
        [f"unlock {count}" for count in _theme.counts(nodes["unlock"])],
        [f"first expiry {when}" for when in _theme.moments(nodes["expires_at"])],
        np.where(nodes["in_cycle"], "in a deadlock", "").tolist(),
    ]
    return ["<br>".join(filter(None, lines)) for lines in zip(*parts, strict=True)]
