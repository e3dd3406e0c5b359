"""The names of groups in a chart."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from reach_analytics.plots import _theme


def labels(frame: pd.DataFrame, own: Collection[str], limit: int = 48) -> pd.Series:
    """One label per row from the group columns: those that are not the measure's ``own``."""
    names = [name for name in frame.columns if name not in own]
    if {"tenant_name", "tenant_id"} <= {*names}:
        names.remove("tenant_id")  # no two tenants have one name
    if not names:
        return pd.Series("all", index=frame.index, dtype="str")
    parts = [_theme.texts(frame[name], limit) for name in names]
    shown = [" · ".join(row) for row in zip(*parts, strict=True)]
    group = frame.groupby(names, dropna=False).ngroup()
    return numbered(pd.Series(shown, index=frame.index, dtype="str"), group)


def with_few(rows: pd.DataFrame, size: str, limit: int = 8) -> tuple[pd.DataFrame, str]:
    """Rows of no more than ``limit`` groups, and what the last of them is called: of more, the
    smaller by the sum of ``size`` are one."""
    sizes = rows.groupby("_group")[size].sum().sort_values(ascending=False, kind="stable")
    if len(sizes) <= limit:
        return rows, ""
    others = f"{len(sizes) - limit + 1:,} others"
    return rows.assign(
        _group=rows["_group"].where(rows["_group"].isin(sizes.index[: limit - 1]), others)
    ), others


def largest(rows: pd.DataFrame, size: str, limit: int = 60) -> tuple[pd.DataFrame, str]:
    """Rows of the ``limit`` groups with the largest sum of ``size``, in their order, and a note on
    the others; empty if there are none."""
    sizes = rows.groupby("_group")[size].sum().sort_values(ascending=False, kind="stable")
    if len(sizes) <= limit:
        return rows, ""
    kept = rows[rows["_group"].isin(sizes.index[:limit])]
    return kept, f"; the largest {limit:,} of {len(sizes):,} groups"


def tenants(frame: pd.DataFrame) -> pd.Series:
    """What to call the tenant of each row: its name, where the frame has names."""
    return frame["tenant_name" if "tenant_name" in frame.columns else "tenant_id"]


def numbered(shown: pd.Series, group: pd.Series) -> pd.Series:
    """Labels, with a number where those of different groups are alike once they are shortened;
    they would be drawn as one."""
    alike = group.groupby(shown).rank(method="dense").astype(int)
    return shown.where(alike == 1, shown + " (" + alike.astype(str) + ")").astype("str")
