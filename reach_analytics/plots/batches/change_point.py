"""Chart of `change_point`."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels, tenants
from reach_analytics.plots._rows import hover
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import BATCHES, CHANGE_POINT

__all__ = ["plot_change_point"]

_SURE = 0.05
_POINTS = 5_000
_NEEDED = ["tenant_id", "batch_id", "created_at", "successful_records", "failed_records"]


@drawn_from("change_point", also={"batches": "batches"})
def plot_change_point(
    change_point: pd.DataFrame, *, batches: pd.DataFrame | None = None
) -> go.Figure:
    """When success changed: the settled fraction of each batch, that before and after the most
    likely moment, and how likely as much is by chance.

    Parameters
    ----------
    change_point : pandas.DataFrame or History
        As from ``history.change_point(by=…)``. The first group is drawn, or that of which a change
        by chance is the least likely.
    batches : pandas.DataFrame
        As from ``history.batches()``; a history gives its own.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If a frame lacks a documented column.
    TypeError
        If a frame is given without ``batches``.

    Examples
    --------
    >>> from reach_analytics import plot_change_point
    >>> from reach_analytics import tables
    >>> figure = plot_change_point(tables.CHANGE_POINT.empty(), batches=tables.BATCHES.empty())
    >>> figure.layout.title.text
    'No record has succeeded or failed yet'
    """
    CHANGE_POINT.check(change_point, CHANGE_POINT.names, "plot_change_point")
    if batches is None:
        raise TypeError("plot_change_point draws batches, too; pass batches=history.batches()")
    BATCHES.check(batches, _NEEDED, "plot_change_point")
    if change_point.empty:
        return _theme.say_empty("No record has succeeded or failed yet")
    names = labels(change_point, CHANGE_POINT.names)
    order = change_point["adjusted_p_value"].fillna(np.inf).to_numpy()
    first = int(order.argmin())
    row = change_point.iloc[first]
    several = len(change_point) > 1
    own = _of_group(batches, row, [n for n in change_point.columns if n not in CHANGE_POINT.names])
    settled = own["successful_records"].fillna(0) + own["failed_records"].fillna(0)
    own = own[(settled > 0) & own["created_at"].notna()].sort_values("created_at")
    if own.empty:
        return _theme.say_empty("No record has succeeded or failed yet")
    axis = {"tickformat": ".0%", "range": [-0.03, 1.03]}
    chart = _theme.figure(xaxis={"type": "date"}, yaxis=axis, showlegend=False)
    _points(chart, own)
    if pd.notna(row["changed_at"]):
        _levels(chart, own, row)
    where = f" in {html.unescape(names.iloc[first])}" if several else ""
    return _theme.titled(chart, _answer(row, where), _about(row))


def _of_group(batches: pd.DataFrame, row: pd.Series, names: list[str]) -> pd.DataFrame:
    """The batches of a row's group."""
    keep = pd.Series(True, index=batches.index)
    for name in names:
        if name in batches.columns:
            same = batches[name].isna() if pd.isna(row[name]) else batches[name] == row[name]
            keep &= same.fillna(False).astype(bool)
    return batches[keep]


def _points(chart: go.Figure, own: pd.DataFrame) -> None:
    if len(own) > _POINTS:  # evenly chosen ones
        own = own.iloc[np.linspace(0, len(own) - 1, _POINTS).astype(int)]
    settled = (own["successful_records"] + own["failed_records"]).astype(float)
    fraction = own["successful_records"].astype(float) / settled
    chart.add_scatter(
        x=own["created_at"],
        y=fraction,
        mode="markers",
        marker={
            "color": _theme.SKY,
            "size": 5 + 9 * (settled / settled.max()) ** 0.5,
            "opacity": 0.75,
        },
        hovertext=hover(
            [f"<b>{batch}</b>" for batch in _theme.texts(own["batch_id"])],
            [f"tenant {tenant}" for tenant in _theme.texts(tenants(own))],
            _theme.moments(own["created_at"]),
            [f"settled {value}" for value in _theme.percents(fraction)],
            [f"of {count} records" for count in _theme.counts(settled)],
        ),
        hovertemplate=_theme.HOVER,
    )


def _levels(chart: go.Figure, own: pd.DataFrame, row: pd.Series) -> None:
    """The fractions before and after the change, as lines that meet at it."""
    first, last = own["created_at"].iloc[0], own["created_at"].iloc[-1]
    sure = pd.notna(row["adjusted_p_value"]) and row["adjusted_p_value"] <= _SURE
    chart.add_scatter(
        x=[first, row["changed_at"], row["changed_at"], last],
        y=[row["before_fraction"]] * 2 + [row["after_fraction"]] * 2,
        mode="lines",
        line={
            "color": _theme.VERMILION if sure else _theme.GREY,
            "width": 2.5,
            "dash": "solid" if sure else "dot",
        },
        hoverinfo="skip",
    )


def _answer(row: pd.Series, where: str) -> str:
    if pd.isna(row["changed_at"]) or pd.isna(row["adjusted_p_value"]):
        why = "" if pd.isna(row["reason"]) else f": {row['reason']}"
        return f"Nobody can tell whether success changed{where}{why}"
    before, after = (f"{row[f'{end}_fraction']:.1%}" for end in ("before", "after"))
    if row["adjusted_p_value"] > _SURE:
        return f"No change of success that chance could not make{where}"
    return f"Success went from {before} to {after}{where} at {row['changed_at']:%Y-%m-%d %H:%M}"


def _about(row: pd.Series) -> str:
    told = "Settled fraction of each batch; the line: before and after the likeliest change"
    if pd.notna(row["adjusted_p_value"]):
        told += f"; one as large by chance: p = {row['adjusted_p_value']:.2g}"
    if pd.notna(row["autocorrelated"]) and row["autocorrelated"]:
        told += "; neighbouring batches resemble each other, so that p is off"
    return told
