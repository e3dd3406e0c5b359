"""Colours, fonts and number formats of every figure, and the escaping of foreign text."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

# Okabe and Ito's palette: distinguishable with the common colour vision deficiencies too.
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY, BLACK = "#cc79a7", "#56b4e9", "#8a8f98", "#1f2933"
PALE = "#d9dee5"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BLACK, GREY)

STATUS = {
    "success": GREEN,
    "partial_success": ORANGE,
    "failure": VERMILION,
    "processing": SKY,
}
UNKNOWN = GREY
UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"

HOVER = "%{hovertext}<extra></extra>"  # a point's own text, without the name of its trace

TEMPLATE = go.layout.Template(
    layout={
        "height": 420,
        "font": {"family": FONT, "size": 13, "color": BLACK},
        "title": {"x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 17}},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": SERIES,
        "margin": {"l": 60, "r": 30, "t": 56, "b": 90},
        "hoverlabel": {"bgcolor": "white", "font": {"family": FONT, "size": 12}},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0.01,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
        },
        "xaxis": {"gridcolor": "#eceff3", "linecolor": PALE, "zeroline": False, "automargin": True},
        "yaxis": {
            "gridcolor": "#eceff3",
            "linecolor": PALE,
            "zeroline": False,
            "automargin": True,
            "ticklabelstandoff": 6,
        },
    }
)


def figure(title: str, **layout: Any) -> go.Figure:
    """An empty figure in this package's style."""
    return go.Figure(layout={"template": TEMPLATE, "title": {"text": title}, **layout})


def say_empty(chart: go.Figure, message: str) -> go.Figure:
    """The figure with its axes and a note on why it is empty."""
    return chart.add_annotation(
        text=message,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"size": 15, "color": GREY},
    )


def say_hidden(chart: go.Figure, what: str, above: int = 24) -> go.Figure:
    """The figure with a note on what it leaves out, ``above`` pixels over its top right."""
    place = {"x": 1, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "right", "yshift": above}
    style = {"showarrow": False, "font": {"color": GREY}, "align": "right"}
    return chart.add_annotation(text=f"not drawn: {what}", **place, **style)


def text(value: object, limit: int = 48) -> str:
    """Foreign text for a label or hover box: shortened in the middle, control characters and
    markup made harmless (plotly draws a subset of HTML)."""
    if pd.isna(value):  # type: ignore[call-overload]
        return "–"
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    if len(plain) > limit:
        plain = f"{plain[: limit - 12]}…{plain[-11:]}"
    return html.escape(plain, quote=False)  # plotly does not decode the entities of quotes


def texts(values: Iterable[object], limit: int = 48) -> list[str]:
    """`text` of each."""
    return [text(value, limit) for value in values]


def faint(colour: str) -> str:
    """A colour as a tint to lie under lines."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def time_unit(longest: pd.Timedelta, min_units: float = 2) -> tuple[str, float]:
    """The largest unit, and its seconds, of which ``longest`` has at least ``min_units``."""
    seconds = longest.total_seconds()
    return next((pair for pair in UNITS if seconds >= min_units * pair[1]), UNITS[-1])


def status_colour(status: object) -> str:
    """The colour of a status; grey for an unknown one."""
    return STATUS.get(str(status), UNKNOWN)


def counts(values: Iterable[object]) -> list[str]:
    """Counts with thousands separators; a dash for null."""
    return ["–" if pd.isna(v) else f"{int(v):,}" for v in values]  # type: ignore[call-overload]


def counted(number: int, singular: str, plural: str = "") -> str:
    """A count with its noun."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def ranges(lows: Iterable[object], highs: Iterable[object]) -> list[str]:
    """Counts as ranges, as one number where both ends are equal; a dash for null."""
    both = zip(counts(lows), counts(highs), strict=True)
    return [low if low == high else f"{low}–{high}" for low, high in both]


def percents(values: Iterable[float]) -> list[str]:
    """Fractions as percentages; a dash for null."""
    return ["–" if pd.isna(value) else f"{value:.1%}" for value in values]


def moments(values: Iterable[Any]) -> list[str]:
    """Times to the minute, with their zone; a dash for null."""
    return ["–" if pd.isna(value) else f"{value:%Y-%m-%d %H:%M %Z}" for value in values]
