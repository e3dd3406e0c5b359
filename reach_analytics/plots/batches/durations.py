"""Chart of `durations`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import tenants
from reach_analytics.plots._rows import check_top
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import DURATIONS

__all__ = ["plot_durations"]

_MOST = 5_000  # values up to which plotly is given each
_STRIP = 40  # up to so many values of a box, each is drawn
_KINDS = (("queue_time", "queue", _theme.ORANGE), ("processing_time", "processing", _theme.BLUE))
_FEW_ZEROS = 0.1  # fraction of lengths that a logarithmic axis may leave out
_ROUND = {
    "1 ms": 0.001,
    "10 ms": 0.01,
    "0.1 s": 0.1,
    "1 s": 1,
    "10 s": 10,
    "1 min": 60,
    "10 min": 600,
    "1 h": 3600,
    "6 h": 21600,
    "1 day": 86400,
    "10 days": 864000,
    "100 days": 8640000,
}


@drawn_from("durations")
def plot_durations(durations: pd.DataFrame, *, top: int = 20) -> go.Figure:
    """How long batches of each schema queue and are processed, as boxes; if there are few batches,
    each is a point too. The axis is logarithmic if the lengths differ widely; lengths of 0 are then
    left out, and the axis says so.

    Parameters
    ----------
    durations : pandas.DataFrame or History
        As from ``history.durations()``.
    top : int
        How many schemas to draw: those with the most batches.

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
    >>> from reach_analytics.plots.batches.durations import plot_durations
    >>> plot_durations(tables.DURATIONS.empty()).layout.title.text
    'No batch has started yet'
    """
    DURATIONS.check(durations, DURATIONS.names, "plot_durations")
    check_top(top)
    spans = [name for name, _, _ in _KINDS]
    rows = durations[durations[spans].notna().any(axis=1)]
    if rows.empty:
        return _theme.say_empty("No batch has started yet")
    answer = _answer(rows)
    figure = _theme.figure()
    names = rows["schema_name"].fillna("")
    common = sorted(names.unique(), key=lambda name: (-int((names == name).sum()), name))
    rows = rows.assign(_place=names.map({name: i for i, name in enumerate(common[:top])}))
    rows = rows[rows["_place"].notna()].reset_index(drop=True)
    seconds = pd.DataFrame({name: rows[name].dt.total_seconds() for name in spans})
    scale, axis = _axis(seconds.to_numpy())
    for name, label, colour in _KINDS:
        own = rows[seconds[name] > 0 if axis["type"] == "log" else seconds[name].notna()]
        _boxes(figure, own, seconds[name][own.index] / scale, label, colour)
    figure.update_layout(
        boxmode="group",
        height=170 + 80 * min(len(common), top),
        xaxis=axis,
        yaxis=_schemas(common[:top]),
    )
    about = "Time in the queue and in processing, by schema"
    if len(common) > top:
        about += f"; not drawn: {_theme.counted(len(common) - top, 'schema')}"
    return _theme.titled(figure, answer, about)


def _answer(rows: pd.DataFrame) -> str:
    processing = rows["processing_time"].dropna()
    if processing.empty:
        return f"Half of the batches queue for up to {_in_words(rows['queue_time'].median())}"
    return f"Half of the batches are processed within {_in_words(processing.median())}"


def _boxes(
    figure: go.Figure, rows: pd.DataFrame, values: pd.Series, label: str, colour: str
) -> None:
    shape = {"name": label, "orientation": "h", "line": {"width": 1.4}}
    if len(rows) > _MOST:
        figure.add_box(**_quartiles(rows, values), marker={"color": colour}, **shape)
        return
    few = rows.groupby("_place").size().max() <= _STRIP if len(rows) else True
    figure.add_box(
        x=values,
        y=rows["_place"],
        boxpoints="all" if few else "outliers",
        jitter=0.5,
        pointpos=0,
        marker={"color": colour, "size": 5, "opacity": 0.6},
        hovertext=_hover(rows),
        hovertemplate=_theme.HOVER,
        hoveron="points",
        **shape,
    )


def _quartiles(rows: pd.DataFrame, values: pd.Series) -> dict[str, Any]:
    """The boxes of many values by their quartiles, with whiskers to the farthest values within one
    and a half of a box."""
    places, boxes = [], []
    for place, own in values.groupby(rows["_place"]):
        low, middle, high = own.quantile([0.25, 0.5, 0.75])
        reach = 1.5 * (high - low)
        within = own[(own >= low - reach) & (own <= high + reach)]
        places.append(place)
        boxes.append((low, middle, high, within.min(), within.max()))
    names = ("q1", "median", "q3", "lowerfence", "upperfence")
    return {"y": places, **dict(zip(names, map(list, zip(*boxes, strict=True)), strict=True))}


def _axis(seconds: Any) -> tuple[float, dict[str, Any]]:
    """What to divide seconds by, and the axis for them."""
    known = seconds[~np.isnan(seconds)]
    some, high = known[known > 0], known.max()
    zeros = len(known) - len(some)
    if len(some) and high > 100 * some.min() and zeros <= _FEW_ZEROS * len(known):
        low = some.min()
        marks = {name: at for name, at in _ROUND.items() if low / 10 <= at <= high * 10}
        left_out = f" (not drawn: {zeros:,} of 0 s)" if zeros else ""
        return 1.0, {
            "type": "log",
            "title": f"length of time{left_out}",
            "tickvals": list(marks.values()),
            "ticktext": list(marks),
            "range": [float(np.log10(low)) - 0.1, float(np.log10(high)) + 0.1],
        }
    unit, scale = next((pair for pair in _theme.UNITS if high >= 2 * pair[1]), _theme.UNITS[-1])
    return scale, {"type": "linear", "title": unit, "rangemode": "tozero"}


def _schemas(names: list[str]) -> dict[str, Any]:
    shown = [_theme.text(name, 32) if name else "without a schema" for name in names]
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": shown,
        "range": [len(names) - 0.5, -0.5],
        "showgrid": False,
    }


def _hover(rows: pd.DataFrame) -> list[str]:
    parts = [
        [f"<b>{batch}</b>" for batch in _theme.texts(rows["batch_id"])],
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(rows))],
        _theme.texts(rows["schema_name"]),
        [f"created {when}" for when in _theme.moments(rows["created_at"])],
        [f"queue {_in_words(span)}" for span in rows["queue_time"]],
        [f"processing {_in_words(span)}" for span in rows["processing_time"]],
    ]
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]


def _in_words(span: Any) -> str:
    """A length of time in its largest unit."""
    if pd.isna(span):
        return "–"
    seconds = span.total_seconds()
    unit, scale = next((pair for pair in _theme.UNITS if seconds >= pair[1]), _theme.UNITS[-1])
    return f"{seconds / scale:.1f} {unit}"
