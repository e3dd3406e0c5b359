"""Chart of `lost`."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from reach_analytics.plots import _theme
from reach_analytics.plots._rows import check_top, row_labels, stacked
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import LOST

__all__ = ["plot_lost"]

_HOW = (
    ("expired", "expired", _theme.VERMILION),
    ("failed", "failed", _theme.PURPLE),
    ("unknown", "perhaps lost", _theme.GREY),
)
_NEEDED = ["outcome", "certain", "records", "cause", "root_schema_name", "root_external_id"]


@drawn_from("lost")
def plot_lost(lost: pd.DataFrame, *, top: int = 12) -> go.Figure:
    """What records were lost to: what never came, or the error that failed them, as bars.

    Parameters
    ----------
    lost : pandas.DataFrame or History
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
    check_top(top)
    rows = lost[lost["records"].fillna(0) > 0]
    if rows.empty:
        return _theme.say_empty("Nothing was lost")
    how = rows["outcome"].where(rows["certain"].fillna(False).astype(bool), "unknown")
    rows = rows.assign(_cause=_causes(rows), outcome=how)
    sizes = rows.groupby("_cause")["records"].sum()
    order = sizes.sort_index().sort_values(ascending=False, kind="stable").index
    shown = row_labels(order[:top].to_series())
    sums = rows.groupby(["outcome", "_cause"])["records"].sum()
    parts = [
        (label, colour, _of(sums, [(how, cause) for cause in order[:top]]))
        for how, label, colour in _HOW
    ]
    told = [
        "<br>".join(
            [
                f"<b>{_theme.text(cause, 200)}</b>",
                *(f"{int(own.iloc[n]):,} {label}" for label, _, own in parts if own.iloc[n]),
            ]
        )
        for n, cause in enumerate(order[:top])
    ]
    chart = stacked(shown, parts, told)
    return _theme.titled(chart, _answer(rows), _about(len(order), len(shown)))


def _of(sums: pd.Series, keys: list[tuple[str, str]]) -> pd.Series:
    """The sums of some keys, in their order."""
    return sums.reindex(keys).fillna(0).astype("int64").reset_index(drop=True)


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
    if unsure and not sure:
        return f"Perhaps {_theme.counted(unsure, 'record was', 'records were')} lost"
    return f"{told}, and perhaps {unsure:,} more" if unsure else told


def _about(causes: int, drawn: int) -> str:
    told = "What they waited for in the end, or the error that failed them"
    return f"{told}; the first {drawn:,} of {causes:,} causes" if causes > drawn else told
