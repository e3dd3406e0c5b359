"""Chart of `release_rates`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels, largest
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import RELEASE_RATES

__all__ = ["plot_release_rates"]

_OUTCOMES = (
    ("released", "released", _theme.GREEN),
    ("unknown", "unknown", _theme.PALE),
    ("expired", "expired", _theme.VERMILION),
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
    rows = rows[rows["mature"] > 0]
    mature, released = (int(rows[name].sum()) for name in ("mature", "released"))
    rows, others = largest(rows, "mature")
    rows = rows.iloc[::-1]
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
    answer = f"{_theme.share(released, mature)} of the waits ended in time"
    about = (
        "How the mature waits ended: those that began so long ago that even the longest is over. "
        "Unknown: gone around its expiry, and nothing shows whether it was released"
    )
    about += others
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
