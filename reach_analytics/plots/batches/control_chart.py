"""Chart of `control_chart`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import numbered, tenants
from reach_analytics.plots._rows import check_top
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import CONTROL_CHART

__all__ = ["plot_control_chart"]

_TICKS = 6
_MOST = 2_000  # batches of one chart, the last ones
_ROW = 230  # pixels of one of several charts
_WITHIN = {"color": _theme.BLUE, "size": 6}
_OUTSIDE = {"color": _theme.VERMILION, "size": 10}
_LIMIT = {"color": _theme.GREY, "width": 1.2, "shape": "hvh"}
_LINES = {
    "centre_fraction": {"color": _theme.GREY, "width": 1.2, "dash": "dot"},
    "settled_fraction": {"color": _theme.SKY, "width": 1},
}


@drawn_from("control_chart")
def plot_control_chart(chart: pd.DataFrame, *, top: int = 12) -> go.Figure:
    """Control charts of the settled fraction: a point per batch, between its limits; points outside
    them are red, and the baseline has a tinted background.

    Batches are evenly spaced, in the order of their time, which is on the axis.

    Parameters
    ----------
    chart : pandas.DataFrame or History
        As from ``history.control_chart()``; the charts of the first ``top`` groups are drawn, one
        below the other.
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
    >>> from reach_analytics import tables
    >>> from reach_analytics.plots.batches.control_chart import plot_control_chart
    >>> plot_control_chart(tables.CONTROL_CHART.empty()).layout.title.text
    'No record has succeeded or failed yet'
    """
    CONTROL_CHART.check(chart, CONTROL_CHART.names, "plot_control_chart")
    check_top(top)
    if chart.empty:
        return _theme.say_empty("No record has succeeded or failed yet")
    numbers = sorted(chart["chart"].unique())
    drawn = [chart[chart["chart"] == number] for number in numbers[:top]]
    figure = _panels(_labels(chart, numbers)[:top])
    for row, own in enumerate(drawn, start=1):
        ordered = own.sort_values(["at", "tenant_id", "batch_id"]).tail(_MOST)
        _draw(figure, ordered, row)
        _axes(figure, ordered, row)
    _explain(figure)
    outside = int(chart["signal"].notna().sum())
    every = _theme.counted(len(chart), "batch is", "batches are")
    answer = f"{outside:,} of {every} out of the usual"
    about = "Fraction of the settled records of each batch that succeeded, in the order of time"
    if max(map(len, drawn)) > _MOST:
        about += f"; the last {_MOST:,}"
    if len(numbers) > top:
        about += f"; not drawn: {_theme.counted(len(numbers) - top, 'group')}"
    return _theme.titled(figure, answer, about, above=28 if figure.layout.annotations else 0)


def _panels(labels: list[str]) -> go.Figure:
    rows = len(labels)
    height = 460 if rows == 1 else 130 + _ROW * rows
    figure = make_subplots(
        rows=rows,
        cols=1,
        subplot_titles=labels if rows > 1 or labels[0] else None,
        vertical_spacing=0.36 / rows if rows > 1 else 0,
    )
    figure.update_layout(template=_theme.TEMPLATE, height=height)
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    return figure


def _labels(chart: pd.DataFrame, numbers: list[int]) -> list[str]:
    """One label per chart from the group columns, those before the measure's own."""
    names = [name for name in chart.columns if name not in {*CONTROL_CHART.names, "tenant_name"}]
    firsts = chart.drop_duplicates("chart").set_index("chart")
    parts = firsts[names]
    if len(firsts) > 1 and (chart.groupby("chart")["tenant_id"].nunique() <= 1).all():
        several = not names or firsts["tenant_id"].nunique() > 1
        parts = parts.assign(tenant=tenants(firsts)) if several else parts
    shown = [" · ".join(_theme.texts(parts.loc[number])) for number in numbers]
    return numbered(pd.Series(shown, dtype="str"), pd.Series(numbers)).tolist()


