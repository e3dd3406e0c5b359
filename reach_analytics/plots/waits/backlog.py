"""Chart of `backlog`."""

from __future__ import annotations

from itertools import cycle

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels, with_few
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import BACKLOG

__all__ = ["plot_backlog"]

_TURNOVER = (
    ("began", "began to wait", _theme.SKY, 1),
    ("released", "released", _theme.GREEN, -1),
    ("expired", "expired", _theme.VERMILION, -1),
    ("unknown", "over, unknown how", _theme.GREY, -1),
)


@drawn_from("backlog", freq="1h")
def plot_backlog(backlog: pd.DataFrame) -> go.Figure:
    """How many resources wait over time: a band from those that certainly did to those that may;
    below it how many began to wait, and how many waits ended how.

    Parameters
    ----------
    backlog : pandas.DataFrame or History
        As from ``history.backlog(freq)``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_backlog
    >>> from reach_analytics import tables
    >>> plot_backlog(tables.BACKLOG.empty()).layout.title.text
    'Nothing was ever seen to wait'
    """
    BACKLOG.check(backlog, BACKLOG.names, "plot_backlog")
    if backlog.empty:
        return _theme.say_empty("Nothing was ever seen to wait")
    grouped = backlog.assign(_group=labels(backlog, BACKLOG.names))
    drawn, others = with_few(grouped, "waiting_high")
    rows = _together(drawn, others).sort_values("bucket", kind="stable")
    chart = _panels(float(rows["waiting_high"].max()))
    colours = cycle(_theme.SERIES)
    for group, own in rows.groupby("_group"):
        name = str(group) if rows["_group"].nunique() > 1 else "wait"
        _band(chart, own, name, next(colours))
    _turnover(chart, rows)
    last = rows[rows["bucket"] == rows["bucket"].max()]
    [waiting] = _theme.ranges([last["waiting_low"].sum()], [last["waiting_high"].sum()])
    most = rows.groupby("bucket")["waiting_high"].sum().max()
    answer = f"{waiting} {'record waits' if waiting == '1' else 'records wait'}"
    if most > last["waiting_high"].sum():
        answer += f"; the most were {most:,}"
    earlier = int(grouped.drop_duplicates("_group")["earlier"].sum())
    about = (
        "At the end of each bucket, from those that certainly wait to those that may; below: how "
        "many began to wait (up), and how many waits ended (down)"
    )
    if earlier:
        about += f"; {earlier:,} waits began earlier, by their dates"
    return _theme.titled(chart, answer, about)


def _panels(most: float) -> go.Figure:
    """An empty figure of two panels that share their time."""
    return _theme.figure(
        yaxis=_theme.count_axis(most, domain=[0.4, 1]),
        yaxis2={"domain": [0, 0.3], "tickformat": ",d", "zeroline": True, "nticks": 5},
        xaxis={"type": "date", "anchor": "y2"},
        barmode="relative",
        bargap=0.1,
        height=520,
        showlegend=True,
        legend_traceorder="normal",
    )


def _turnover(chart: go.Figure, rows: pd.DataFrame) -> None:
    """How many waits of all groups began and ended in each bucket."""
    sums = rows.groupby("bucket")[[name for name, *_ in _TURNOVER]].sum().reset_index()
    for name, label, colour, sign in _TURNOVER:
        if sums[name].any():
            chart.add_bar(
                x=sums["bucket"],
                y=sign * sums[name],
                yaxis="y2",
                name=label,
                marker={"color": colour, "line": {"width": 0}},
                customdata=sums[name],
                hovertemplate="%{customdata:,} " + label + "<extra></extra>",
            )


def _together(rows: pd.DataFrame, others: str) -> pd.DataFrame:
    """The rows, with those of the smaller groups added up."""
    small = rows["_group"] == others
    if not others:
        return rows
    counts = [name for name in BACKLOG.names if name not in ("bucket", "earlier")]
    sums = rows[small].groupby("bucket")[counts].sum().reset_index()
    return pd.concat([rows[~small], sums.assign(_group=others)], ignore_index=True)


def _band(chart: go.Figure, own: pd.DataFrame, group: str, colour: str) -> None:
    """The band of one group: a line at its lower edge, tinted up to its upper edge."""
    mode = "lines" if len(own) > 1 else "lines+markers"  # a line needs two
    shared = {"x": own["bucket"], "mode": mode, "legendgroup": group, "name": group}
    low = {"y": own["waiting_low"], "line": {"color": colour, "width": 2, "shape": "hv"}}
    high = {"y": own["waiting_high"], "line": {"color": colour, "width": 0.5, "shape": "hv"}}
    chart.add_scatter(**shared, **low, hoverinfo="skip")
    chart.add_scatter(
        **shared,
        **high,
        fill="tonexty",
        fillcolor=_theme.faint(colour),
        showlegend=False,
        hovertext=_backlog_hover(own, group),
        hovertemplate=_theme.HOVER,
    )


def _backlog_hover(own: pd.DataFrame, group: str) -> list[str]:
    between = zip(
        _theme.counts(own["waiting_low"]), _theme.counts(own["waiting_high"]), strict=True
    )
    parts = [
        [group] * len(own),
        [f"from {moment}" for moment in _theme.moments(own["bucket"])],
        [f"{low} to {high} wait at its end" for low, high in between],
    ]
    for name in ("began", "released", "expired", "unknown"):
        parts.append([f"{name} {count}" for count in _theme.counts(own[name])])
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]
