"""From observations to waits: when each pending resource was seen to wait, and when it was gone.

These are the frames that users get of what `Numbered` holds; measures read the numbers themselves.
"""

from __future__ import annotations

import ibis

from reach_analytics.queries.numbered import Numbered
from reach_analytics.tables import BATCH_KEY, DEPARTURES, MISSING_INTERVALS, WAIT_INTERVALS

__all__ = ["departures", "departures_by_number", "missing_intervals", "wait_intervals"]

_COUNTS = ["status", "total_records", "processed_records", "successful_records", "failed_records"]


def wait_intervals(seen: Numbered, only: ibis.Table | None = None) -> ibis.Table:
    """One row per (batch, pending resource); of the waits ``only`` names, if it does."""
    waits = with_ids(seen.waits)
    named = with_batch(waits if only is None else waits.semi_join(only, "wait"), seen)
    last = last_observations(seen.stored)
    joined = named.left_join(last, BATCH_KEY)
    return joined.select(*named.columns, "last_sent_at").select(WAIT_INTERVALS.names)


def with_ids(waits: ibis.Table) -> ibis.Table:
    """Waits with their pending_id, null for those that have none."""
    own = ibis.ifelse(waits.has_id, waits.interval, ibis.null("string"))
    return waits.mutate(pending_id=own)


def with_batch(rows: ibis.Table, seen: Numbered) -> ibis.Table:
    """Rows of batches by number, with the names of these."""
    return rows.inner_join(seen.batches, "batch").select(*rows.columns, *BATCH_KEY)


def last_observations(observations: ibis.Table) -> ibis.Table:
    """When the last detail observation of each batch was sent, failed ones included."""
    own = observations.filter(observations.scope == "detail")
    return own.group_by(BATCH_KEY).aggregate(last_sent_at=own.sent_at.max())


def missing_intervals(seen: Numbered, only: ibis.Table | None = None) -> ibis.Table:
    """One row per (batch, pending resource, dependency that it was ever seen to miss); of the waits
    ``only`` names, if it does."""
    rows = dated_links(seen)
    rows = rows if only is None else rows.semi_join(only, "wait")
    began = seen.observations.select("batch", first="number", first_missing="sent_at")
    dated = rows.inner_join(began, ["batch", "first"]).select(*rows.columns, "first_missing")
    own = with_ids(seen.waits).select("wait", "pending_id", "external_id", "schema_definition_id")
    known = dated.inner_join(own, "wait").select(*dated.columns, *own.columns[1:])
    named = known.inner_join(seen.names, "name").select(*known.columns, *seen.names.columns[3:])
    return with_batch(named, seen).select(MISSING_INTERVALS.names)


def dated_links(seen: Numbered) -> ibis.Table:
    """The links with their batch and with when they were last and no longer seen: (wait, key,
    first, last, name, there, batch, last_missing, last_missing_by, there_by)."""
    rows = seen.links.inner_join(seen.waits.select("wait", "batch"), "wait")
    rows = rows.select(*seen.links.columns, "batch")
    for number, times in (
        ("last", {"last_missing": "sent_at", "last_missing_by": "received_at"}),
        ("there", {"there_by": "received_at"}),
    ):
        own = seen.observations.select("batch", **{number: "number"}, **times)
        joined = rows.left_join(own, ["batch", number])
        rows = joined.select(*rows.columns, *times)
    return rows


def departures(seen: Numbered) -> ibis.Table:
    """One row per observation without waits that earlier ones list, with what the batch counted."""
    return with_batch(departures_by_number(seen), seen).select(DEPARTURES.names)


def departures_by_number(seen: Numbered) -> ibis.Table:
    """The same, with the batch by number.

    Waits of one departure may have been last seen by different observations, where these overlap.
    So that all of them left within what is counted, the counts run from the last clear observation
    before the first of them left.
    """
    gone = seen.waits.filter(seen.waits.departure.notnull())
    left = gone.group_by(["batch", "departure"]).aggregate(first=gone["last"].min())
    left = seen.run.keep(left)
    start = seen.observations.select("batch", "base", first="number")
    end = seen.observations.select(
        "batch", "closed", state_1="state", departure="number", gone_by="received_at"
    )
    spans = left.inner_join(start, ["batch", "first"]).select("batch", "departure", "base")
    joined = spans.inner_join(end, ["batch", "departure"])
    spans = joined.select(*spans.columns, "closed", "state_1", "gone_by")
    base = seen.observations.select("batch", base="number", state_0="state")
    spans = seen.run.keep(
        spans.left_join(base, ["batch", "base"]).select(*spans.columns, "state_0")
    )
    overlapping = _overlapping(spans, seen)
    if overlapping is None:
        spans = spans.mutate(overlapping=ibis.literal(0, "int64"))
    else:
        joined = spans.left_join(overlapping, ["batch", "departure"])
        spans = joined.select(*spans.columns, "overlapping")
    return seen.run.keep(_counted(spans, seen))


def _overlapping(spans: ibis.Table, seen: Numbered) -> ibis.Table | None:
    """For each departure whose observation others overlap, the waits that were last seen by these:
    they may have left before or after the moment that its counts are of. None if there are none."""
    open_ends = spans.filter(~spans.closed).select("batch", "departure", "gone_by")
    open_ends = seen.run.keep(open_ends)
    if not seen.rows(open_ends):
        return None
    own = seen.waits.select("batch", "last", "last_seen")
    pairs = own.inner_join(
        open_ends,
        [
            "batch",
            own["last"] > open_ends.departure,
            own.last_seen < open_ends.gone_by,
        ],
    )
    counted = pairs.group_by(["batch", "departure"]).aggregate(overlapping=pairs.count())
    return seen.run.keep(counted)


def _counted(spans: ibis.Table, seen: Numbered) -> ibis.Table:
    """The spans between two states with what the batch counted from one to the other."""
    ends = [spans.select(state=spans[name]) for name in ("state_0", "state_1")]
    asked = seen.states.semi_join(ends[0].union(ends[1]), "state")
    snapshots = seen.snapshots
    # Where nothing has failed, there is nothing to sum up; else no summary means unknown.
    nothing = (snapshots.failed_records == 0) & snapshots.error_summary.isnull()
    errors = ibis.ifelse(nothing, "{}", snapshots.error_summary)
    told = snapshots.select(*BATCH_KEY, "state_hash", *_COUNTS, errors=errors)
    joined = told.inner_join(asked, [*BATCH_KEY, "state_hash"])
    counts = seen.run.keep(joined.select("state", *_COUNTS, "errors"))
    for when in ("0", "1"):
        own = counts.rename({f"{name}_{when}": name for name in (*_COUNTS, "errors", "state")})
        joined = spans.left_join(own, f"state_{when}")
        spans = joined.select(*spans.columns, *own.columns[1:])
    done = (spans.status_0 != "processing") & (spans.processed_records_0 == spans.total_records_0)
    return spans.select(
        "batch",
        "departure",
        "base",
        "gone_by",
        settled_before=done,
        overlapping=spans.overlapping.fill_null(0),
        successes=spans.successful_records_1 - spans.successful_records_0,
        failures=spans.failed_records_1 - spans.failed_records_0,
        errors_before=spans.errors_0,
        errors_after=spans.errors_1,
    )
