"""The names of groups in a chart."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from reach_analytics.plots import _theme


def labels(frame: pd.DataFrame, own: Collection[str], limit: int = 48) -> pd.Series:
    """One label per row from the group columns: those that are not the measure's ``own``."""
    names = [name for name in frame.columns if name not in own]
    if not names:
        return pd.Series("all", index=frame.index, dtype="str")
    parts = [_theme.texts(frame[name], limit) for name in names]
    shown = [" · ".join(row) for row in zip(*parts, strict=True)]
    joined = pd.Series(shown, index=frame.index, dtype="str")
    # Different groups whose shortened names look alike are numbered, or they would be drawn as one.
    group = frame.groupby(names, dropna=False).ngroup()
    alike = group.groupby(joined).rank(method="dense").astype(int)
    return joined.where(alike == 1, joined + " (" + alike.astype(str) + ")").astype("str")
