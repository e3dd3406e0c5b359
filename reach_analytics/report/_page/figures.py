"""Figures as parts of the page: their words as text, their drawing as data."""

from __future__ import annotations

import json
from html import unescape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from reach_analytics.plots import _theme

__all__ = ["PageFigure", "looks", "page_figure", "script_safe"]

_TOP = 16  # pixels over a chart whose title stands outside of it


class PageFigure(NamedTuple):
    """A chart of the page: its anchor, its answer, what it shows, its height in pixels, below which
    width it has to be scrolled (0 if never), and its data as JSON; without data where there is
    nothing to draw."""

    name: str
    answer: str
    about: str
    height: int
    width: int
    data: str


def page_figure(name: str, figure: go.Figure) -> PageFigure:
    """A figure without its title and look, which the page brings."""
    words = figure.layout.meta
    panels = any(
        note.yref == "paper" and note.y and note.y >= 1 for note in figure.layout.annotations
    )
    top = _TOP + 34 * panels
    height = int(figure.layout.height or 420) - int(figure.layout.margin.t or 0) + top
    plain = figure.to_plotly_json()
    layout = {k: v for k, v in plain["layout"].items() if k not in ("template", "title", "meta")}
    layout |= {"height": height, "margin": {"l": 8, "r": 12, **layout.get("margin", {}), "t": top}}
    drawn = {"data": plain["data"], "layout": layout}
    bare = go.Figure(drawn).update_layout(template=go.layout.Template())  # the page has its own
    data = script_safe(bare.to_json()) if plain["data"] else ""
    answer, about = (unescape(words[part]) for part in ("answer", "about"))
    return PageFigure(name, answer, about, height, words.get("least_width", 0), data)


def looks() -> str:
    """The templates of a light and a dark page, on whose ground the figures stand."""
    found: dict[str, Any] = {}
    for look in ("light", "dark"):
        template = _theme.TEMPLATES[f"reach_{look}"].to_plotly_json()
        template["layout"] |= {"paper_bgcolor": "rgba(0,0,0,0)"}
        found[look] = template
    return script_safe(json.dumps(found))


def script_safe(text: str) -> str:
    """JSON that no text in it can end, wherever a page has it between script tags."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
