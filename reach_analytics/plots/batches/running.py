"""Charts of what runs: `eta` and `throughput`."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics._time import in_words
from reach_analytics.plots import _theme
from reach_analytics.plots._labels import labels, tenants
from reach_analytics.plots._rows import check_top, hover, row_axis, row_labels
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import ETA, STUCK, THROUGHPUT

__all__ = ["plot_running", "plot_throughput"]

_COLOURS = {"stuck": _theme.VERMILION, "cannot tell": _theme.ORANGE}
_POINTS = 20_000


@drawn_from("eta", also={"stuck": "stuck"})
def plot_running(
    eta: pd.DataFrame, *, stuck: pd.DataFrame | None = None, top: int = 20
) -> go.Figure:
    """How far each running batch is, when it will be through, and which are stuck.

    Parameters
    ----------
    eta : pandas.DataFrame or History
        As from ``history.eta()``.
    stuck : pandas.DataFrame, optional
        As from ``history.stuck()``: batches that are stuck are red, those of which nobody can tell
        orange.
    top : int
        How many batches to draw, of those with the most records.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If a frame lacks a documented column.
    ValueError
        If ``top`` is below 1.

    Examples
    --------
    >>> from reach_analytics import plot_running
    >>> from reach_analytics import tables
    >>> plot_running(tables.ETA.empty()).layout.title.text
    'Nothing runs'
    """
    ETA.check(eta, ETA.names, "plot_running")
    check_top(top)
    if stuck is not None:
        STUCK.check(stuck, ["tenant_id", "batch_id", "verdict"], "plot_running")
    if eta.empty:
        return _theme.say_empty("Nothing runs")
    verdicts = _verdicts(eta, stuck)
    rows = eta.assign(verdict=verdicts).sort_values(
        ["total_records", "tenant_id", "batch_id"], ascending=[False, True, True]
    )
    rows = rows.head(top).reset_index(drop=True)
    share = rows["processed_records"] / rows["total_records"].where(rows["total_records"] > 0)
    names = rows["schema_name"].fillna("batch").astype("str") + " " + rows["batch_id"].str[:8]
    chart = _theme.figure(
        xaxis={"tickformat": ".0%", "range": [0, 1.02]},
        yaxis=row_axis(row_labels(names, rows.groupby(["tenant_id", "batch_id"]).ngroup())),
        height=170 + 30 * len(rows),
        showlegend=False,
    )
    chart.add_bar(
        x=share.astype("Float64").fillna(0.0).astype(float),
        y=list(range(len(rows))),
        orientation="h",
        marker={"color": [_COLOURS.get(verdict, _theme.BLUE) for verdict in rows["verdict"]]},
        text=_when(rows),
        textposition="auto",
        insidetextanchor="start",
        hovertext=_of_running(rows, share),
        hovertemplate=_theme.HOVER,
    )
    count = int((verdicts == "stuck").sum())
    answer = _theme.counted(len(eta), "batch runs", "batches run")
    answer += f", {count:,} of them {'is' if count == 1 else 'are'} stuck" if count else ""
    about = "Fraction processed, and when all will be, at the pace of the last observations"
    if len(eta) > len(rows):
        about += f"; the largest {len(rows):,} of {len(eta):,}"
    return _theme.titled(chart, answer, about)


def _verdicts(eta: pd.DataFrame, stuck: pd.DataFrame | None) -> pd.Series:
    """What `stuck` says of each batch; empty where it says nothing."""
    if stuck is None or stuck.empty:
        return pd.Series("", index=eta.index, dtype="str")
    known = stuck.drop_duplicates(["tenant_id", "batch_id"]).set_index(["tenant_id", "batch_id"])
    key = pd.MultiIndex.from_frame(eta[["tenant_id", "batch_id"]])
    return pd.Series(
        known["verdict"].reindex(key).fillna("").to_numpy(), index=eta.index, dtype="str"
    )


def _when(rows: pd.DataFrame) -> list[str]:
    """When each will be through, or why nobody knows."""
    told = zip(rows["eta"], rows["last_observed_at"], rows["reason"], rows["verdict"], strict=True)
    return [
        "stuck"
        if verdict == "stuck"
        else _theme.text(reason, 40)
        if pd.isna(at)
        else f"in {in_words(max(at - seen, pd.Timedelta(0)))}"
        for at, seen, reason, verdict in told
    ]


def _of_running(rows: pd.DataFrame, share: pd.Series) -> list[str]:
    paces = ["" if pd.isna(v) else f"{v:,.1f} records a second" for v in rows["records_per_second"]]
    ends = zip(_theme.moments(rows["eta_low"]), _theme.moments(rows["eta_high"]), strict=True)
    return hover(
        [f"<b>{batch}</b>" for batch in _theme.texts(rows["batch_id"])],
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(rows))],
        _theme.texts(rows["schema_name"]),
        [
            f"{done} of {every} records"
            for done, every in zip(
                _theme.counts(rows["processed_records"]),
                _theme.counts(rows["total_records"]),
                strict=True,
            )
        ],
        paces,
        [f"through at {at}" for at in _theme.moments(rows["eta"])],
        [f"between {low} and {high}" for low, high in ends],
        [f"by its silence: {verdict}" if verdict else "" for verdict in rows["verdict"]],
    )


@drawn_from("throughput")
def plot_throughput(throughput: pd.DataFrame) -> go.Figure:
    """How fast batches are processed: a point for each interval in which one ran.

    Parameters
    ----------
    throughput : pandas.DataFrame or History
        As from ``history.throughput()``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_throughput
    >>> from reach_analytics import tables
    >>> plot_throughput(tables.THROUGHPUT.empty()).layout.title.text
    'No batch was seen running twice'
    """
    THROUGHPUT.check(throughput, THROUGHPUT.names, "plot_throughput")
    known = (
        throughput["running"].fillna(False).astype(bool) & throughput["records_per_second"].notna()
    )
    rows = throughput[known]
    if rows.empty:
        return _theme.say_empty("No batch was seen running twice")
    rate = (rows["records"].sum() / rows["seconds"].sum()) if rows["seconds"].sum() else 0.0
    answer = f"Batches that run process {rate:,.1f} records a second"
    about = "Each point: a batch between two observations, at the later one"
    if len(rows) > _POINTS:
        about += f"; {_POINTS:,} of {len(rows):,}, evenly chosen"
        rows = rows.iloc[np.linspace(0, len(rows) - 1, _POINTS).astype(int)]
    names = labels(rows[["schema_name"]], ())
    several = names.nunique() > 1
    chart = _theme.figure(xaxis={"type": "date"}, yaxis={"rangemode": "tozero"}, showlegend=several)
    for (name, own), colour in zip(rows.groupby(names), cycle(_theme.SERIES), strict=False):
        chart.add_scatter(
            x=own["to_at"],
            y=own["records_per_second"],
            mode="markers",
            name=str(name),
            marker={"color": colour, "size": 7, "opacity": 0.7},
            hovertext=_of_interval(own),
            hovertemplate=_theme.HOVER,
        )
    return _theme.titled(chart, answer, about)


def _of_interval(rows: pd.DataFrame) -> list[str]:
    return hover(
        [f"<b>{batch}</b>" for batch in _theme.texts(rows["batch_id"])],
        [f"tenant {tenant}" for tenant in _theme.texts(tenants(rows))],
        [f"from {at}" for at in _theme.moments(rows["from_at"])],
        [f"to {at}" for at in _theme.moments(rows["to_at"])],
        [f"{count} records" for count in _theme.counts(rows["records"])],
        [f"{rate:,.1f} a second" for rate in rows["records_per_second"]],
    )
