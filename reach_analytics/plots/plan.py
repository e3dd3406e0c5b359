"""Chart of `upload_plan`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.columns import UPLOAD_PLAN
from reach_analytics.plots import theme


def plot_upload_plan(plan: pd.DataFrame) -> go.Figure:
    """How many pending resources are free after each upload of a plan, as a staircase.

    Uploads that pay best together, a block of several, stand on a tinted ground. Those that free
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
    >>> from reach_analytics import columns, plot_upload_plan
    >>> plot_upload_plan(columns.UPLOAD_PLAN.empty()).layout.yaxis.title.text
    'pending resources freed'
    """
    UPLOAD_PLAN.require(plan, UPLOAD_PLAN.names, "plot_upload_plan")
    chart = theme.figure(
        "Upload plan",
        xaxis={"title": "uploads, in order", "rangemode": "tozero", "tickformat": ",d"},
        yaxis={"title": "pending resources freed", "rangemode": "tozero"},
        showlegend=False,
    )
    if plan.empty:
        return theme.say_empty(chart, "Nothing is missing that could be delivered")
    for _, rows in plan.groupby("block"):
        if len(rows) > 1:
            first, last = int(rows["position"].iloc[0]), int(rows["position"].iloc[-1])
            # The white edge tells two blocks apart that follow each other.
            edge = {"color": "white", "width": 4}
            ground = {"fillcolor": theme.PALE, "opacity": 0.35, "line": edge, "layer": "below"}
            chart.add_vrect(x0=first - 1, x1=last, **ground)
    chart.add_scatter(
        x=[0, *plan["position"]],
        y=[0, *plan["running_total"]],
        line={"shape": "hv", "color": theme.BLUE, "width": 2.5},
        mode="lines",
        hoverinfo="skip",
    )
    return chart.add_scatter(
        x=plan["position"],
        y=plan["running_total"],
        mode="markers+text" if len(plan) <= 15 else "markers",
        marker={
            "color": [theme.BLUE if pd.isna(why) else theme.GREY for why in plan["reason"]],
            "symbol": ["circle" if pd.isna(why) else "x-thin-open" for why in plan["reason"]],
            "size": 8 if len(plan) <= 60 else 4,
        },
        text=theme.texts(plan["external_id"], 24),
        textposition="bottom right",
        textfont={"size": 11, "color": theme.GREY},
        hovertext=_hover(plan),
        hovertemplate="%{hovertext}<extra></extra>",
        cliponaxis=False,
    )


def _hover(plan: pd.DataFrame) -> list[str]:
    parts = [
        [f"<b>{key}</b>" for key in theme.texts(plan["external_id"])],
        theme.texts(plan["schema_name"]),
        [f"tenant {tenant}" for tenant in theme.texts(plan["tenant_id"])],
        [f"block {number}, which frees {n:,}" for number, n in _pairs(plan)],
        [f"frees {count}" for count in theme.counts(plan["frees"])],
        [f"{count} freed so far" for count in theme.counts(plan["running_total"])],
        [f"needed by {when}" for when in theme.moments(plan["needed_by"])],
    ]
    if plan["reason"].notna().any():
        why = {"too late": "comes too late", "deadlock": "waits on a deadlock"}
        parts.append([f"<b>{why[r]}</b>" if r in why else "" for r in plan["reason"]])
    if plan["deliver_at"].notna().any():
        parts.append([f"delivered {when}" for when in theme.moments(plan["deliver_at"])])
    return ["<br>".join(lines) for lines in zip(*parts, strict=True)]


def _pairs(plan: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(plan["block"].tolist(), plan["block_frees"].tolist(), strict=True))
