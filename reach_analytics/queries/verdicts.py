"""What became of each wait: the rules of `measures.wait_outcomes` as expressions, Ibis in and out.

The waits are judged in passes, each of which leaves those alone that an earlier one has judged:
by the moments alone (`_by_time`), by what other resources show of the dependencies
(`_by_dependencies`), by what the batches counted (`_by_counts`). Waits and keys are numbered first,
so that everything after that is grouped and joined by integers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import ibis

from reach_analytics.queries.departed import Conventions, bounds, departed
from reach_analytics.queries.engine import Runner
from reach_analytics.queries.roots import roots
from reach_analytics.tables import BATCH_KEY, WAIT_OUTCOMES

__all__ = [
    "CODES",
    "Evidence",
    "Rule",
    "judged",
    "numbered_outcomes",
    "outcomes",
    "with_clusters",
    "with_names",
]


class Rule(NamedTuple):
    """The name of a rule, and what it concludes."""

    name: str
    verdict: str


CODES = (
    Rule("2", "censored"),
    Rule("seen", "pending"),
    Rule("3", "released"),
    Rule("4", "expired"),
    Rule("5a", "expired"),
    Rule("5b", "released"),
    Rule("5c", "expired"),
    Rule("5d", "released"),
    Rule("5e", "expired"),
    Rule("5e", "released"),
    Rule("6", "unknown"),
)
"""The rules in the order in which they apply. Queries hold a rule as its place here."""


_OF = {(rule.name, rule.verdict): code for code, rule in enumerate(CODES)}
_OUT_OF_SIGHT, _SEEN = _OF["2", "censored"], _OF["seen", "pending"]
_IN_TIME, _TOO_LATE = _OF["3", "released"], _OF["4", "expired"]
_STILL_MISSING, _ALL_PRESENT = _OF["5a", "expired"], _OF["5b", "released"]
_NONE_COUNTED, _ALL_COUNTED = _OF["5c", "expired"], _OF["5d", "released"]
_ALL_IN_CODE, _NONE_IN_CODE = _OF["5e", "expired"], _OF["5e", "released"]
_UNKNOWN = _OF["6", "unknown"]

_SLIM = ["wait", "batch", "tenant", "departure", "missing_count"]
_SLIM += ["created_at", "expires_at", "first_seen", "last_seen", "gone_by"]
_TEXTS = ["pending_id", "external_id", "schema_definition_id", "schema_name"]
_BOUNDS = ["unknown_together", "released_at_least", "released_at_most"]

_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Evidence:
    """What the rules rest on. Everything is kept, and joined by number.

    Attributes
    ----------
    batches : ibis.Table
        (batch, tenant, tenant_id, batch_id).
    waits : ibis.Table
        The columns of `tables.WAIT_INTERVALS`, but with ``wait``, ``batch`` and ``tenant`` in place
        of the names of the latter two.
    links : ibis.Table
        (wait, key, last_missing, last_missing_by, there_by).
    keys : ibis.Table
        (key, tenant, missing_schema_definition_id, missing_external_id), numbered in the order of
        their names.
    departures : ibis.Table
        As `tables.DEPARTURES`, by ``batch``.
    deleting : ibis.Table, optional
        As `tables.BATCHES`: those among which some delete.
    """

    batches: ibis.Table
    waits: ibis.Table
    links: ibis.Table
    keys: ibis.Table
    departures: ibis.Table
    deleting: ibis.Table | None


def judged(evidence: Evidence, conventions: Conventions, run: Runner) -> ibis.Table:
    """One row per wait: its numbers and times, code, unknown_together, released_at_least,
    released_at_most, and root.

    The code is a place in `CODES`, the root a key.
    """
    slack = ibis.interval(microseconds=conventions.slack // timedelta(microseconds=1))
    waits = evidence.waits.select(*_SLIM, code=_by_time(evidence.waits, slack))
    waits = run.keep(waits)
    links = _links(waits, evidence, run)
    deletions = _deletions(evidence, run)
    waits = run.keep(_by_dependencies(waits, links, evidence.keys, deletions, slack, run))
    told = departed(_with_results(waits), evidence.departures, run)
    final = _by_counts(waits, bounds(told, conventions, run))
    joined = final.left_join(roots(evidence, links, run), "wait")
    return run.keep(joined.select(*_SLIM, "code", *_BOUNDS, "root"))


def outcomes(evidence: Evidence, judged: ibis.Table) -> ibis.Table:
    """One row per wait, as `tables.WAIT_OUTCOMES`."""
    wide = numbered_outcomes(judged)
    return with_names(wide, evidence, WAIT_OUTCOMES.names).select(WAIT_OUTCOMES.names)


def with_names(rows: ibis.Table, evidence: Evidence, names: Collection[str]) -> ibis.Table:
    """Numbered rows with those ``names`` of their waits, batches and roots that are asked for."""
    texts = [name for name in _TEXTS if name in names]
    if texts:
        waits = evidence.waits.select("wait", *texts)
        rows = waits.inner_join(rows, "wait").select(*rows.columns, *texts)
    if set(BATCH_KEY) & set(names):
        joined = rows.inner_join(evidence.batches, "batch")
        rows = joined.select(*rows.columns, *BATCH_KEY)
    roots = evidence.keys.select(
        root="key",
        root_schema_definition_id="missing_schema_definition_id",
        root_external_id="missing_external_id",
    )
    if set(roots.columns) & set(names):
        rows = rows.left_join(roots, "root").select(*rows.columns, *roots.columns[1:])
    return rows


def numbered_outcomes(judged: ibis.Table) -> ibis.Table:
    """The same in no order, without names, but with numbers: wait, batch, tenant, root, and
    cluster, which is the same for waits on one root of a tenant, or on none."""
    cluster = ibis.coalesce(judged.root, -1 - judged.tenant)
    return _with_ends(judged).mutate(cluster=cluster)


def with_clusters(rows: ibis.Table, evidence: Evidence, run: Runner) -> ibis.Table:
    """Numbered rows with ``ends_with``: a number of what ends together, which is what hangs on one
    root, or else one batch; in the order of their names."""
    keys = evidence.keys
    unnamed = keys.select(root="key", is_named=keys.missing_external_id.notnull())
    joined = rows.left_join(unnamed, "root").select(*rows.columns, "is_named")
    alone = ibis.ifelse(joined.is_named.fill_null(False), ibis.null("int64"), joined.batch)
    rows = run.keep(joined.mutate(alone=alone).drop("is_named"))
    own = ["tenant", "root", "alone"]
    found = run.keep(rows.select(own).distinct())
    tenants = evidence.batches.select("tenant", "tenant_id").distinct()
    batches = evidence.batches.select("batch_id", alone="batch")
    named = found.inner_join(tenants, "tenant").select(*own, "tenant_id")
    named = with_names(named, evidence, ["root_external_id"])
    joined = named.left_join(batches, "alone")
    named = joined.select(*named.columns, "batch_id")
    names = ["tenant_id", "root_schema_definition_id", "root_external_id", "batch_id"]
    order = [named[name].asc(nulls_first=False) for name in names]
    number = named.mutate(ends_with=ibis.row_number().over(order_by=order))
    number = run.keep(number.select(**{f"own_{name}": name for name in own}, ends_with="ends_with"))
    same = [rows[name].identical_to(number[f"own_{name}"]) for name in own]
    return rows.inner_join(number, same).select(*rows.columns, "ends_with")


def _by_time(waits: ibis.Table, slack: ibis.Value) -> ibis.Value:
    """Rules 2, 3 and 4: the moments alone."""
    gone = waits.gone_by.notnull()
    return _code(
        (~gone & (waits.last_sent_at > waits.last_seen), _OUT_OF_SIGHT),
        (~gone, _SEEN),
        (waits.gone_by <= waits.expires_at - slack, _IN_TIME),
        (waits.last_seen >= waits.expires_at + slack, _TOO_LATE),
    )


def _code(*cases: tuple[ibis.Value, int]) -> ibis.Value:
    return ibis.cases(*[(when, ibis.literal(code, "int8")) for when, code in cases])


def _links(waits: ibis.Table, evidence: Evidence, run: Runner) -> ibis.Table:
    """The links with what is known of their waits.

    One is at_last if the last observation of its wait lists it, and named if it has a whole key;
    others name nothing.
    """
    own = waits.select("wait", "code", "last_seen", "gone_by")
    links = evidence.links.inner_join(own, "wait")
    links = links.select(*evidence.links.columns, *own.columns[1:])
    keys = evidence.keys
    named = keys.missing_schema_definition_id.notnull() & keys.missing_external_id.notnull()
    wide = links.inner_join(keys.select("key", named=named), "key").select(*links.columns, "named")
    at_last = wide.last_missing >= wide.last_seen
    return run.keep(wide.mutate(at_last=at_last).drop("last_seen"))


def _deletions(evidence: Evidence, run: Runner) -> ibis.Table | None:
    """When something of a tenant may have been deleted: (tenant, begins, ends); None if never.

    A batch may delete from its start to its completion, whatever its schema: with ``cascade`` it
    deletes what refers to its records, too, and a status does not show it. One that is over and
    deleted nothing explains nothing. Without a start or an end, it may have begun or go on at any
    time.
    """
    batches = evidence.deleting
    if batches is None:
        return None
    deletes = batches.batch_type.lower().contains("delete")
    never = ibis.null(batches.completed_at.type())
    over = ibis.ifelse(batches.status == "processing", never, batches.completed_at)
    idle = over.notnull() & (batches.successful_records == 0).fill_null(False)
    own = batches.mutate(over=over).filter(deletes.fill_null(False) & ~idle)
    first, last = (ibis.literal(at, type=own.over.type()) for at in (_FIRST, _LAST))
    began = ibis.coalesce(own.started_at, own.created_at, first)
    spans = own.select("tenant_id", begins=began, ends=own.over.fill_null(last))
    tenants = evidence.batches.select("tenant", "tenant_id").distinct()
    spans = run.keep(spans.inner_join(tenants, "tenant_id").select("tenant", "begins", "ends"))
    [count] = run.read(spans.count().as_table())[0].to_pylist()
    return spans if count else None


def _by_dependencies(
    waits: ibis.Table,
    links: ibis.Table,
    keys: ibis.Table,
    deletions: ibis.Table | None,
    slack: ibis.Value,
    run: Runner,
) -> ibis.Table:
    """Rules 5a and 5b: what other resources show of the dependencies.

    A key is present by the first proof of it: an observation without it of a resource that listed
    it, or the release of one that still missed it. It is steady unless it is missing again later.
    """
    proof = ibis.ifelse(links.at_last & (links.code == _IN_TIME), links.gone_by, links.there_by)
    shown = links.group_by("key").aggregate(
        present_by=proof.min(), last_by=links.last_missing_by.max(), named=links.named.all()
    )
    steady = shown.named & ~(shown.present_by <= shown.last_by).fill_null(False)
    shown = shown.select("key", "present_by", steady=steady)
    open_links = links.filter(links.at_last & links.code.isnull()).select("wait", "key")
    own = waits.select("wait", "expires_at", "last_seen", "missing_count")
    asked = open_links.inner_join(own, "wait").inner_join(shown, "key")
    asked = asked.select(*open_links.columns, *own.columns[1:], "present_by", "steady")
    asked = run.keep(_with_next_missing(asked, links, slack))
    asked = _with_deletions(asked, keys, deletions, slack)
    lacking = asked.steady & asked.next_missing_by.notnull() & ~asked.deleted_before_missing
    in_time = (asked.steady & (asked.present_by <= asked.expires_at - slack)).fill_null(False)
    # Of several that came one after the other, the first may have been gone when the last came.
    in_time &= (asked.missing_count == 1).fill_null(False) | ~asked.deleted_before_present
    found = asked.group_by("wait").aggregate(lacks=lacking.any(), present=in_time.sum())
    joined = waits.left_join(found, "wait").drop("wait_right")
    # Never where the list was left out; nor where it was empty and still waited, which shows that
    # nothing is released at once there, as the rule assumes.
    complete = (joined.present == joined.missing_count) & (joined.missing_count > 0)
    in_view = joined.last_seen <= joined.expires_at - slack
    code = ibis.coalesce(
        joined.code, _code((joined.lacks, _STILL_MISSING), (complete & in_view, _ALL_PRESENT))
    )
    return joined.mutate(code=code).drop("lacks", "present")


def _with_next_missing(asked: ibis.Table, links: ibis.Table, slack: ibis.Value) -> ibis.Table:
    """With the first time after a wait's expiry at which a resource last lists its key as missing:
    ``next_missing_by``, when the answer to that observation arrived."""
    moments = asked.filter(asked.expires_at.notnull()).select(
        "key",
        "wait",
        at=asked.expires_at + slack,
        by=ibis.null(asked.last_seen.type()),
        listed=ibis.literal(0, "int8"),
    )
    seen = links.semi_join(moments, "key").select(
        "key",
        wait=ibis.null("int64"),
        at="last_missing",
        by="last_missing_by",
        listed=ibis.literal(1, "int8"),
    )
    both = moments.cast(dict(seen.schema())).union(seen)
    # A moment asked about comes before an observation at that moment. Those between two of these
    # have as many of them after them as the latter has with itself.
    order = [both["at"], both.listed, both.by]
    after = ibis.window(group_by="key", order_by=order, preceding=0, following=None)
    told = both.mutate(left=both.listed.sum().over(after))
    of_one = ibis.window(group_by=["key", "left"])
    told = told.mutate(next_missing_by=told.by.max().over(of_one))
    told = told.filter(told.listed == 0).select("key", "wait", "next_missing_by")
    return asked.left_join(told, ["key", "wait"]).drop("key_right", "wait_right")


def _with_deletions(
    asked: ibis.Table, keys: ibis.Table, deletions: ibis.Table | None, slack: ibis.Value
) -> ibis.Table:
    """With whether something may have been deleted between the last observation of a wait and the
    proof that its key was present, or missing."""
    no = ibis.literal(False)
    if deletions is None:
        return asked.mutate(deleted_before_present=no, deleted_before_missing=no)
    named = asked.inner_join(keys.select("key", "tenant"), "key").select(*asked.columns, "tenant")
    spans = named.select(
        "key",
        "wait",
        "tenant",
        after=named.last_seen - slack,
        present=ibis.coalesce(named.present_by, named.expires_at) + slack,
        missing=named.next_missing_by + slack,
    )
    within = spans.inner_join(
        deletions, [spans.tenant == deletions.tenant, deletions.ends > spans.after]
    )
    hit = within.group_by(["key", "wait"]).aggregate(
        deleted_before_present=(within.begins <= within.present).any(),
        deleted_before_missing=(within.begins <= within.missing).any(),
    )
    joined = asked.left_join(hit, ["key", "wait"]).drop("key_right", "wait_right")
    flags = ["deleted_before_present", "deleted_before_missing"]
    return joined.mutate(**{name: joined[name].fill_null(False) for name in flags})


def _with_results(waits: ibis.Table) -> ibis.Table:
    """The waits that are gone, with what is known of each: released, expired, or neither."""
    gone = waits.filter(waits.departure.notnull())
    return gone.select(
        "batch",
        "departure",
        released=gone.code.isin([_IN_TIME, _ALL_PRESENT]).fill_null(False),
        expired=gone.code.isin([_TOO_LATE, _STILL_MISSING]).fill_null(False),
    )


def _by_counts(waits: ibis.Table, told: ibis.Table) -> ibis.Table:
    """Rules 5c to 6: what the batches counted from a base to the departure's observation."""
    wide = waits.left_join(told, ["batch", "departure"])
    wide = wide.select(*waits.columns, *told.columns[2:])
    gone, can_expire = wide.departure.notnull(), wide.expires_at.notnull()
    some = gone & (wide.open > 0)
    code = _code(
        (some & can_expire & (wide.most == 0), _NONE_COUNTED),
        (some & (wide.least == wide.open), _ALL_COUNTED),
        (gone & can_expire & (wide.high == 0), _ALL_IN_CODE),
        (some & (wide.low == wide.open), _NONE_IN_CODE),
        (gone, _UNKNOWN),
    )
    judged = wide.mutate(code=ibis.coalesce(wide.code, code))
    unknown = judged.code == _UNKNOWN
    none = ibis.null("int64")
    return judged.mutate(
        unknown_together=ibis.ifelse(unknown, judged.open, none),
        released_at_least=ibis.ifelse(
            unknown, ibis.greatest(judged.least, judged.low).cast("int64"), none
        ),
        released_at_most=ibis.ifelse(
            unknown, ibis.least(judged.most, judged.high).cast("int64"), none
        ),
    )


