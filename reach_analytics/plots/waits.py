"""Charts of `backlog`, `expiring`, `release_rates` and `survival`."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics.measures._shared.grouping import in_bulk
from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels
from reach_analytics.tables import BACKLOG, EXPIRING, RELEASE_RATES, SURVIVAL

__all__ = ["plot_backlog", "plot_expiry", "plot_release_rates", "plot_survival"]

_BARS = 48
_OUTCOMES = (
    ("released", "released", _theme.GREEN),
    ("unknown", "unknown", _theme.PALE),
    ("expired", "expired", _theme.VERMILION),
)


def plot_backlog(backlog: pd.DataFrame) -> go.Figure:
    """How many resources wait over time: a band from those that certainly did to those that may.

    Parameters
    ----------
    backlog : pandas.DataFrame
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
    'Resources that wait'
    """
    BACKLOG.check(backlog, BACKLOG.names, "plot_backlog")
    chart = _theme.figure(
        "Resources that wait",
        yaxis={"title": "at the end of each bucket", "rangemode": "tozero", "tickformat": ",d"},
        xaxis={"type": "date"},
    )
    if backlog.empty:
        return _theme.say_empty(chart, "Nothing was ever seen to wait")
    rows = backlog.assign(_group=labels(backlog, BACKLOG.names)).sort_values("bucket")
    colours = cycle(_theme.SERIES)
    for group, own in rows.groupby("_group"):
        _band(chart, own, str(group), next(colours))
    several = rows["_group"].nunique() > 1
    earlier = int(rows.drop_duplicates("_group")["earlier"].sum())
    note = f"{earlier:,} waits began earlier, by their dates" if earlier else None
    return chart.update_layout(showlegend=several, hovermode="closest", xaxis_title=note)


def _band(chart: go.Figure, own: pd.DataFrame, group: str, colour: str) -> None:
    """The band of one group: a line at its lower edge, tinted up to its upper edge."""
    shared = {"x": own["bucket"], "mode": "lines", "legendgroup": group, "name": group}
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


def plot_expiry(expiring: pd.DataFrame) -> go.Figure:
    """When the pending resources expire, stacked by schema.

    Expiries far from all others, such as in a hundred years, are only counted.

    Parameters
    ----------
    expiring : pandas.DataFrame
        As from ``history.expiring()``; only expires_at, time_left and schema_name are needed.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks one of these.

    Examples
    --------
    >>> from reach_analytics import plot_expiry
    >>> from reach_analytics import tables
    >>> plot_expiry(tables.EXPIRING.empty()).layout.yaxis.title.text
    'pending resources that expire'
    """
    EXPIRING.check(expiring, ["expires_at", "time_left", "schema_name"], "plot_expiry")
    chart = _theme.figure(
        "What expires when",
        barmode="stack",
        yaxis={"title": "pending resources that expire", "tickformat": ",d"},
        xaxis={"type": "date"},
    )
    rows = expiring[expiring["expires_at"].notna()]
    if rows.empty:
        return _theme.say_empty(chart, "Nothing waits that could expire")
    # Overdue ones stay where they are; the moment of the frame is where time_left is 0.
    now = (rows["expires_at"] - rows["time_left"]).iloc[0]
    bulk = in_bulk(rows["expires_at"])
    chart.update_layout(xaxis_title=_elsewhere(rows.loc[~bulk, "expires_at"]))
    rows = rows[bulk]
    times = rows["expires_at"].dt.as_unit("us").astype("int64").to_numpy()
    edges = np.linspace(times.min(), times.max() + 1, _BARS + 1)
    zone = rows["expires_at"].dt.tz
    middle, starts, ends = (
        pd.to_datetime(at, unit="us", utc=True).tz_convert(zone)
        for at in ((edges[:-1] + edges[1:]) // 2, edges[:-1], edges[1:])
    )
    span = [f"{a:%Y-%m-%d %H:%M} to {b:%H:%M %Z}" for a, b in zip(starts, ends, strict=True)]
    number, schemas = pd.factorize(rows["schema_name"], use_na_sentinel=False)
    names = pd.Series(_theme.texts(schemas)).take(number)
    for name, colour in zip(sorted(names.unique()), cycle(_theme.SERIES), strict=False):
        counts, _ = np.histogram(times[(names == name).to_numpy()], edges)
        chart.add_bar(
            x=middle,
            y=counts,
            width=(edges[1] - edges[0]) / 1000,
            name=name,
            marker={"color": colour, "line": {"width": 0.5, "color": "white"}},
            hovertext=span,
            hovertemplate="%{hovertext}<br>%{y:,} expire<extra>%{fullData.name}</extra>",
        )
    return _mark(chart, now, "now").update_layout(
        showlegend=names.nunique() > 1, legend={"traceorder": "normal"}
    )


def _elsewhere(far: pd.Series) -> str | None:
    """A note on expiries that are too far off to be shown, if there are any."""
    if far.empty:
        return None
    ends = " to ".join(dict.fromkeys(_theme.moments([far.min(), far.max()])))
    return f"{len(far):,} more expire far from these: {ends}"


def _mark(chart: go.Figure, moment: pd.Timestamp, label: str) -> go.Figure:
    """A thin line at a moment, which an axis shows by its own clock, as plotly does times."""
    line = {"color": _theme.BLACK, "width": 1, "dash": "dot"}
    place = moment.tz_localize(None).isoformat()
    chart.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, yref="paper", line=line)
    return chart.add_annotation(
        x=place, y=1, yref="paper", text=label, showarrow=False, yanchor="bottom"
    )


def plot_release_rates(release_rates: pd.DataFrame) -> go.Figure:
    """How the mature waits of each group ended, as fractions of a bar.

    Parameters
    ----------
    release_rates : pandas.DataFrame
        As from ``history.release_rates(by=…)``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_release_rates
    >>> from reach_analytics import tables
    >>> plot_release_rates(tables.RELEASE_RATES.empty()).layout.title.text
    'How waits ended'
    """
    RELEASE_RATES.check(release_rates, RELEASE_RATES.names, "plot_release_rates")
    chart = _theme.figure(
        "How waits ended",
        barmode="stack",
        xaxis={"title": "of the mature waits", "tickformat": ".0%"},
    )
    rows = release_rates.assign(_group=labels(release_rates, RELEASE_RATES.names))
    rows = rows[rows["mature"] > 0].iloc[::-1]
    if rows.empty:
        return _theme.say_empty(chart, "No wait is mature yet")
    place = list(range(len(rows)))
    for name, label, colour in _OUTCOMES:
        share = rows[name] / rows["mature"]
        chart.add_bar(
            x=share,
            y=place,
            orientation="h",
            name=label,
            marker={"color": colour},
            text=[f"{n:,}" if s > 0.06 else "" for n, s in zip(rows[name], share, strict=True)],
            textposition="inside",
            insidetextanchor="middle",
            hovertext=_outcome_hover(rows, label),
            hovertemplate=_theme.HOVER,
        )
    ticks = {"tickmode": "array", "tickvals": place, "ticktext": rows["_group"].tolist()}
    return chart.update_layout(
        yaxis=ticks, height=190 + 36 * len(rows), legend={"traceorder": "normal"}
    )


def _outcome_hover(rows: pd.DataFrame, label: str) -> list[str]:
    ends = [
        _theme.percents(rows[f"released_{end}_fraction"]) for end in ("min", "max", "low", "high")
    ]
    expired = _theme.ranges(rows["expired_min"], rows["expired_max"])
    parts = [
        rows["_group"].tolist(),
        [f"<b>{label}</b>"] * len(rows),
        [f"{n} of {m} waits were mature" for n, m in _pairs(rows, "mature", "waits")],
        [f"released {n}, expired {m}" for n, m in _pairs(rows, "released", "expired")],
        [f"released: {a} to {b}" for a, b in zip(ends[0], ends[1], strict=True)],
        [f"95 %: {a} to {b}" for a, b in zip(ends[2], ends[3], strict=True)],
        [f"of all waits, immature ones too, {n} expired" for n in expired],
    ]
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]


def _pairs(rows: pd.DataFrame, one: str, other: str) -> list[tuple[str, str]]:
    return list(zip(_theme.counts(rows[one]), _theme.counts(rows[other]), strict=True))


def plot_survival(survival: pd.DataFrame) -> go.Figure:
    """The fraction that still waits at each age, with its 95 % band.

    Where the curve is known only at the ends of cells, these are points, and blocks show the range
    in which it falls from one to the next.

    Parameters
    ----------
    survival : pandas.DataFrame
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
    'How long waits last'
    """
    SURVIVAL.check(survival, SURVIVAL.names, "plot_survival")
    chart = _theme.figure(
        "How long waits last",
        yaxis={"title": "still wait, if none expired", "tickformat": ".0%", "range": [0, 1.03]},
        xaxis={"title": "age", "rangemode": "tozero"},
    )
    if survival.empty:
        return _theme.say_empty(chart, "Too few waits ended for a curve")
    rows = survival.assign(_group=labels(survival, SURVIVAL.names)).sort_values("age")
    unit, seconds = _theme.time_unit(rows["age"].max())
    rows["_age"] = rows["age"].dt.total_seconds() / seconds
    rows["_from"] = rows["age_from"].dt.total_seconds() / seconds
    colours = cycle(_theme.SERIES)
    for group, own in rows.groupby("_group"):
        _curve(chart, own, str(group), next(colours), unit)
    return chart.update_layout(
        xaxis={"title": f"age, {unit}"}, showlegend=rows["_group"].nunique() > 1
    )


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
