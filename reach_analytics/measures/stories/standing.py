"""Where each record stands, as far as anything names it."""

from __future__ import annotations

import pandas as pd

from reach_analytics.tables import RESOURCE_KEY, STANDINGS

__all__ = ["standings"]

_NOW = ("waits", "missing")
_MISSED = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]


def standings(
    pending: pd.DataFrame,
    dependencies: pd.DataFrame,
    lost: pd.DataFrame,
    wait_outcomes: pd.DataFrame,
    arrivals: pd.DataFrame,
) -> pd.DataFrame:
    """`tables.STANDINGS`: one row per record that anything observed names, with its last state.

    One that waits now, ``waits``; else one that others miss is ``missing``; else the last that is
    known of it counts: ``lost`` for certain, ``landed`` (its wait was released and its batch does
    not say that it failed, or what missed it misses it no longer), or ``unknown``, where its wait,
    or that of all that missed it, was over and nobody saw how. Frames as of a history.
    """
    parts = [
        _waiting(pending, dependencies),
        _missing(dependencies, arrivals),
        _lost(lost),
        _over(wait_outcomes),
        _arrived(arrivals),
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[rows["external_id"].notna()]
    # Of equal times a loss counts: a record that was released and failed is listed as both.
    place = {"waits": 4, "missing": 3, "lost": 2, "landed": 1, "unknown": 0}
    rank = rows["status"].map(place)
    now = rows["status"].isin(_NOW)
    order = rows.assign(_now=rank.where(now, -1), _rank=rank)
    order = order.sort_values([*RESOURCE_KEY, "_now", "at", "_rank"], kind="stable")
    last = order.drop_duplicates(RESOURCE_KEY, keep="last")
    return STANDINGS.conform(STANDINGS.in_order(STANDINGS.conform(last)))


def _waiting(pending: pd.DataFrame, dependencies: pd.DataFrame) -> pd.DataFrame:
    own = [*RESOURCE_KEY, "pending_id", "batch_id"]
    names = (
        dependencies["missing_schema_name"]
        .fillna("")
        .str.cat(dependencies["missing_external_id"].fillna(""), sep=" ")
    )
    named = dependencies[own].assign(waits_for=names.str.strip())
    told = named.groupby(own, dropna=False)["waits_for"].agg(", ".join).reset_index()
    rows = pending[[*own, "schema_name", "created_at", "expires_at"]].merge(
        told, on=own, how="left"
    )
    rows = rows.assign(status="waits", at=rows["created_at"])
    # Of several waits, the one that ends first is shown.
    return rows.sort_values("expires_at", ascending=False, kind="stable")


def _missing(dependencies: pd.DataFrame, arrivals: pd.DataFrame) -> pd.DataFrame:
    rows = dependencies[[*_MISSED, "missing_schema_name", "expires_at"]].set_axis(
        [*RESOURCE_KEY, "schema_name", "expires_at"], axis=1
    )
    grouped = rows.groupby(RESOURCE_KEY, dropna=False)
    table = grouped.agg(schema_name=("schema_name", "first"), expires_at=("expires_at", "min"))
    since = arrivals[[*RESOURCE_KEY, "first_seen"]].rename(columns={"first_seen": "at"})
    return table.reset_index().merge(since, on=RESOURCE_KEY, how="left").assign(status="missing")


def _lost(lost: pd.DataFrame) -> pd.DataFrame:
    rows = lost[lost["certain"] & lost["external_id"].notna()]
    own = [*RESOURCE_KEY, "schema_name", "batch_id", "cause"]
    return rows[own].assign(status="lost", at=rows["lost_by"])


def _over(wait_outcomes: pd.DataFrame) -> pd.DataFrame:
    rows = wait_outcomes[wait_outcomes["verdict"].isin(["released", "unknown"])]
    status = rows["verdict"].replace({"released": "landed"})
    return rows[[*RESOURCE_KEY, "schema_name", "batch_id"]].assign(
        status=status, at=rows["ended_by"]
    )


def _arrived(arrivals: pd.DataFrame) -> pd.DataFrame:
    rows = arrivals[arrivals["verdict"].isin(["arrived", "censored"])]
    status = rows["verdict"].replace({"arrived": "landed", "censored": "unknown"})
    at = rows["ended_by"].fillna(rows["last_seen"])
    return rows[[*RESOURCE_KEY, "schema_name"]].assign(status=status, at=at)
