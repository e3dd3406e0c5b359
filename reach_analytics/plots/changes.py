"""Chart of `changes`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import numbered, tenants
from reach_analytics.plots._rows import check_top
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import CHANGES

__all__ = ["plot_changes"]

_COUNTS = {
    ("batches", "new"): ("new batches", _theme.BLUE),
    ("batches", "settled"): ("batches settled", _theme.GREEN),
    ("batches", "failed"): ("batches failed", _theme.VERMILION),
    ("records", "landed"): ("records landed", _theme.GREEN),
    ("records", "failed"): ("records failed", _theme.VERMILION),
    ("records", "waiting"): ("began to wait", _theme.SKY),
    ("records", "released"): ("released", _theme.GREEN),
    ("records", "expired"): ("expired", _theme.VERMILION),
    ("records", "unknown"): ("over, unknown how", _theme.GREY),
    ("dependencies", "new"): ("newly missing", _theme.ORANGE),
    ("dependencies", "arrived"): ("arrived", _theme.GREEN),
    ("dependencies", "gone"): ("missed no longer", _theme.GREY),
}
_JUDGED = {True: "more than chance", False: "no more than chance may do"}
_ROW, _GAP, _REST = 26, 74, 130  # pixels: a row, between two panels, above and below all
_LABEL = 22


@drawn_from("changes")
def plot_changes(changes: pd.DataFrame, *, top: int = 10) -> go.Figure:
    """What changed: counts, success before and after, and the bottlenecks that moved most.

    Success is a line from the earlier fraction (open) to the later one (filled), each with its
    95 % interval; coloured where it moved by more than chance.

    Parameters
    ----------
    changes : pandas.DataFrame or History
        As from ``history.changes()``.
    top : int
        How many tenants and how many bottlenecks to draw: those that changed most.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.
    ValueError
        If ``top`` is below 1.

    Examples
    --------
    >>> from reach_analytics import plot_changes
    >>> from reach_analytics import tables
    >>> plot_changes(tables.CHANGES.empty()).layout.title.text
    'Nothing changed'
    """
    CHANGES.check(changes, CHANGES.names, "plot_changes")
    check_top(top)
    counts, success, keys = _counts(changes), _success(changes, top), _bottlenecks(changes, top)
    panels = [
        (rows, draw, title)
        for rows, draw, title in (
            (counts, _draw_counts, "How many"),
            (success, _draw_success, "Success (open: before)"),
            (keys, _draw_bottlenecks, "More or fewer wait for it"),
        )
        if len(rows)
    ]
    if not panels:
        return _theme.say_empty("Nothing changed")
    heights = [_ROW * len(rows) for rows, _, _ in panels]
    whole = sum(heights) + _GAP * (len(panels) - 1)
    chart = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        vertical_spacing=_GAP / whole if len(panels) > 1 else 0,
        subplot_titles=[title for *_, title in panels],
    )
    chart.update_annotations(x=0, xanchor="left", font={"size": 14})
    chart.update_yaxes(autorange="reversed", type="category", showgrid=False)
    chart.update_xaxes(nticks=6)
    for row, (rows, draw, _) in enumerate(panels, 1):
        draw(chart, rows, row)
    chart.update_layout(template=_theme.TEMPLATE, height=whole + _REST, showlegend=False)
    return _theme.titled(chart, _answer(changes), above=34)


def _answer(changes: pd.DataFrame) -> str:
    """What became of how many records."""
    sizes = changes[changes["about"] == "records"].groupby("change")["size"].sum()
    told = [f"{sizes[name]:,.0f} {name}" for name in ("landed", "expired") if sizes.get(name, 0)]
    if told:
        return f"Records since then: {' and '.join(told)}"
    return "What changed since then"


def _counts(changes: pd.DataFrame) -> pd.DataFrame:
    """The counts of all tenants, in the order in which they are drawn."""
    sizes = changes.groupby(["about", "change"])["size"].sum()
    known = [(key, *shown) for key, shown in _COUNTS.items() if key in sizes.index]
    return pd.DataFrame(
        [(label, float(sizes[key]), colour) for key, label, colour in known],
        columns=["label", "size", "colour"],
    )


def _draw_counts(chart: go.Figure, rows: pd.DataFrame, row: int) -> None:
    chart.add_bar(
        x=rows["size"],
        y=rows["label"],
        orientation="h",
        marker={"color": rows["colour"]},
        text=[f"{size:,.0f}" for size in rows["size"]],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
        row=row,
        col=1,
    )
    ends = [0, 1.2 * rows["size"].max()]  # room for the numbers beside the bars
    chart.update_xaxes(showticklabels=False, showgrid=False, range=ends, row=row, col=1)


def _success(changes: pd.DataFrame, top: int) -> pd.DataFrame:
    """Success of all tenants and of those where it changed most."""
    rows = changes[
        (changes["about"] == "success") & changes[["before", "after"]].notna().any(axis=1)
    ]
    every, own = rows[rows["tenant_id"].isna()], rows[rows["tenant_id"].notna()]
    if len(own) < 2:
        own = own.head(0)  # the same as of all
    name = pd.Series(_theme.texts(tenants(own), _LABEL), index=own.index, dtype="str")
    shown = own.assign(label=numbered(name, own["tenant_id"]))
    order = shown.assign(_less=-shown["size"].abs()).sort_values(["_less", "tenant_id"])
    return pd.concat([every.assign(label="all tenants"), order.head(top)], ignore_index=True)


def _draw_success(chart: go.Figure, rows: pd.DataFrame, row: int) -> None:
    sure = rows["beyond_chance"].fillna(False).astype(bool)
    moved = [_theme.GREEN if size > 0 else _theme.VERMILION for size in rows["size"]]
    colours = [colour if told else _theme.GREY for colour, told in zip(moved, sure, strict=True)]
    for shift, end, symbol in ((-0.16, "before", "circle-open"), (0.16, "after", "circle")):
        chart.add_scatter(
            x=rows[end],
            y=[place + shift for place in range(len(rows))],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rows[f"{end}_high"] - rows[end],
                "arrayminus": rows[end] - rows[f"{end}_low"],
                "color": _theme.GREY,
                "thickness": 1.2,
                "width": 3,
            },
            mode="markers",
            marker={"color": colours, "symbol": symbol, "size": 10, "line": {"width": 2}},
            hovertext=_of_success(rows),
            hovertemplate=_theme.HOVER,
            cliponaxis=False,
            row=row,
            col=1,
        )
    chart.update_xaxes(tickformat=".0%", row=row, col=1)
    place = {"tickvals": list(range(len(rows))), "ticktext": rows["label"].tolist()}
    chart.update_yaxes(
        type="linear", range=[len(rows) - 0.5, -0.5], autorange=False, **place, row=row, col=1
    )


def _of_success(rows: pd.DataFrame) -> list[str]:
    told = []
    for one in rows.to_dict("records"):
        judged = "too few batches to tell"
        if not pd.isna(one["beyond_chance"]):
            judged = f"{_JUDGED[bool(one['beyond_chance'])]} (p = {one['p_value']:.2g})"
        ends = [
            f"{end}: {fraction} ({low}–{high})"
            for end in ("before", "after")
            for fraction, low, high in [
                _theme.percents([one[f"{end}{part}"] for part in ("", "_low", "_high")])
            ]
        ]
        told.append("<br>".join([f"<b>{one['label']}</b>", *ends, judged]))
    return told


def _bottlenecks(changes: pd.DataFrame, top: int) -> pd.DataFrame:
    """The keys that many more, or fewer, wait for than before."""
    rows = changes[changes["about"] == "bottleneck"]
    most = rows.groupby("change").head(-(-top // 2)).sort_values("size", ascending=False)
    shown = pd.Series(_theme.texts(most["external_id"], _LABEL), index=most.index, dtype="str")
    own = ["tenant_id", "schema_definition_id", "external_id"]
    return most.assign(label=numbered(shown, most.groupby(own, dropna=False).ngroup()))


def _draw_bottlenecks(chart: go.Figure, rows: pd.DataFrame, row: int) -> None:
    chart.add_bar(
        x=rows["size"],
        y=rows["label"],
        orientation="h",
        marker={"color": [_theme.VERMILION if size > 0 else _theme.GREEN for size in rows["size"]]},
        text=[f"{size:+,.0f}" for size in rows["size"]],
        textposition="outside",
        cliponaxis=False,
        hovertext=[
            f"<b>{_theme.text(one.external_id)}</b><br>{_theme.text(one.schema_name)}<br>"
            f"tenant {_theme.text(tenant)}<br>{one.before:,.0f} waited for it, now {one.after:,.0f}"
            for one, tenant in zip(rows.itertuples(), tenants(rows), strict=True)
        ],
        hovertemplate=_theme.HOVER,
        row=row,
        col=1,
    )
    ends = [min(0, rows["size"].min()), max(0, rows["size"].max())]
    room = 0.18 * (ends[1] - ends[0])  # for the numbers beside the bars
    chart.update_xaxes(
        zeroline=True,
        zerolinecolor=_theme.GREY,
        range=[end and end + (room if end > 0 else -room) for end in ends],
        row=row,
        col=1,
    )
