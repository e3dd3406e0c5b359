"""Charts of `success` and `status`."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels, largest, with_few
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import STATUS, SUCCESS

__all__ = ["plot_status", "plot_success"]

_BUCKET = "bucket"


@drawn_from("success")
def plot_success(success: pd.DataFrame) -> go.Figure:
    """How many of the settled records succeeded: a line per group over time, or, without buckets, a
    bar per group with its 95 % interval.

    Immature buckets, whose records may still wait, are open circles on a dotted line. A single line
    has its 95 % interval as a band. Of more than eight lines, the smaller are drawn as one.

    Parameters
    ----------
    success : pandas.DataFrame or History
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
    'No record has succeeded or failed yet'
    """
    SUCCESS.check(success, SUCCESS.names, "plot_success")
    over_time = _BUCKET in success.columns
    rows = success.assign(_group=labels(success, {*SUCCESS.names, _BUCKET}))
    if over_time:
        rows = rows[rows[_BUCKET].notna()]
    if rows.empty or rows["settled_fraction"].isna().all():
        return _theme.say_empty("No record has succeeded or failed yet")
    chart = _theme.figure()
    return _lines(chart, rows) if over_time else _bars(chart, rows)


def _answer(rows: pd.DataFrame) -> str:
    """The fraction of all rows together."""
    landed, failed = (rows[f"{name}_records"].fillna(0).sum() for name in ("successful", "failed"))
    return f"{_theme.share(landed, landed + failed)} of the settled records succeeded"


@drawn_from("status")
def plot_status(status: pd.DataFrame) -> go.Figure:
    """How many batches have which status, stacked: over time if there are buckets, else per group.

    Parameters
    ----------
    status : pandas.DataFrame or History
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
    timed = _BUCKET in status.columns
    rows = status.assign(_group=labels(status, {*STATUS.names, _BUCKET}))
    if rows.empty:
        return _theme.say_empty("No batches yet")
    every, failed = (
        int(part["batches"].sum()) for part in (rows, rows[rows["status"] == "failure"])
    )
    others = ""
    if not timed:
        rows, others = largest(rows, "batches")
    # Groups are names, also those that look like numbers or dates.
    alone = timed and rows[_BUCKET].nunique() == 1  # whose width no axis of time could tell
    axis = {"type": "date"} if timed and not alone else {"type": "category", "automargin": True}
    most = float(rows.groupby(_BUCKET if timed else "_group")["batches"].sum().max())
    counts = _theme.count_axis(most)
    chart = _theme.figure(barmode="stack", xaxis=axis, yaxis=counts)
    known = list(_theme.STATUS)
    names = sorted(
        rows["status"].unique(), key=lambda s: (known.index(s) if s in known else 9, str(s))
    )
    for name in names:
        own = rows[rows["status"].isna() if pd.isna(name) else rows["status"] == name]
        chart.add_bar(
            x=_theme.moments(own[_BUCKET]) if alone else own[_BUCKET] if timed else own["_group"],
            y=own["batches"],
            name=_theme.text(name if pd.notna(name) else "unknown"),
            marker={"color": _theme.status_colour(name), "line": {"width": 0}},
            hovertext=_hover(own),
            hovertemplate="%{hovertext}<br>%{y:,} batches<extra>%{fullData.name}</extra>",
        )
    answer = f"{failed:,} of {_theme.counted(every, 'batch', 'batches')} failed"
    when = ", by when they were created" if timed else ""
    return _theme.titled(chart, answer, f"How many batches have which status{when}{others}")


def _lines(chart: go.Figure, rows: pd.DataFrame) -> go.Figure:
    answer = _answer(rows)
    drawn, others = with_few(rows, "total_records")
    dated = _pooled(drawn, others).sort_values(_BUCKET)
    largest = max(1.0, float(dated["total_records"].fillna(0).max()))
    several = dated["_group"].nunique() > 1
    colours = cycle(_theme.SERIES)
    for group, own in dated.groupby("_group", sort=True):
        own = own.assign(_size=(own["total_records"].fillna(0).astype(float) / largest) ** 0.5)
        immature = own["immature"].fillna(False).astype(bool).to_numpy()
        colour = next(colours)
        if not several:
            _band(chart, own, colour)
        chart.add_scatter(**_line(own[~immature], group, colour))
        if immature.any():
            shown = immature | _before(immature)  # the line continues from the last mature one
            chart.add_scatter(**_line(own[shown], group, colour, immature=immature[shown]))
    about = "Larger markers: more records"
    if dated["immature"].fillna(False).any():
        about += "; open ones: some may still wait"
    if not several:
        about += "; band: 95 % interval"
    axis = {"tickformat": ".0%", "range": [-0.03, 1.03]}
    chart.update_layout(showlegend=several, yaxis=axis, xaxis={"type": "date"})
    return _theme.titled(chart, answer, about)


def _pooled(rows: pd.DataFrame, others: str) -> pd.DataFrame:
    """The rows, with those of the smaller groups as one a bucket."""
    several = rows["_group"] == others
    if not others or not several.any():
        return rows
    small = rows[several]
    counts = [name for name in rows.columns if name.endswith("_records")]
    sums = small.groupby(_BUCKET)[counts].sum()
    settled = sums["successful_records"] + sums["failed_records"]
    sums["settled_fraction"] = (sums["successful_records"] / settled).where(settled > 0)
    sums["immature"] = small.groupby(_BUCKET)["immature"].any()
    return pd.concat([rows[~several], sums.reset_index().assign(_group=others)], ignore_index=True)


def _band(chart: go.Figure, own: pd.DataFrame, colour: str) -> None:
    """The interval of each bucket, where it has one."""
    known = own[own["settled_low_fraction"].notna()]
    shared = {"x": known[_BUCKET], "mode": "lines", "showlegend": False, "hoverinfo": "skip"}
    edge = {"line": {"width": 0, "color": colour}}
    chart.add_scatter(y=known["settled_low_fraction"], **shared, **edge)
    tint = {"fill": "tonexty", "fillcolor": _theme.faint(colour)}
    chart.add_scatter(y=known["settled_high_fraction"], **shared, **edge, **tint)


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
    drawn, others = largest(rows, "total_records")
    shown = drawn.iloc[::-1]
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
            "color": _theme.INK,
            "thickness": 1.2,
            "width": 4,
        },
        text=_theme.percents(shown["settled_fraction"]),
        textposition=np.where(shown["settled_fraction"] > 0.2, "inside", "outside"),
        insidetextanchor="start",
        hovertext=_hover(shown),
        hovertemplate=_theme.HOVER,
    )
    axis = {"tickmode": "array", "tickvals": place, "ticktext": shown["_group"].tolist()}
    chart.update_layout(
        xaxis={"tickformat": ".0%", "range": [-0.03, 1.03]},
        yaxis={**axis, "showgrid": False},
        height=150 + 34 * len(shown),
        showlegend=False,
    )
    return _theme.titled(chart, _answer(rows), f"Each bar with its 95 % interval{others}")


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