def _with_ends(waits: ibis.Table) -> ibis.Table:
    """With the names of verdict and rule, when each wait ended, as an interval, and how long after
    its expiry an expired one was gone."""
    names = [_named(waits.code, part) for part in ("verdict", "name")]
    rows = waits.mutate(verdict=names[0], rule=names[1].fill_null(""))
    expired = (rows.verdict == "expired").fill_null(False)
    expires, seen, gone = rows.expires_at, rows.last_seen, rows.gone_by
    # Nothing waits beyond its expiry, whatever became of it.
    over = ((expires < gone) & (expires > seen)).fill_null(False)
    # Where the clocks differ, the last observation may be a little later than the expiry.
    early = ((expires < seen) & gone.notnull()).fill_null(False)
    late = ibis.greatest(seen.delta(expires, unit="microsecond"), 0)
    none = ibis.null("int64")
    return rows.mutate(
        ended_after=ibis.ifelse(expired | early, expires, seen),
        ended_by=ibis.ifelse(expired | over, expires, gone),
        sweep_lag_low=ibis.ifelse(expired & expires.notnull(), late, none),
        sweep_lag_high=ibis.ifelse(expired, gone.delta(expires, unit="microsecond"), none),
    )


def _named(code: ibis.Value, part: str) -> ibis.Value:
    return ibis.cases(*[(code == n, getattr(rule, part)) for n, rule in enumerate(CODES)])
