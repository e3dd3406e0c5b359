"""Chart of `upload_plan`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import tenants
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import UPLOAD_PLAN

__all__ = ["plot_upload_plan"]


@drawn_from("upload_plan")
def plot_upload_plan(plan: pd.DataFrame) -> go.Figure:
    """How many pending resources are free after each upload of a plan, as a staircase.

    Blocks of several uploads that pay best together have a tinted background. Uploads that free
    nothing are crosses.

    Parameters
    ----------
    plan : pandas.DataFrame or History
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
    >>> plot_upload_plan(tables.UPLOAD_PLAN.empty()).layout.title.text
    'Nothing is missing that could be delivered'
    """
    UPLOAD_PLAN.check(plan, UPLOAD_PLAN.names, "plot_upload_plan")
    if plan.empty:
        return _theme.say_empty("Nothing is missing that could be delivered")
    chart = _theme.figure(
        xaxis=_theme.count_axis(len(plan), title="uploads, in order"),
        yaxis=_theme.count_axis(float(plan["running_total"].max())),
        showlegend=False,
    )
    for _, rows in plan.groupby("block"):
        if len(rows) > 1:
            first, last = int(rows["position"].iloc[0]), int(rows["position"].iloc[-1])
            # The edges separate consecutive blocks.
            edge = {"color": _theme.PALE, "width": 1}
            ground = {"fillcolor": _theme.GROUND, "line": edge, "layer": "below"}
            chart.add_vrect(x0=first - 1, x1=last, **ground)
    chart.add_scatter(
        x=[0, *plan["position"]],
        y=[0, *plan["running_total"]],
        line={"shape": "hv", "color": _theme.BLUE, "width": 2.5},
        mode="lines",
        hoverinfo="skip",
    )
    chart.add_scatter(
        x=plan["position"],
        y=plan["running_total"],
        mode="markers",
        marker={
            "color": [_theme.BLUE if pd.isna(why) else _theme.GREY for why in plan["reason"]],
            "symbol": ["circle" if pd.isna(why) else "x-thin-open" for why in plan["reason"]],
            "size": 8 if len(plan) <= 60 else 4,
        },
        hovertext=_hover(plan),
        hovertemplate=_theme.HOVER,
        cliponaxis=False,
    )
    _bound(chart, plan)
    uploads = "One upload frees" if len(plan) == 1 else f"{len(plan):,} uploads free"
    answer = f"{uploads} {_theme.counted(int(plan['running_total'].iloc[-1]), 'record')}"
    return _theme.titled(chart, answer, _about(plan))


def _about(plan: pd.DataFrame) -> str:
    """What is drawn, of what there is."""
    told = "Records that are free after each upload"
    if plan["max_running_total"].notna().any():
        told += "; dotted: what no other plan could exceed"
    if plan["block"].duplicated().any():
        told += "; tinted: uploads that pay together"
    return told


def _bound(chart: go.Figure, plan: pd.DataFrame) -> None:
    """The most that as many uploads could free, where that is known."""
    most = plan["max_running_total"]
    if most.notna().any():
        chart.add_scatter(
            x=[0, *plan["position"]],
            y=[0, *most.astype("Float64").to_numpy("float64", na_value=float("nan"))],
            mode="lines",
            line={"color": _theme.INK, "width": 1.2, "dash": "dot"},
            hoverinfo="skip",
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
