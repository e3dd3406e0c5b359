"""What changed between two moments, one row a change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.reachability import BLOCKED_ERROR
from reach_analytics.measures.changes.success_change import success_change
from reach_analytics.tables import BATCH_KEY, CHANGES, ENDED, RESOURCE_KEY

__all__ = ["Known", "changes_between"]

_ABOUT = {
    "batches": ["new", "settled", "failed"],
    "records": ["landed", "failed", "waiting", "released", "expired", "unknown"],
    "dependencies": ["new", "arrived", "gone"],
    "bottleneck": ["grew", "shrank"],
    "success": ["rose", "fell", "same", "unknown"],
    "deadlock": ["new", "grew", "shrank", "gone"],
}
_NAMED = ["tenant_id", "schema_definition_id", "external_id"]
_SURE = 3  # standard errors by which estimates must differ


@dataclass(frozen=True)
class Known:
    """What was known at a moment.

    Attributes
    ----------
    at : pandas.Timestamp
    batches : pandas.DataFrame
        tenant_id, batch_id, status, created_at, successful_records, failed_records.
    bottlenecks, deadlocks : pandas.DataFrame
        As `tables.BOTTLENECKS` and `tables.DEADLOCKS`.
    """

    at: pd.Timestamp
    batches: pd.DataFrame
    bottlenecks: pd.DataFrame
    deadlocks: pd.DataFrame


def changes_between(
    earlier: Known,
    later: Known,
    turnover: pd.DataFrame,
    arrived: pd.DataFrame,
    *,
    top: int | None,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """`tables.CHANGES` from what was known at two moments.

    Parameters
    ----------
    earlier, later : Known
    turnover : pandas.DataFrame
        tenant_id, change, waits: how many began to wait, and how many waits ended how.
    arrived : pandas.DataFrame
        tenant_id, schema_definition_id, external_id of what was missing and has come.
    top : int, optional
        How many bottlenecks that grew to list, and how many that shrank.
    """
    parts = [
        *_of_batches(earlier.batches, later.batches),
        turnover.rename(columns={"waits": "size"}).assign(about="records"),
        *_of_dependencies(earlier.bottlenecks, later.bottlenecks, arrived),
        _of_bottlenecks(earlier.bottlenecks, later.bottlenecks, top),
        success_change(earlier.batches, later.batches, earlier.at, later.at, n_resamples, seed),
        _of_deadlocks(earlier.deadlocks, later.deadlocks),
    ]
    rows = pd.concat([CHANGES.empty(), *(part for part in parts if len(part))])
    kinds = [(about, change) for about, changes in _ABOUT.items() for change in changes]
    place = pd.MultiIndex.from_tuples(kinds).get_indexer(
        pd.MultiIndex.from_frame(rows[["about", "change"]])
    )
    rows = rows.assign(_place=place, _less=-rows["size"].astype("float64").abs())
    order = ["_place", "_less", *_NAMED]
    return CHANGES.conform(CHANGES.conform(rows.sort_values(order, kind="stable")))


def _of_batches(earlier: pd.DataFrame, later: pd.DataFrame) -> list[pd.DataFrame]:
    """How many batches of each tenant are new, settled and failed, and what their records did."""
    both = _beside(later, earlier, BATCH_KEY)

    def ended(status: pd.Series) -> pd.Series:
        return status.isin(ENDED)

    now, then = both["status"], both["status_before"]
    new = ~pd.MultiIndex.from_frame(both[BATCH_KEY]).isin(
        pd.MultiIndex.from_frame(earlier[BATCH_KEY])
    )
    found = {
        ("batches", "new"): (new, np.ones(len(both))),
        ("batches", "settled"): (ended(now) & ~ended(then), ended(now)),
        ("batches", "failed"): ((now == "failure") & (then != "failure"), now == "failure"),
    }
    parts = []
    for (about, change), (size, after) in found.items():
        table = _summed(both["tenant_id"], size, after)
        parts.append(table.assign(about=about, change=change))
    for name, change in (("successful_records", "landed"), ("failed_records", "failed")):
        before = _number(both[f"{name}_before"])
        after = _number(both[name]).where(both[name].notna(), before)  # the last that was said
        table = _summed(both["tenant_id"], after - before, after)
        parts.append(table.assign(about="records", change=change))
    return parts


def _beside(later: pd.DataFrame, earlier: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The rows of both, those of one key as one; columns of the earlier are called ``…_before``."""
    if later.empty and earlier.empty:  # pandas 3.0 cannot merge two columns of texts without rows
        others = [name for name in earlier.columns if name not in key]
        return later.assign(**{f"{name}_before": earlier[name] for name in others})
    return later.merge(earlier, on=key, how="outer", suffixes=("", "_before"))


