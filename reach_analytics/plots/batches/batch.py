"""Charts of one batch's life and of what is odd about the numbers."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._rows import hover, row_labels, stacked
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import OBSERVATIONS, QUALITY

__all__ = ["plot_batch", "plot_quality"]

_COUNTS = (
    ("successful_records", "succeeded", _theme.GREEN),
    ("pending_records", "wait", _theme.SKY),
    ("failed_records", "failed", _theme.VERMILION),
)
_NEEDED = ["tenant_id", "batch_id", "sent_at", "ok", "status", "total_records"]
_NEEDED += [name for name, *_ in _COUNTS]


def plot_batch(observations: pd.DataFrame) -> go.Figure:
    """The life of one batch: what each observation counts, one upon the other.

    Parameters
    ----------
    observations : pandas.DataFrame
        As from ``history.observations()``, of a single batch, as
        ``observations[observations["batch_id"] == "…"]``. Failed ones are crosses.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.
    ValueError
        If there are observations of several batches.

    Examples
    --------
    >>> from reach_analytics import plot_batch
    >>> from reach_analytics import tables
    >>> plot_batch(tables.OBSERVATIONS.empty()).layout.title.text
    'It was never observed'
    """
    OBSERVATIONS.check(observations, _NEEDED, "plot_batch")
    several = len(observations[["tenant_id", "batch_id"]].drop_duplicates())
    if several > 1:
        raise ValueError(f"plot_batch draws one batch, found observations of {several:,}")
    rows = observations[observations["sent_at"].notna()].sort_values("sent_at", kind="stable")
    good = rows[rows["ok"].fillna(False).astype(bool)]
    if good.empty:
        return _theme.say_empty("It was never observed")
    most = float(good[[name for name, *_ in _COUNTS]].sum(axis=1).max())
    axis = _theme.count_axis(most)
    chart = _theme.figure(xaxis={"type": "date"}, yaxis=axis, showlegend=True)
    told = hover(
        _theme.moments(good["sent_at"]),
        _theme.texts(good["status"]),
        *(
            [f"{label} {count}" for count in _theme.counts(good[name])]
            for name, label, _ in _COUNTS
        ),
        [f"of {count}" for count in _theme.counts(good["total_records"])],
    )
    for name, label, colour in _COUNTS:
        chart.add_scatter(
            x=good["sent_at"],
            y=good[name].astype("Float64").fillna(0.0).astype(float),
            name=label,
            mode="lines+markers",
            stackgroup="all",
            line={"color": colour, "width": 1, "shape": "hv"},
            marker={"size": 5, "color": colour},
            hovertext=told,
            hovertemplate=_theme.HOVER,
        )
    failed = rows[~rows["ok"].fillna(False).astype(bool)]
    if len(failed):
        chart.add_scatter(
            x=failed["sent_at"],
            y=[0] * len(failed),
            name="observation failed",
            mode="markers",
            marker={"symbol": "x-thin-open", "size": 9, "color": _theme.VERMILION},
            hovertext=_theme.moments(failed["sent_at"]),
            hovertemplate=_theme.HOVER,
            cliponaxis=False,
        )
    last = good.iloc[-1]
    sums = [(last[name], label) for name, label, _ in _COUNTS if pd.notna(last[name])]
    parts = [f"{int(count):,} {label}" for count, label in sums if count > 0]
    status = _theme.plain(last["status"])
    answer = f"{status}: {', '.join(parts)}" if parts else status
    about = f"Records of batch {_theme.plain(last['batch_id'])} at each observation"
    return _theme.titled(chart, answer, about)


@drawn_from("quality")
def plot_quality(quality: pd.DataFrame) -> go.Figure:
    """What is odd about the numbers that the API reported: how often each finding occurs.

    Parameters
    ----------
    quality : pandas.DataFrame or History
        As from ``history.quality()``.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import plot_quality
    >>> from reach_analytics import tables
    >>> plot_quality(tables.QUALITY.empty()).layout.title.text
    'Nothing is odd about the numbers'
    """
    QUALITY.check(quality, QUALITY.names, "plot_quality")
    own = quality[quality["batch_id"].notna()]
    counts = own["finding"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if counts.empty:
        return _theme.say_empty("Nothing is odd about the numbers")
    batches = own.drop_duplicates(["finding", "tenant_id", "batch_id"])["finding"].value_counts()
    names = counts.index.to_series().str.replace("_", " ").reset_index(drop=True)
    told = [
        f"<b>{_theme.text(name)}</b><br>{count:,} times, in {batches[key]:,} batches"
        for name, count, key in zip(names, counts, counts.index, strict=True)
    ]
    every = counts.reset_index(drop=True)
    chart = stacked(row_labels(names), [("findings", _theme.ORANGE, every)], told)
    odd = len(own.drop_duplicates(["tenant_id", "batch_id"]))
    answer = f"{_theme.counted(odd, 'batch has', 'batches have')} numbers that do not fit"
    return _theme.titled(chart.update_layout(showlegend=False), answer, "How often, by finding")
