"""Chart of `upload_plan`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import tenants
from reach_analytics.tables import UPLOAD_PLAN

__all__ = ["plot_upload_plan"]


def plot_upload_plan(plan: pd.DataFrame) -> go.Figure:
    """How many pending resources are free after each upload of a plan, as a staircase.

    Blocks of several uploads that pay best together have a tinted background. Uploads that free
    nothing are crosses.

    Parameters
    ----------
    plan : pandas.DataFrame
        As from ``history.upload_plan()``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_upload_plan
    >>> from reach_analytics import tables
    >>> plot_upload_plan(tables.UPLOAD_PLAN.empty()).layout.yaxis.title.text
    'pending resources freed'
    """
    UPLOAD_PLAN.check(plan, UPLOAD_PLAN.names, "plot_upload_plan")
    chart = _theme.figure(
        "Upload plan",
        xaxis={"title": "uploads, in order", "rangemode": "tozero", "tickformat": ",d"},
        yaxis={"title": "pending resources freed", "rangemode": "tozero"},
        showlegend=False,
    )
    if plan.empty:
        return _theme.say_empty(chart, "Nothing is missing that could be delivered")
    for _, rows in plan.groupby("block"):
        if len(rows) > 1:
            first, last = int(rows["position"].iloc[0]), int(rows["position"].iloc[-1])
            # The white edge separates consecutive blocks.
            edge = {"color": "white", "width": 4}
            ground = {"fillcolor": _theme.PALE, "opacity": 0.35, "line": edge, "layer": "below"}
            chart.add_vrect(x0=first - 1, x1=last, **ground)
    chart.add_scatter(
        x=[0, *plan["position"]],
        y=[0, *plan["running_total"]],
        line={"shape": "hv", "color": _theme.BLUE, "width": 2.5},
        mode="lines",
        hoverinfo="skip",
    )
    return chart.add_scatter(
        x=plan["position"],
        y=plan["running_total"],
        mode="markers+text" if len(plan) <= 15 else "markers",
        marker={
            "color": [_theme.BLUE if pd.isna(why) else _theme.GREY for why in plan["reason"]],
            "symbol": ["circle" if pd.isna(why) else "x-thin-open" for why in plan["reason"]],
            "size": 8 if len(plan) <= 60 else 4,
        },
        text=_theme.texts(plan["external_id"], 24),
        textposition="bottom right",
        textfont={"size": 11, "color": _theme.GREY},
        hovertext=_hover(plan),
        hovertemplate=_theme.HOVER,
        cliponaxis=False,
    )


def _hover(plan: pd.DataFrame) -> list[str]:
    parts = [
        [f"<b>{key}</b>" for key in _theme.texts(plan["external_id"])],
        _theme.texts(plan["schema_name"]),
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(plan))],
        [f"block {number}, which frees {n:,}" for number, n in _pairs(plan)],
        [f"frees {count}" for count in _theme.counts(plan["frees"])],
        [f"{count} freed so far" for count in _theme.counts(plan["running_total"])],
        [f"needed by {when}" for when in _theme.moments(plan["needed_by"])],
    ]
    if plan["reason"].notna().any():
        why = {"too late": "comes too late", "deadlock": "waits on a deadlock"}
        parts.append([f"<b>{why[r]}</b>" if r in why else "" for r in plan["reason"]])
    if plan["deliver_at"].notna().any():
        parts.append([f"delivered {when}" for when in _theme.moments(plan["deliver_at"])])
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]


def _pairs(plan: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(plan["block"].tolist(), plan["block_frees"].tolist(), strict=True))
