"""Colours, fonts, titles and number formats of every figure, and the escaping of foreign text.

Figures stand on transparent paper, and what is written on them has an ink that can be read on white
and on black. The templates ``reach_light`` and ``reach_dark`` have stronger inks for one of them.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io

# Okabe and Ito's palette, without its yellow and black: distinguishable with the common colour
# vision deficiencies, and visible on white and on black.
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, OLIVE, GREY = "#cc79a7", "#56b4e9", "#999933", "#8a8f98"
INK = "#74767a"  # a contrast of 4.5 on white, and on black
PALE = "rgba(138,143,152,0.42)"
GROUND = "rgba(138,143,152,0.16)"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, OLIVE, GREY)

STATUS = {
    "success": GREEN,
    "partial_success": ORANGE,
    "failure": VERMILION,
    "processing": SKY,
}
UNKNOWN = GREY
UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

HOVER = "%{hovertext}<extra></extra>"  # a point's own text, without the name of its trace

_TITLE, _ABOUT = 50, 64  # characters of a line of title and subtitle in 480 pixels
_LINE, _SUBLINE = 22, 17  # pixels of such a line
_LEGEND_LINE = 440  # pixels
_FEW = 8  # up to such counts, each has its tick


def _template(ink: str, soft: str, paper: str, hover: str) -> go.layout.Template:
    axis = {
        "gridcolor": "rgba(138,143,152,0.25)",
        "linecolor": "rgba(138,143,152,0.5)",
        "tickcolor": "rgba(138,143,152,0.5)",
        "zeroline": False,
        "zerolinecolor": "rgba(138,143,152,0.5)",
        "automargin": True,
        "title": {"font": {"size": 13}, "standoff": 12},
    }
    return go.layout.Template(
        layout={
            "height": 420,
            "font": {"family": FONT, "size": 13, "color": soft},
            "title": {
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"l": 12, "t": 14},
                "font": {"size": 17, "color": ink},
                "subtitle": {"font": {"size": 13, "color": soft}},
            },
            "paper_bgcolor": paper,
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": SERIES,
            "margin": {"l": 40, "r": 24, "t": 56, "b": 44},
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": hover,
                "align": "left",
                "font": {"family": FONT, "size": 12, "color": ink if hover != "white" else "#222"},
            },
            "legend": {
                "orientation": "h",
                "yref": "container",
                "y": 0,
                "yanchor": "bottom",
                "xref": "container",
                "x": 0,
                "xanchor": "left",
                "traceorder": "normal",
                "bgcolor": "rgba(0,0,0,0)",
            },
            "annotationdefaults": {"font": {"color": soft}},
            "xaxis": {**axis, "ticklabelstandoff": 4},
            "yaxis": {**axis, "ticklabelstandoff": 6},
        }
    )


TEMPLATES = {
    "reach": _template(INK, INK, "rgba(0,0,0,0)", "white"),
    "reach_light": _template("#1b2430", "#56606d", "white", "white"),
    "reach_dark": _template("#eef1f5", "#aab2bd", "#12161c", "#242b35"),
}
for _name, _look in TEMPLATES.items():
    plotly.io.templates[_name] = _look
TEMPLATE = TEMPLATES["reach"]


def figure(**layout: Any) -> go.Figure:
    """An empty figure in this package's style."""
    return go.Figure(layout={"template": TEMPLATE, **layout})


def count_axis(most: float, **axis: Any) -> dict[str, Any]:
    """An axis of counts from 0 up to ``most``, without fractions among its ticks."""
    whole = {"dtick": 1} if most < _FEW else {}
    return {"tickformat": ",d", "rangemode": "tozero", **whole, **axis}


def titled(chart: go.Figure, answer: str, about: str = "", *, above: int = 0) -> go.Figure:
    """The figure under its answer, with what it shows below that, and room for both and for the
    legend; ``above`` more pixels for titles of panels.

    Both are plain text. Without line breaks, and escaped, they are in ``layout.meta``, for pages
    that set them by themselves.
    """
    title, lines = _broken(answer, _TITLE)
    subtitle, sublines = _broken(about, _ABOUT)
    room = {"t": 34 + _LINE * lines + _SUBLINE * sublines + above, "b": 44 + _legend(chart)}
    if chart.layout.xaxis.title.text:
        room["b"] += 16
    return chart.update_layout(
        title={
            "text": title,
            "subtitle": {"text": subtitle},
            "pad": {"l": 12, "t": 6 + 8 * lines},  # more lines reach higher
        },
        meta={"answer": html.escape(answer), "about": html.escape(about)},
        margin=room,
    )


def _broken(words: str, width: int) -> tuple[str, int]:
    """The text with line breaks, and how many lines it has."""
    lines = [html.escape(line, quote=False) for line in textwrap.wrap(words, width)]
    return "<br>".join(lines), len(lines)


def _legend(chart: go.Figure) -> int:
    """The height that the legend needs in a narrow figure."""
    shown = [trace for trace in chart.data if trace.showlegend is not False and trace.name]
    if chart.layout.showlegend is False or (len(shown) < 2 and not chart.layout.showlegend):
        return 0
    wide = sum(len(html.unescape(trace.name)) * 7 + 52 for trace in shown)
    return 14 + 20 * -(-wide // _LEGEND_LINE)


def say_empty(message: str, about: str = "") -> go.Figure:
    """A small figure that says why there is nothing to draw."""
    hidden = {"visible": False}
    chart = figure(xaxis=hidden, yaxis=hidden)
    return titled(chart, message, about).update_layout(height=110, margin_b=0)


def plain(value: object, limit: int = 48) -> str:
    """Foreign text, shortened in the middle, with control characters made harmless."""
    if pd.isna(value):  # type: ignore[call-overload]
        return "–"
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return f"{shown[: limit - 12]}…{shown[-11:]}" if len(shown) > limit else shown


def text(value: object, limit: int = 48) -> str:
    """The same for a label or hover box, with markup made harmless (plotly draws a subset of
    HTML)."""
    return html.escape(plain(value, limit), quote=False)  # plotly decodes no entities of quotes


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


def share(part: float, whole: float) -> str:
    """A part of a whole as a percentage, of which only all and nothing are round; a dash where
    there is no whole."""
    if not whole:
        return "–"
    if part in (0, whole):
        return "100%" if part else "0%"
    return f"{min(max(part / whole, 0.001), 0.999):.1%}"


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