def _number(counts: pd.Series) -> pd.Series:
    return counts.astype("Float64").astype("float64").fillna(0)


def _summed(tenant: pd.Series, size: object, after: object) -> pd.DataFrame:
    """Of each tenant with a change its size, and how many there were before and after it."""
    rows = pd.DataFrame(
        {
            "tenant_id": tenant,
            "size": np.asarray(size, "float64"),
            "after": np.asarray(after, "float64"),
        }
    )
    table = rows.groupby("tenant_id", as_index=False).sum()
    table = table.assign(before=table["after"] - table["size"])
    return table[table["size"] != 0]


def _of_dependencies(
    earlier: pd.DataFrame, later: pd.DataFrame, arrived: pd.DataFrame
) -> list[pd.DataFrame]:
    """How many keys of each tenant and schema are missing anew, came, or are missed no longer."""
    old, new, came = (pd.MultiIndex.from_frame(t[RESOURCE_KEY]) for t in (earlier, later, arrived))
    over = ~old.isin(new)
    chosen = {
        "new": later[~new.isin(old)],
        "arrived": earlier[over & old.isin(came)],
        "gone": earlier[over & ~old.isin(came)],
    }
    own = ["tenant_id", "schema_definition_id"]
    parts = []
    for change, rows in chosen.items():
        grouped = rows.groupby(own, dropna=False)
        table = grouped.agg(schema_name=("schema_name", "first"), size=("is_root", "size"))
        parts.append(table.reset_index().assign(about="dependencies", change=change))
    return parts


def _of_bottlenecks(earlier: pd.DataFrame, later: pd.DataFrame, top: int | None) -> pd.DataFrame:
    """The keys that more wait for than before, or fewer."""
    own = [*RESOURCE_KEY, "schema_name", "blocked", "blocked_exact"]
    both = _beside(later[own], earlier[own], RESOURCE_KEY)
    after, before = _number(both["blocked"]), _number(both["blocked_before"])
    exact = both[["blocked_exact", "blocked_exact_before"]].astype("boolean").fillna(True)
    rough = ~exact.all(axis=1)
    error = np.where(rough, _SURE * BLOCKED_ERROR * np.hypot(after, before), 0)
    size = after - before
    rows = both.assign(
        about="bottleneck",
        change=np.where(size > 0, "grew", "shrank"),
        size=size,
        before=before,
        after=after,
        schema_name=both["schema_name"].fillna(both["schema_name_before"]),
    )
    rows = rows[size.abs() > error]
    order = rows.assign(_less=-rows["size"].abs()).sort_values(["_less", *RESOURCE_KEY])
    return order if top is None else order.groupby("change").head(top)


def _of_deadlocks(earlier: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    """Deadlocks that are new or gone, or have more or fewer members than before; each by the first
    of its members."""
    names = [*RESOURCE_KEY, "deadlock", "members", "schema_name"]
    both = _beside(later[names], earlier[names], RESOURCE_KEY).sort_values(RESOURCE_KEY)
    now = both["deadlock"].notna()
    kept = both[now].groupby("deadlock")
    table = kept.agg(
        **{name: (name, "first") for name in (*RESOURCE_KEY, "schema_name")},
        after=("members", "first"),
    )
    # Of several that became one, all members count.
    parts = both[now].drop_duplicates(["deadlock", "deadlock_before"])
    table["before"] = parts.groupby("deadlock")["members_before"].sum()
    was = set(both.loc[now, "deadlock_before"].dropna())
    gone = both[~now & ~both["deadlock_before"].isin(was)].groupby("deadlock_before")
    lost = gone.agg(
        **{name: (name, "first") for name in RESOURCE_KEY},
        schema_name=("schema_name_before", "first"),
        before=("members_before", "first"),
    )
    rows = pd.concat([table, lost.assign(after=0)], ignore_index=True)
    after, before = _number(rows["after"]), _number(rows["before"])
    change = np.select([before == 0, after == 0, after > before], ["new", "gone", "grew"], "shrank")
    rows = rows.assign(
        about="deadlock", change=change, size=after - before, after=after, before=before
    )
    return rows[after != before]
