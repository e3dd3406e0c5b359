"""Charts of `backlog`, `expiring`, `release_rates` and `survival`."""

from __future__ import annotations

import html
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics._time import in_words
from reach_analytics.measures._shared.grouping import in_bulk
from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels, with_few
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import BACKLOG, EXPIRING, RELEASE_RATES, SURVIVAL

__all__ = ["plot_backlog", "plot_expiring", "plot_release_rates", "plot_survival"]

_BARS = 48
_CURVES = 8
_SOON = pd.Timedelta("1h")
_OUTCOMES = (
    ("released", "released", _theme.GREEN),
    ("unknown", "unknown", _theme.PALE),
    ("expired", "expired", _theme.VERMILION),
)


@drawn_from("backlog", freq="1h")
def plot_backlog(backlog: pd.DataFrame) -> go.Figure:
    """How many resources wait over time: a band from those that certainly did to those that may.

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
    several = rows["_group"].nunique() > 1
    chart = _theme.figure(
        yaxis=_theme.count_axis(float(rows["waiting_high"].max())),
        xaxis={"type": "date"},
        showlegend=several,
    )
    colours = cycle(_theme.SERIES)
    for group, own in rows.groupby("_group"):
        colour = next(colours)
        _band(chart, own, str(group), colour)
    last = rows[rows["bucket"] == rows["bucket"].max()]
    [waiting] = _theme.ranges([last["waiting_low"].sum()], [last["waiting_high"].sum()])
    most = rows.groupby("bucket")["waiting_high"].sum().max()
    answer = f"{waiting} records wait"
    if most > last["waiting_high"].sum():
        answer += f"; the most were {most:,}"
    earlier = int(grouped.drop_duplicates("_group")["earlier"].sum())
    about = "At the end of each bucket, from those that certainly wait to those that may"
    if earlier:
        about += f"; {earlier:,} waits began earlier, by their dates"
    return _theme.titled(chart, answer, about)


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


@drawn_from("expiring")
def plot_expiring(expiring: pd.DataFrame) -> go.Figure:
    """When the pending resources expire, stacked by schema.

    Expiries far from all others, such as in a hundred years, are only counted.

    Parameters
    ----------
    expiring : pandas.DataFrame or History
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
    >>> from reach_analytics import plot_expiring
    >>> from reach_analytics import tables
    >>> plot_expiring(tables.EXPIRING.empty()).layout.title.text
    'Nothing waits that could expire'
    """
    EXPIRING.check(expiring, ["expires_at", "time_left", "schema_name"], "plot_expiring")
    rows = expiring[expiring["expires_at"].notna()]
    if rows.empty:
        return _theme.say_empty("Nothing waits that could expire")
    chart = _theme.figure(barmode="stack", xaxis={"type": "date"})
    answer = _dying(rows)
    # Overdue ones stay where they are; the moment of the frame is where time_left is 0.
    now = (rows["expires_at"] - rows["time_left"]).iloc[0]
    bulk = in_bulk(rows["expires_at"])
    about = f"How many records expire when{_elsewhere(rows.loc[~bulk, 'expires_at'])}"
    rows = rows[bulk]
    times = rows["expires_at"].dt.as_unit("us").astype("int64").to_numpy()
    edges = np.linspace(times.min(), times.max() + 1, _BARS + 1)
    zone = rows["expires_at"].dt.tz
    most = float(np.histogram(times, edges)[0].max())
    chart.update_layout(yaxis=_theme.count_axis(most))
    middle, starts, ends = (
        pd.to_datetime(at, unit="us", utc=True).tz_convert(zone)
        for at in ((edges[:-1] + edges[1:]) // 2, edges[:-1], edges[1:])
    )
    span = [f"{a:%Y-%m-%d %H:%M} to {b:%H:%M %Z}" for a, b in zip(starts, ends, strict=True)]
    number, schemas = pd.factorize(rows["schema_name"], use_na_sentinel=False)
    shown = pd.Series(_theme.texts(schemas), dtype="str").take(number).to_numpy()
    few, _ = with_few(pd.DataFrame({"_group": shown, "_one": 1}), "_one")
    names = few["_group"]
    for name, colour in zip(sorted(names.unique()), cycle(_theme.SERIES), strict=False):
        counts, _ = np.histogram(times[(names == name).to_numpy()], edges)
        chart.add_bar(
            x=middle,
            y=counts,
            width=(edges[1] - edges[0]) / 1000,
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            hovertext=span,
            hovertemplate="%{hovertext}<br>%{y:,} expire<extra>%{fullData.name}</extra>",
        )
    chart.update_layout(showlegend=names.nunique() > 1)
    return _mark(_theme.titled(chart, answer, about, above=14), now, "now")


def _dying(rows: pd.DataFrame) -> str:
    """How many expire within the hour, or when the next does."""
    left = rows["time_left"]
    soon = int(((left > pd.Timedelta(0)) & (left <= _SOON)).sum())
    late = int((left <= pd.Timedelta(0)).sum())
    told = f"{soon:,} of {_theme.counted(len(rows), 'waiting record')} expire within the hour"
    if not soon and late < len(rows):
        told += f"; the next in {in_words(left[left > pd.Timedelta(0)].min())}"
    return f"{told}; {late:,} should be gone" if late else told


def _elsewhere(far: pd.Series) -> str:
    """A note on expiries that are too far off to be shown, if there are any."""
    if far.empty:
        return ""
    ends = " to ".join(dict.fromkeys(_theme.moments([far.min(), far.max()])))
    return f"; {len(far):,} more expire far from these: {ends}"


def _mark(chart: go.Figure, moment: pd.Timestamp, label: str) -> go.Figure:
    """A thin line at a moment, which an axis shows by its own clock, as plotly does times."""
    line = {"color": _theme.INK, "width": 1, "dash": "dot"}
    place = moment.tz_localize(None).isoformat()
    chart.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, yref="paper", line=line)
    return chart.add_annotation(
        x=place, y=1, yref="paper", text=label, showarrow=False, yanchor="bottom"
    )


@drawn_from("release_rates")
def plot_release_rates(release_rates: pd.DataFrame) -> go.Figure:
    """How the mature waits of each group ended, as fractions of a bar.

    Parameters
    ----------
    release_rates : pandas.DataFrame or History
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
    'No wait is mature yet'
    """
    RELEASE_RATES.check(release_rates, RELEASE_RATES.names, "plot_release_rates")
    rows = release_rates.assign(_group=labels(release_rates, RELEASE_RATES.names))
    rows = rows[rows["mature"] > 0].iloc[::-1]
    if rows.empty:
        return _theme.say_empty("No wait is mature yet")
    chart = _theme.figure(barmode="stack", xaxis={"tickformat": ".0%", "range": [0, 1.005]})
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
    chart.update_layout(yaxis={**ticks, "showgrid": False}, height=170 + 36 * len(rows))
    mature, released = (int(rows[name].sum()) for name in ("mature", "released"))
    answer = f"{_theme.share(released, mature)} of the waits ended in time"
    about = (
        "How the mature waits ended: those that began so long ago that even the longest is over. "
        "Unknown: gone around its expiry, and nothing shows whether it was released"
    )
    return _theme.titled(chart, answer, about)


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
