"""Chart of `lost`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._labels import numbered
from reach_analytics.tables import LOST

__all__ = ["plot_lost"]

_HOW = (
    ("expired", "expired", _theme.VERMILION),
    ("failed", "failed", _theme.PURPLE),
    ("unknown", "perhaps lost", _theme.GREY),
)
_NEEDED = ["outcome", "records", "cause", "root_schema_name", "root_external_id"]


def plot_lost(lost: pd.DataFrame, *, top: int = 12) -> go.Figure:
    """What records were lost to: what never came, or the error that failed them, as bars.

    Parameters
    ----------
    lost : pandas.DataFrame
        As from ``history.lost()``.
    top : int
        How many causes to draw: those that cost most.

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
    >>> from reach_analytics import plot_lost
    >>> from reach_analytics import tables
    >>> plot_lost(tables.LOST.empty()).layout.title.text
    'Nothing was lost'
    """
    LOST.check(lost, _NEEDED, "plot_lost")
    if top < 1:
        raise ValueError(f"top must be at least 1, found {top}")
    rows = lost[lost["records"].fillna(0) > 0]
    if rows.empty:
        return _theme.say_empty("Nothing was lost")
    rows = rows.assign(_cause=_causes(rows))
    sizes = rows.groupby("_cause")["records"].sum()
    order = sizes.sort_index().sort_values(ascending=False, kind="stable").index
    names = _theme.texts(order[:top], 26)
    shown = numbered(pd.Series(names, dtype="str"), pd.Series(range(len(names)))).tolist()
    chart = _theme.figure(barmode="stack", xaxis={"tickformat": ",d"})
    place = list(range(len(shown)))[::-1]
    for outcome, label, colour in _HOW:
        own = rows[rows["outcome"] == outcome].groupby("_cause")["records"].sum()
        counts = own.reindex(order[:top], fill_value=0).astype("int64").tolist()
        if any(counts):
            chart.add_bar(
                x=counts,
                y=place,
                orientation="h",
                name=label,
                marker={"color": colour},
                hovertext=[
                    f"<b>{name}</b><br>{count:,} {label}"
                    for name, count in zip(shown, counts, strict=True)
                ],
                hovertemplate=_theme.HOVER,
            )
    chart.update_layout(
        yaxis={"tickmode": "array", "tickvals": place, "ticktext": shown, "showgrid": False},
        height=170 + 30 * len(shown),
    )
    return _theme.titled(chart, _answer(rows), _about(len(order), len(shown)))


def _causes(rows: pd.DataFrame) -> pd.Series:
    """What each row was lost to: the root that never came, else the cause in words."""
    schema = rows["root_schema_name"].fillna("").astype("str")
    root = (schema + " " + rows["root_external_id"].astype("str")).str.strip()
    cause = rows["cause"].fillna("nobody says why").astype("str")
    causes: pd.Series = root.where(rows["root_external_id"].notna(), cause)
    return causes


def _answer(rows: pd.DataFrame) -> str:
    sums = rows.groupby("outcome")["records"].sum()
    sure, unsure = int(sums.drop("unknown", errors="ignore").sum()), int(sums.get("unknown", 0))
    told = f"{_theme.counted(sure, 'record')} {'was' if sure == 1 else 'were'} lost"
    return f"{told}, and perhaps {unsure:,} more" if unsure else told


def _about(causes: int, drawn: int) -> str:
    told = "What they waited for in the end, or the error that failed them"
    return f"{told}; the first {drawn:,} of {causes:,} causes" if causes > drawn else told
