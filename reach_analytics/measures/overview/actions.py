"""What somebody should do now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reach_analytics._time import in_words
from reach_analytics.measures.overview.glance import SOON, Glance
from reach_analytics.measures.stories.phrases import at_time, listed, many, named, short
from reach_analytics.tables import ACTIONS

__all__ = ["actions_of"]

_FEW = 3

Action = dict[str, Any]


def actions_of(glance: Glance) -> pd.DataFrame:
    """`tables.ACTIONS` of a moment, in the order in which they are told."""
    found = [
        action
        for part in (
            *(_not_observed, _expiring, _overdue, _failed, _stuck, _deadlocks, _success, _lost),
        )
        for action in part(glance)
    ]
    return ACTIONS.conform(pd.DataFrame(found)) if found else ACTIONS.empty()


def _action(about: str, severity: str, size: float, what: str, detail: str = "") -> Action:
    return {
        "about": about,
        "severity": severity,
        "size": float(size),
        "what": what,
        "detail": detail or None,
    }


def _not_observed(glance: Glance) -> Iterator[Action]:
    """A collector that fell behind, or lists that are too old or incomplete."""
    if glance.too_old:
        yield _action(
            "observations",
            "unknown",
            glance.count("batches"),
            f"Nothing was observed for {in_words(glance.age)}.",
            "Run the collector: what waits is deleted when its time is over, and nobody tells.",
        )
    known = glance.coverage
    waiting, covered = (int(known[f"batches_{name}"].sum()) for name in ("waiting", "covered"))
    if waiting > covered:
        stale, partial = (int(known[f"batches_{name}"].sum()) for name in ("stale", "partial"))
        parts = {f"Older lists: {stale:,}": stale, f"none or a part: {partial:,}": partial}
        yield _action(
            "observations",
            "unknown",
            waiting - covered,
            f"Of {waiting - covered:,} of the {many(waiting, 'batch', 'batches')} with something "
            "pending there is no full list from the last hour.",
            f"{listed([text for text, count in parts.items() if count], 0)}.",
        )


def _expiring(glance: Glance) -> Iterator[Action]:
    soon = glance.expiring_soon
    if not soon:
        return
    first = glance.health["next_expiry"].min()
    plan = glance.plan
    by = plan["needed_by"]
    useful = plan["reason"].isna() & (plan["frees"] > 0)
    urgent = plan[useful & (by > glance.now) & (by <= glance.now + SOON)]
    keys = [named(row.schema_name, row.external_id) for row in urgent.head(_FEW).itertuples()]
    save = f" Upload first: {listed(keys, len(urgent))}." if keys else ""
    yield _action(
        "expiring",
        "critical",
        soon,
        f"{many(soon, 'record')} {'dies' if soon == 1 else 'die'} within the hour.",
        f"The first at {at_time(first, glance.now)}, in {in_words(first - glance.now)}.{save}",
    )


def _overdue(glance: Glance) -> Iterator[Action]:
    late = glance.count("overdue")
    if late:
        yield _action(
            "expiring",
            "unknown",
            late,
            f"{many(late, 'record')} should be gone by now, and {'is' if late == 1 else 'are'} "
            "still listed.",
            "That may happen at any moment.",
        )


def _failed(glance: Glance) -> Iterator[Action]:
    """Batches that failed since the earlier moment."""
    failed = glance.changed("batches", "failed")
    if failed:
        rows = glance.changes
        own = rows[(rows["about"] == "batches") & (rows["change"] == "failed")]
        yield _action(
            "failed",
            "critical",
            failed,
            f"{many(failed, 'batch', 'batches')} failed{_since(glance)}.",
            f"Of {_tenants(own)}.",
        )


def _stuck(glance: Glance) -> Iterator[Action]:
    own = glance.stuck[glance.stuck["verdict"] == "stuck"]
    if len(own):
        longest = in_words(own["silence"].max())
        yield _action(
            "stuck",
            "critical",
            len(own),
            f"{many(len(own), 'batch is', 'batches are')} stuck: their counts rest for longer than "
            "such batches do.",
            f"Of {_tenants(own)}; the longest for {longest}.",
        )


def _deadlocks(glance: Glance) -> Iterator[Action]:
    rows = glance.deadlocks
    if rows.empty:
        return
    groups = rows.groupby(["tenant_id", "deadlock"], sort=False)
    held = int(groups["tainted"].max().sum())
    firsts = rows.drop_duplicates(["tenant_id", "deadlock"]).head(_FEW)
    keys = [named(row.schema_name, row.external_id) for row in firsts.itertuples()]
    yield _action(
        "deadlocks",
        "warning",
        groups.ngroups,
        f"{many(groups.ngroups, 'deadlock holds', 'deadlocks hold')} up {many(held, 'record')}.",
        f"Around {listed(keys, groups.ngroups)}: one record of each has to be uploaded again "
        "without its reference.",
    )


def _success(glance: Glance) -> Iterator[Action]:
    """Tenants whose success fell by more than chance."""
    rows = glance.changes
    sure = rows["beyond_chance"].fillna(False).astype(bool)
    own = rows[(rows["about"] == "success") & (rows["change"] == "fell") & sure]
    if own.empty:
        return
    each = own[own["tenant_id"].notna()]
    changed = (each if len(each) else own).sort_values("size", kind="stable")
    worst = changed.iloc[0]
    who = _tenants(each) if len(each) else "all tenants together"
    span = f"from {worst['before']:.1%} to {worst['after']:.1%}"
    most = f"Most for {_tenants(changed.head(1))}, {span}." if len(each) > 1 else f"F{span[1:]}."
    what = f"Success fell by more than chance for {who}."
    yield _action("success", "critical", len(each), what, most)


def _lost(glance: Glance) -> Iterator[Action]:
    """What expired since the earlier moment."""
    expired, unknown = (glance.changed("records", name) for name in ("expired", "unknown"))
    if expired or unknown:
        what = f"{many(expired, 'record')} expired{_since(glance)}."
        unsure = f"{many(unknown, 'wait')} more ended, and nobody saw how." if unknown else ""
        if not expired:
            what, unsure = f"{many(unknown, 'wait')} ended{_since(glance)}, nobody saw how.", ""
        yield _action("lost", "warning", expired + unknown, what, unsure)


def _since(glance: Glance) -> str:
    return "" if glance.since is None else f" since {at_time(glance.since, glance.now)}"


def _tenants(rows: pd.DataFrame) -> str:
    """The tenants of some rows, the first few by name."""
    name = "tenant_name" if "tenant_name" in rows.columns else "tenant_id"
    names = list(dict.fromkeys(short(one) for one in rows[name]))
    return listed(names[:_FEW], len(names))
