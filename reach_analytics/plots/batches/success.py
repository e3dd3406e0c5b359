"""Charts of `success` and `status`."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels
from reach_analytics.tables import STATUS, SUCCESS

__all__ = ["plot_status", "plot_success"]

_BUCKET = "bucket"


def plot_success(success: pd.DataFrame) -> go.Figure:
    """Settled fraction over time, a line per group; or a bar per group, with its 95 % interval, if
    there are no buckets.

    Immature buckets, whose records may still wait, are open circles on a dotted line.

    Parameters
    ----------
    success : pandas.DataFrame
        As from ``history.success(by=…, freq=…)``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_success
    >>> from reach_analytics import tables
    >>> plot_success(tables.SUCCESS.empty()).layout.title.text
    'Success of settled records'
    """
    SUCCESS.check(success, SUCCESS.names, "plot_success")
    chart = _theme.figure("Success of settled records")
    over_time = _BUCKET in success.columns
    axis = {"tickformat": ".0%", "range": [-0.03, 1.03]}
    if over_time:
        chart.update_layout(yaxis=axis, yaxis_title="successful / (successful + failed)")
    else:
        chart.update_layout(xaxis=axis, xaxis_title="successful / (successful + failed)")
    rows = success.assign(_group=labels(success, {*SUCCESS.names, _BUCKET}))
    if over_time:
        rows = rows[rows[_BUCKET].notna()]
    if rows.empty or rows["settled_fraction"].isna().all():
        return _theme.say_empty(chart, "No record has succeeded or failed yet")
    return _lines(chart, rows) if over_time else _bars(chart, rows)


def plot_status(status: pd.DataFrame) -> go.Figure:
    """Batches by status, stacked: over time if there are buckets, else per group.

    Parameters
    ----------
    status : pandas.DataFrame
        As from ``history.status(by=…, freq=…)``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_status
    >>> from reach_analytics import tables
    >>> len(plot_status(tables.STATUS.empty()).data)
    0
    """
    STATUS.check(status, STATUS.names, "plot_status")
    chart = _theme.figure("Batches by status", barmode="stack", yaxis_title="batches")
    # Groups are names, also those that look like numbers or dates.
    chart.update_xaxes(type="date" if _BUCKET in status.columns else "category")
    rows = status.assign(_group=labels(status, {*STATUS.names, _BUCKET}))
    if rows.empty:
        return _theme.say_empty(chart, "No batches yet")
    known = list(_theme.STATUS)
    names = sorted(
        rows["status"].unique(), key=lambda s: (known.index(s) if s in known else 9, str(s))
    )
    for name in names:
        own = rows[rows["status"].isna() if pd.isna(name) else rows["status"] == name]
        chart.add_bar(
            x=own[_BUCKET] if _BUCKET in own.columns else own["_group"],
            y=own["batches"],
            name=_theme.text(name if pd.notna(name) else "unknown"),
            marker={"color": _theme.status_colour(name), "line": {"width": 0.5, "color": "white"}},
            hovertext=_hover(own),
            hovertemplate="%{hovertext}<br>%{y} batches<extra>%{fullData.name}</extra>",
        )
    return chart


def _lines(chart: go.Figure, rows: pd.DataFrame) -> go.Figure:
    dated = rows.sort_values(_BUCKET)
    largest = max(1.0, float(dated["total_records"].fillna(0).max()))
    colours = cycle(_theme.SERIES)
    for group, own in dated.groupby("_group", sort=True):
        own = own.assign(_size=(own["total_records"].fillna(0).astype(float) / largest) ** 0.5)
        immature = own["immature"].fillna(False).astype(bool).to_numpy()
        colour = next(colours)
        chart.add_scatter(**_line(own[~immature], group, colour))
        if immature.any():
            shown = immature | _before(immature)  # the line continues from the last mature one
            chart.add_scatter(**_line(own[shown], group, colour, immature=immature[shown]))
    note = "marker size: records in the bucket"
    if dated["immature"].fillna(False).any():
        note += "; open: records may still wait"
    return chart.update_layout(showlegend=dated["_group"].nunique() > 1, xaxis_title=note)


def _before(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether the following element is flagged."""
    return np.append(flags[1:], False)


def _line(
    own: pd.DataFrame, group: Any, colour: str, immature: npt.NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """One group's line; where immature, dotted with open circles and not in the legend."""
    marker: dict[str, Any] = {"size": 5 + 11 * own["_size"], "opacity": 0.85, "color": colour}
    line = {"width": 2, "color": colour}
    if immature is not None:
        marker |= {"symbol": "circle-open", "size": np.where(immature, marker["size"], 0)}
        line |= {"dash": "dot"}
    return {
        "x": own[_BUCKET],
        "y": own["settled_fraction"],
        "name": group,
        "legendgroup": group,
        "showlegend": None if immature is None else False,
        "mode": "lines+markers",
        "marker": marker,
        "line": line,
        "hovertext": _hover(own),
        "hovertemplate": "%{hovertext}<extra>%{fullData.name}</extra>",
    }


def _bars(chart: go.Figure, rows: pd.DataFrame) -> go.Figure:
    shown = rows.iloc[::-1]
    place = list(range(len(shown)))
    chart.add_bar(
        x=shown["settled_fraction"],
        y=place,
        orientation="h",
        marker={"color": _theme.GREEN},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": shown["settled_high_fraction"] - shown["settled_fraction"],
            "arrayminus": shown["settled_fraction"] - shown["settled_low_fraction"],
            "color": _theme.BLACK,
            "thickness": 1.2,
            "width": 4,
        },
        text=_theme.percents(shown["settled_fraction"]),
        textposition=np.where(shown["settled_fraction"] > 0.15, "inside", "outside"),
        insidetextanchor="start",
        hovertext=_hover(shown),
        hovertemplate=_theme.HOVER,
    )
    return chart.update_layout(
        yaxis={"tickmode": "array", "tickvals": place, "ticktext": shown["_group"].tolist()},
        height=150 + 34 * len(shown),
        showlegend=False,
    )


def _intervals(rows: pd.DataFrame) -> list[str]:
    ends = (_theme.percents(rows[f"settled_{end}_fraction"]) for end in ("low", "high"))
    kinds = rows["interval"].fillna("no interval")
    return [f"{kind}: {low} to {high}" for kind, low, high in zip(kinds, *ends, strict=True)]


def _hover(rows: pd.DataFrame) -> list[str]:
    """The group, its bucket and its counts."""
    lines = [rows["_group"].tolist()]
    if _BUCKET in rows.columns:
        lines.append(_theme.moments(rows[_BUCKET]))
    if "settled_fraction" in rows.columns:
        lines.append([f"settled {value}" for value in _theme.percents(rows["settled_fraction"])])
        lines.append(_intervals(rows))
    for name in ("total_records", "successful_records", "failed_records", "pending_records"):
        label = name.removesuffix("_records")
        lines.append([f"{label} {count}" for count in _theme.counts(rows[name])])
    return ["<br>".join(parts) for parts in zip(*lines, strict=True)]