def _draw(figure: go.Figure, own: pd.DataFrame, row: int) -> None:
    place = np.arange(1, len(own) + 1)
    on: dict[str, Any] = {"row": row, "col": 1}
    base = place[own["in_baseline"].to_numpy(bool)]
    if len(base) and own["reason"].isna().all():
        ground = {"fillcolor": _theme.GROUND, "line_width": 0, "layer": "below"}
        edge = int(base.max()) + 0.5
        figure.add_vrect(x0=0.4, x1=edge, **ground, exclude_empty_subplots=False, **on)
    for name in ("low_fraction", "high_fraction", "centre_fraction", "settled_fraction"):
        figure.add_scatter(
            x=place,
            y=own[name],
            mode="lines",
            line=_LINES.get(name, _LIMIT),
            hoverinfo="skip",
            showlegend=False,
            **on,
        )
    out = own["signal"].notna().to_numpy(bool)
    for chosen, marker in ((~out, _WITHIN), (out, _OUTSIDE)):
        figure.add_scatter(
            x=place[chosen],
            y=own["settled_fraction"][chosen],
            mode="markers",
            marker=marker,
            hovertext=_hover(own[chosen]),
            hovertemplate=_theme.HOVER,
            showlegend=False,
            cliponaxis=False,
            **on,
        )


def _explain(figure: go.Figure) -> None:
    """The legend, which also names what no chart happens to show."""
    for name, mode, style in (
        ("settled fraction", "markers", {"marker": _WITHIN}),
        ("outside the limits", "markers", {"marker": _OUTSIDE}),
        ("limits", "lines", {"line": {**_LIMIT, "shape": "linear"}}),
        ("pooled in the baseline", "lines", {"line": _LINES["centre_fraction"]}),
        ("baseline", "markers", {"marker": {"symbol": "square", "size": 14, "color": _theme.PALE}}),
    ):
        figure.add_scatter(x=[None], y=[None], name=name, mode=mode, hoverinfo="skip", **style)


def _axes(figure: go.Figure, own: pd.DataFrame, row: int) -> None:
    ticks = np.unique(np.linspace(0, len(own) - 1, _TICKS).round().astype(int))
    times = own["at"].iloc[ticks]
    days = (own["at"].max() - own["at"].min()).days
    form = "%H:%M<br>%d %b" if days < 7 else "%d %b<br>%Y"
    on: dict[str, Any] = {"row": row, "col": 1}
    figure.update_xaxes(
        tickvals=(ticks + 1).tolist(),
        ticktext=[f"{time:{form}}" for time in times],
        range=[0.4, len(own) + 0.6],
        showgrid=False,
        **on,
    )
    heights = own[["settled_fraction", "low_fraction", "high_fraction"]]
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    margin = 0.06 * (high - low) or 0.004  # too little for a tick above 100 %
    figure.update_yaxes(tickformat=".1~%", range=[low - margin, high + margin], **on)
    reason = own["reason"].iloc[0]
    if pd.notna(reason):
        figure.add_annotation(
            text=f"no limits: {_theme.text(reason)}",
            x=0.5,
            y=0.08,
            xref="x domain",
            yref="y domain",
            showarrow=False,
            **on,
        )


def _hover(rows: pd.DataFrame) -> list[str]:
    limits = zip(
        _theme.percents(rows["low_fraction"]), _theme.percents(rows["high_fraction"]), strict=True
    )
    kinds = rows["basis"].fillna("no limits")
    parts = [
        [f"<b>{batch}</b>" for batch in _theme.texts(rows["batch_id"])],
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(rows))],
        _theme.moments(rows["at"]),
        [f"settled {value}" for value in _theme.percents(rows["settled_fraction"])],
        [f"of {count} records" for count in _theme.counts(rows["settled_records"])],
        [
            f"limits {low} to {high} ({_theme.text(kind)})"
            for kind, (low, high) in zip(kinds, limits, strict=True)
        ],
    ]
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]
