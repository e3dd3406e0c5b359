"""Chart of `collection_health`."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels
from reach_analytics.plots._rows import check_top
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import COLLECTION_HEALTH

__all__ = ["plot_collection_health"]

_COUNTS = [
    *("observations", "failed_observations", "requests", "batches", "changes", "gaps"),
    *("brackets", "ended_waits", "unknown_waits"),
]
_SHARES = ["unchanged_fraction", "staleness_p95_fraction", "unknown_fraction"]
_LENGTHS = [
    *("staleness_mean", "staleness_p50", "staleness_p95", "longest_gap"),
    *("bracket_p50", "bracket_p95"),
]
_TIME = "from {bucket}"
_HOVER = [
    "<b>{_group}</b>",
    "{observations} observations of {batches} batches, {failed_observations} failed",
    "{changes} saw a change; {unchanged_fraction} of the successful ones saw nothing new",
    "{requests} requests, {requests_per_change} per change",
    "the last known state was {staleness_mean} old on average,",
    "half of the time below {staleness_p50}, 95 % below {staleness_p95}",
    "and 95 % below {staleness_p95_fraction} of the batch's own age",
    "{gaps} gaps; the longest interval was {longest_gap}",
    "ends of waits within {bracket_p50}, 95 % within {bracket_p95} ({brackets})",
    "{unknown_waits} of {ended_waits} outcomes unknown ({unknown_fraction})",
]
_OWN = [*COLLECTION_HEALTH.names, "bucket"]
_AGES = (
    ("staleness_p50", "younger than this half of the time", _theme.GREEN),
    ("staleness_p95", "younger than this 95 % of the time", _theme.PURPLE),
)
_COST = _theme.ORANGE
_LABEL = 18  # characters of a group's name beside three columns of bars
_ROW = 28  # pixels of a group


@drawn_from("collection_health", freq="1h")
def plot_collection_health(collection_health: pd.DataFrame, *, top: int = 20) -> go.Figure:
    """Observations and what they saw, the age of the last known state, and requests per change.

    With time buckets the three are drawn below each other over time, each group in its colour.
    Without buckets, or with a single one, they are side by side, each group a row of bars.

    Parameters
    ----------
    collection_health : pandas.DataFrame or History
        As from ``history.collection_health(freq="1h")``, or with ``by="tenant_id"``.
    top : int
        How many groups to draw: those with the most observations.

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
    >>> from reach_analytics import plot_collection_health
    >>> from reach_analytics import tables
    >>> plot_collection_health(tables.COLLECTION_HEALTH.empty()).layout.title.text
    'Nothing has been observed yet'
    """
    frame = collection_health
    COLLECTION_HEALTH.check(frame, COLLECTION_HEALTH.names, "plot_collection_health")
    check_top(top)
    if not frame["observations"].any():
        return _theme.say_empty("Nothing has been observed yet")
    timed = "bucket" in frame and frame["bucket"].nunique() > 1  # one bucket makes no axis
    rows = frame.assign(_group=labels(frame, _OWN, 48 if timed else _LABEL))
    sizes = rows.groupby("_group")["observations"].sum().sort_values(ascending=False, kind="stable")
    rows = rows[rows["_group"].isin(sizes.index[:top])]
    chart = _over_time(rows) if timed else _side_by_side(rows)
    chart.update_annotations(font={"size": 14})
    chart.update_layout(template=_theme.TEMPLATE, barmode="stack")
    every, failed, changed = (
        int(frame[name].sum()) for name in ("observations", "failed_observations", "changes")
    )
    unchanged = _theme.share(every - failed - changed, every)
    answer = f"{unchanged} of {_theme.counted(every, 'observation')} saw no change"
    answer += f"; {failed:,} failed" if failed else ""
    hidden = len(sizes) - top
    about = f"Not drawn: {_theme.counted(hidden, 'group')}" if hidden > 0 else ""
    return _theme.titled(chart, answer, about, above=24 if timed else 44)


def _over_time(rows: pd.DataFrame) -> go.Figure:
    """Three panels that share the time."""
    unit, seconds = _unit(rows)
    groups = rows.sort_values("bucket").groupby("_group")
    age = "Age of the last known state" + (", 95 % of the time below" if len(groups) > 1 else "")
    titles = ("Observations", f"{age}, {unit}", "Requests per change")
    layout = {"shared_xaxes": True, "vertical_spacing": 0.1, "subplot_titles": titles}
    chart = make_subplots(rows=3, cols=1, **layout)
    chart.update_annotations(x=0, xanchor="left")
    if len(groups) == 1:
        [(_, own)] = groups
        _alone(chart, own, seconds)
    else:
        for (group, own), colour in zip(groups, cycle(_theme.SERIES), strict=False):
            _among_others(chart, own, seconds, str(group), colour)
    chart.update_yaxes(rangemode="tozero", tickformat=",~f", nticks=5)
    chart.update_xaxes(type="date")
    return chart.update_layout(height=720, bargap=0.15)


def _alone(chart: go.Figure, own: pd.DataFrame, seconds: float) -> None:
    """One group over time: its observations by what they saw, and two lines of age."""
    shared = {"x": own["bucket"], **_hover(own)}
    for name, colour, count in _parts(own):
        chart.add_bar(y=count, name=name, marker_color=colour, row=1, col=1, **shared)
    for column, name, colour in _AGES:
        age = own[column].dt.total_seconds() / seconds
        chart.add_scatter(y=age, name=name, row=2, col=1, **_line(colour), **shared)
    costs = {"y": own["requests_per_change"], "name": "requests per change"}
    chart.add_scatter(**costs, showlegend=False, row=3, col=1, **_line(_COST), **shared)


def _among_others(
    chart: go.Figure, own: pd.DataFrame, seconds: float, group: str, colour: str
) -> None:
    """One of several groups over time, in its colour."""
    shared = {"x": own["bucket"], "name": group, "legendgroup": group, **_hover(own)}
    chart.add_bar(y=own["observations"], marker_color=colour, row=1, col=1, **shared)
    age = own["staleness_p95"].dt.total_seconds() / seconds
    for row, values in ((2, age), (3, own["requests_per_change"])):
        chart.add_scatter(y=values, showlegend=False, row=row, col=1, **_line(colour), **shared)


def _side_by_side(rows: pd.DataFrame) -> go.Figure:
    """Three columns that share the groups."""
    unit, seconds = _unit(rows)
    titles = ("Observations", f"Age of what is<br>known, {unit}", "Requests<br>per change")
    layout = {"shared_yaxes": True, "horizontal_spacing": 0.04, "subplot_titles": titles}
    chart = make_subplots(rows=1, cols=3, **layout)
    for title, axis in zip(chart.layout.annotations, chart.select_xaxes(), strict=True):
        title.update(x=axis.domain[0], xanchor="left", align="left")
    rows = rows.sort_values("observations", kind="stable")
    place = list(range(len(rows)))
    shared = {"y": place, "orientation": "h", **_hover(rows)}
    for name, colour, count in _parts(rows):
        chart.add_bar(x=count, name=name, marker_color=colour, row=1, col=1, **shared)
    below = 0.0
    for column, name, colour in _AGES:
        age = rows[column].dt.total_seconds() / seconds
        # Stacked: each begins where the one before it ends.
        chart.add_bar(x=age - below, name=name, marker_color=colour, row=1, col=2, **shared)
        below = age
    costs = {"x": rows["requests_per_change"], "name": "requests per change"}
    chart.add_bar(**costs, showlegend=False, marker_color=_COST, row=1, col=3, **shared)
    chart.update_xaxes(tickformat=",~f", nticks=5, rangemode="tozero")
    ticks = {"tickmode": "array", "tickvals": place, "ticktext": rows["_group"].tolist()}
    chart.update_yaxes(**ticks, range=[-0.6, len(rows) - 0.4], showgrid=False)
    return chart.update_layout(height=220 + _ROW * len(rows), bargap=0.25)


def _parts(rows: pd.DataFrame) -> list[tuple[str, str, pd.Series]]:
    """(name, colour, count) of the observations by what they saw, without empty ones."""
    unchanged = rows["observations"] - rows["failed_observations"] - rows["changes"]
    parts = [
        ("saw a change", _theme.BLUE, rows["changes"]),
        ("saw nothing new", _theme.PALE, unchanged),
        ("failed", _theme.VERMILION, rows["failed_observations"]),
    ]
    return [part for part in parts if part[2].any()]


def _line(colour: str) -> dict[str, Any]:
    return {
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2},
        "marker": {"size": 5, "color": colour},
    }


def _unit(rows: pd.DataFrame) -> tuple[str, float]:
    """The unit of ages, and its seconds."""
    longest = rows["staleness_p95"].max()
    return _theme.time_unit(pd.Timedelta(0) if pd.isna(longest) else longest)


def _hover(rows: pd.DataFrame) -> dict[str, Any]:
    """The hover box of each row."""
    counts = {name: _theme.counts(rows[name]) for name in _COUNTS}
    shares = {name: _theme.percents(rows[name]) for name in _SHARES}
    lengths = {name: [_in_words(span) for span in rows[name]] for name in _LENGTHS}
    cost = ["–" if pd.isna(number) else f"{number:,.1f}" for number in rows["requests_per_change"]]
    texts = {"_group": rows["_group"].tolist(), "requests_per_change": cost}
    if "bucket" in rows:
        texts["bucket"] = _theme.moments(rows["bucket"])
    values = pd.DataFrame({**counts, **shares, **lengths, **texts}).to_dict("records")
    lines = [_TIME, *_HOVER] if "bucket" in rows else _HOVER
    return {
        "hovertext": ["<br>".join(lines).format_map(row) for row in values],
        "hovertemplate": _theme.HOVER,
    }


def _in_words(span: Any) -> str:
    """A length of time in its largest unit."""
    if pd.isna(span):
        return "–"
    unit, seconds = _theme.time_unit(span, 1)
    return f"{span.total_seconds() / seconds:.1f} {unit}"
