"""Charts of which each row is something with a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import numbered

__all__ = ["check_top", "hover", "row_axis", "row_labels", "stacked"]

_LABEL = 26
_ROW = 30  # pixels


def check_top(top: int) -> None:
    """Refuse to draw fewer than one."""
    if top < 1:
        raise ValueError(f"top must be at least 1, found {top}")


def row_labels(names: pd.Series, group: pd.Series | None = None) -> list[str]:
    """Labels of rows, shortened, none like another of a different group."""
    shown = pd.Series(_theme.texts(names, _LABEL), dtype="str")
    own = pd.Series(range(len(shown))) if group is None else group.reset_index(drop=True)
    return numbered(shown, own).tolist()


def row_axis(labels: Sequence[str]) -> dict[str, Any]:
    """The axis of rows, the first on top."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": list(labels),
        "range": [len(labels) - 0.5, -0.5],
        "showgrid": False,
    }


def stacked(
    labels: Sequence[str],
    parts: Sequence[tuple[str, str, pd.Series]],
    hovertext: Sequence[str],
) -> go.Figure:
    """Bars of counts, of the (name, colour, counts) that are not all zero."""
    most = float(pd.concat([counts for *_, counts in parts], axis=1).sum(axis=1).max())
    chart = _theme.figure(barmode="stack", xaxis=_theme.count_axis(most))
    for name, colour, counts in parts:
        if counts.any():
            chart.add_bar(
                x=counts.tolist(),
                y=list(range(len(labels))),
                orientation="h",
                name=name,
                marker={"color": colour},
                hovertext=list(hovertext),
                hovertemplate=_theme.HOVER,
            )
    return chart.update_layout(yaxis=row_axis(labels), height=170 + _ROW * len(labels))


def hover(*lines: Sequence[str]) -> list[str]:
    """Hover boxes from their lines, each a text per row; empty texts are left out."""
    return ["<br>".join(filter(None, own)) for own in zip(*lines, strict=True)]
