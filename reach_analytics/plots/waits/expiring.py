"""Chart of `expiring`."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from reach_analytics._time import in_words
from reach_analytics.measures._shared.grouping import in_bulk
from reach_analytics.plots import _theme
from reach_analytics.plots._labels import with_few
from reach_analytics.plots._source import drawn_from
from reach_analytics.tables import EXPIRING

__all__ = ["plot_expiring"]

_BARS = 48
_SOON = pd.Timedelta("1h")


@drawn_from("expiring")
def plot_expiring(expiring: pd.DataFrame) -> go.Figure:
    """When the pending resources expire, stacked by schema.

    Expiries far from all others, such as in a hundred years, are only counted.

    Parameters
    ----------
    expiring : pandas.DataFrame or History
        As from ``history.expiring()``; only expires_at, time_left and schema_name are needed.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    FrameError
        If the frame lacks one of these.

    Examples
    --------
    >>> from reach_analytics import plot_expiring
    >>> from reach_analytics import tables
    >>> plot_expiring(tables.EXPIRING.empty()).layout.title.text
    'Nothing waits that could expire'
    """
    EXPIRING.check(expiring, ["expires_at", "time_left", "schema_name"], "plot_expiring")
    rows = expiring[expiring["expires_at"].notna()]
    if rows.empty:
        return _theme.say_empty("Nothing waits that could expire")
    chart = _theme.figure(barmode="stack", xaxis={"type": "date"})
    answer = _dying(rows)
    # Overdue ones stay where they are; the moment of the frame is where time_left is 0.
    now = (rows["expires_at"] - rows["time_left"]).iloc[0]
    bulk = in_bulk(rows["expires_at"])
    about = f"How many records expire when{_elsewhere(rows.loc[~bulk, 'expires_at'])}"
    rows = rows[bulk]
    times = rows["expires_at"].dt.as_unit("us").astype("int64").to_numpy()
    edges = np.linspace(times.min(), times.max() + 1, _BARS + 1)
    zone = rows["expires_at"].dt.tz
    most = float(np.histogram(times, edges)[0].max())
    chart.update_layout(yaxis=_theme.count_axis(most))
    middle, starts, ends = (
        pd.to_datetime(at, unit="us", utc=True).tz_convert(zone)
        for at in ((edges[:-1] + edges[1:]) // 2, edges[:-1], edges[1:])
    )
    span = [f"{a:%Y-%m-%d %H:%M} to {b:%H:%M %Z}" for a, b in zip(starts, ends, strict=True)]
    number, schemas = pd.factorize(rows["schema_name"], use_na_sentinel=False)
    shown = pd.Series(_theme.texts(schemas), dtype="str").take(number).to_numpy()
    few, _ = with_few(pd.DataFrame({"_group": shown, "_one": 1}), "_one")
    names = few["_group"]
    for name, colour in zip(sorted(names.unique()), cycle(_theme.SERIES), strict=False):
        counts, _ = np.histogram(times[(names == name).to_numpy()], edges)
        chart.add_bar(
            x=middle,
            y=counts,
            width=(edges[1] - edges[0]) / 1000,
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            hovertext=span,
            hovertemplate="%{hovertext}<br>%{y:,} expire<extra>%{fullData.name}</extra>",
        )
    chart.update_layout(showlegend=names.nunique() > 1)
    return _mark(_theme.titled(chart, answer, about, above=14), now, "now")


def _dying(rows: pd.DataFrame) -> str:
    """How many expire within the hour, or when the next does."""
    left = rows["time_left"]
    soon = int(((left > pd.Timedelta(0)) & (left <= _SOON)).sum())
    late = int((left <= pd.Timedelta(0)).sum())
    every = _theme.counted(len(rows), "waiting record")
    told = f"{soon:,} of {every} {'expires' if len(rows) == 1 else 'expire'} within the hour"
    if not soon and late < len(rows):
        told += f"; the next in {in_words(left[left > pd.Timedelta(0)].min())}"
    return f"{told}; {late:,} should be gone" if late else told


def _elsewhere(far: pd.Series) -> str:
    """A note on expiries that are too far off to be shown, if there are any."""
    if far.empty:
        return ""
    ends = " to ".join(dict.fromkeys(_theme.moments([far.min(), far.max()])))
    return f"; {len(far):,} more expire far from these: {ends}"


def _mark(chart: go.Figure, moment: pd.Timestamp, label: str) -> go.Figure:
    """A thin line at a moment, which an axis shows by its own clock, as plotly does times."""
    line = {"color": _theme.INK, "width": 1, "dash": "dot"}
    place = moment.tz_localize(None).isoformat()
    chart.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, yref="paper", line=line)
    return chart.add_annotation(
        x=place, y=1, yref="paper", text=label, showarrow=False, yanchor="bottom"
    )
