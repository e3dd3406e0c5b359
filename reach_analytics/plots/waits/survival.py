"""Chart of `survival`."""

from __future__ import annotations

import html
from itertools import cycle
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from reach_analytics._time import in_words
from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import SURVIVAL

__all__ = ["plot_survival"]

_CURVES = 8


@drawn_from("survival")
def plot_survival(survival: pd.DataFrame) -> go.Figure:
    """The fraction that still waits at each age, with its 95 % band.

    Where the curve is known only at the ends of cells, these are points, and blocks show the range
    in which it falls from one to the next.

    Parameters
    ----------
    survival : pandas.DataFrame or History
        As from ``history.survival(by=…)``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_survival
    >>> from reach_analytics import tables
    >>> plot_survival(tables.SURVIVAL.empty()).layout.title.text
    'Too few waits ended for a curve'
    """
    SURVIVAL.check(survival, SURVIVAL.names, "plot_survival")
    if survival.empty:
        return _theme.say_empty("Too few waits ended for a curve")
    rows = survival.assign(_group=labels(survival, SURVIVAL.names)).sort_values("age")
    sizes = rows.groupby("_group")["at_risk"].max().sort_values(ascending=False, kind="stable")
    rows = rows[rows["_group"].isin(sizes.index[:_CURVES])]
    unit, seconds = _theme.time_unit(rows["age"].max())
    rows["_age"] = rows["age"].dt.total_seconds() / seconds
    rows["_from"] = rows["age_from"].dt.total_seconds() / seconds
    chart = _theme.figure(
        yaxis={"tickformat": ".0%", "range": [0, 1.03]},
        xaxis={"title": f"age, {unit}", "rangemode": "tozero"},
        showlegend=len(sizes) > 1,
    )
    colours = cycle(_theme.SERIES)
    for group, own in rows.groupby("_group"):
        _curve(chart, own, str(group), next(colours), unit)
    about = "Fraction that still waits at each age, if none expired, with its 95 % band"
    if len(sizes) > _CURVES:
        about += f"; not drawn: {_theme.counted(len(sizes) - _CURVES, 'smaller group')}"
    return _theme.titled(chart, _half(rows), about)


def _half(rows: pd.DataFrame) -> str:
    """When half of the waits of the largest group are over."""
    several = rows["_group"].nunique() > 1
    sizes = rows.groupby("_group")["at_risk"].max().fillna(0)
    own = rows[rows["_group"] == sizes.sort_values(kind="stable").index[-1]]
    of = f" of {html.unescape(own['_group'].iloc[0])}" if several else ""
    over = own[own["survival_fraction"] <= 0.5]
    if over.empty:
        last = own.iloc[-1]
        left, age = f"{last['survival_fraction']:.0%}", in_words(last["age"])
        return f"{left} of the waits{of} last longer than {age}"
    first = over.iloc[0]
    if first["age_from"] < first["age"]:
        span = f"{in_words(first['age_from'])} to {in_words(first['age'])}"
        return f"Half of the waits{of} end within {span}"
    return f"Half of the waits{of} end within {in_words(first['age'])}"


def _curve(chart: go.Figure, own: pd.DataFrame, group: str, colour: str, unit: str) -> None:
    shared: dict[str, Any] = {"mode": "lines", "legendgroup": group, "name": group}
    x = [own["_from"].iloc[0], *own["_age"]]
    # Known exactly, it falls there; known only at the ends of cells, somewhere in between, so that
    # its band reaches from the lower end of one to the upper end of the other.
    in_cells = bool((own["_from"] < own["_age"]).any())
    if own["low_fraction"].notna().any():
        low, high = ([1.0, *own[f"{end}_fraction"]] for end in ("low", "high"))
        _between(chart, x, low, high, colour, "vh" if in_cells else "hv", shared)
    if in_cells:
        curve = [1.0, *own["survival_fraction"]]
        _between(chart, x, curve, curve, colour, "vh", shared, width=1)
    marks = {"mode": "markers"} if in_cells else {"mode": "lines"}
    chart.add_scatter(
        x=x,
        y=[1.0, *own["survival_fraction"]],
        line={"color": colour, "width": 2.5, "shape": "hv"},
        marker={"color": colour, "size": 6},
        hovertext=[group, *_curve_hover(own, group, unit)],
        hovertemplate=_theme.HOVER,
        **{**shared, **marks},
    )


def _between(
    chart: go.Figure,
    x: list[float],
    low: list[float],
    high: list[float],
    colour: str,
    falls: str,
    shared: dict[str, Any],
    width: int = 0,
) -> None:
    """A tint between two step curves; the upper one falls at the end of each step."""
    hidden = {"showlegend": False, "hoverinfo": "skip"}
    edge = {"width": width, "color": colour}
    chart.add_scatter(x=x, y=low, line={**edge, "shape": falls}, **shared, **hidden)
    tint = {"fill": "tonexty", "fillcolor": _theme.faint(colour)}
    chart.add_scatter(x=x, y=high, line={**edge, "shape": "hv"}, **shared, **hidden, **tint)


def _curve_hover(own: pd.DataFrame, group: str, unit: str) -> list[str]:
    low, high = (_theme.percents(own[f"{end}_fraction"]) for end in ("low", "high"))
    waiting = zip(_theme.percents(own["survival_fraction"]), low, high, strict=True)
    incidences = zip(
        *(_theme.percents(own[f"{f}_incidence"]) for f in ("released", "expired")), strict=True
    )
    parts = [
        [group] * len(own),
        [f"after {age:.3g} {unit}" for age in own["_age"]],
        [f"{share} still wait ({a} to {b})" for share, a, b in waiting],
        [f"by then {a} released, {b} expired" for a, b in incidences],
        [f"{count} at risk" for count in _theme.counts(own["at_risk"])],
        _theme.texts(own["method"]),
    ]
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]
