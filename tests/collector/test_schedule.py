"""What is due when, and that the store restores the same states as the observations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.collector._schedule.batch_states import BatchStates, remembered
from reach_analytics.collector._schedule.due_queue import DueQueue
from reach_analytics.collector._schedule.policy import (
    BatchState,
    Due,
    Kind,
    PollingPolicy,
    brought_back,
    moments,
    next_listing,
    next_observation,
    order,
)
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import LIST
from tests.support.effort import examples
from tests.support.observations import batch, counts, minute, observation

STEADY = PollingPolicy(jitter=0)
SECOND = timedelta(seconds=1)
MINUTE = 60 * SECOND
MIN_INTERVAL, MAX_INTERVAL = STEADY.min_interval, STEADY.max_interval


def known(**fields) -> BatchState:
    times = ("last_sent_at", "asked_at", "seen_at", "changed_at")
    return BatchState("t", "b", **{**dict.fromkeys(times, minute(0)), **fields})


def observed(batch_: BatchState, at) -> BatchState:
    """The batch after an observation without a change."""
    return replace(batch_, last_sent_at=at, asked_at=at, seen_at=at)


def observations_within(hours: float, policy: PollingPolicy = STEADY) -> int:
    """Observations of a batch that never changes, after the first."""
    batch_, count = known(), 0
    while (due := next_observation(batch_, policy)).at <= minute(60 * hours):
        batch_, count = observed(batch_, due.at), count + 1
    return count


def test_a_batch_that_never_changes_is_observed_less_and_less_often():
    """Polling every 30 s takes 120 observations an hour and 2,880 a day."""
    assert observations_within(1) == pytest.approx(44, abs=1)
    assert observations_within(24) == pytest.approx(139, abs=1)


def test_the_interval_is_between_the_minimum_and_the_maximum():
    assert next_observation(known(), STEADY).at == minute(0) + MIN_INTERVAL
    quiet = known(changed_at=minute(-60 * 24 * 9))
    assert next_observation(quiet, STEADY).at == minute(0) + MAX_INTERVAL
    half_an_hour = known(changed_at=minute(-30))
    assert next_observation(half_an_hour, STEADY).at == minute(3)


@given(quiet=st.integers(0, 10**6), jitter=st.floats(0, 1), seed=st.integers(0, 99))
def test_the_interval_is_never_longer_than_promised(quiet, jitter, seed):
    policy = PollingPolicy(jitter=jitter, seed=seed)
    due = next_observation(known(changed_at=minute(0) - quiet * SECOND), policy)
    longest = min(max(quiet * SECOND * policy.backoff_fraction, MIN_INTERVAL), MAX_INTERVAL)
    assert minute(0) + longest * (1 - jitter) <= due.at + SECOND
    assert due.at <= minute(0) + longest * (1 + jitter) + SECOND
    assert due == next_observation(known(changed_at=minute(0) - quiet * SECOND), policy)


def test_a_batch_that_only_waits_has_its_own_minimum_interval():
    assert next_observation(known(waits=True), STEADY).at == minute(0) + MIN_INTERVAL
    assert (
        next_observation(known(waits=True, ended=True), STEADY).at
        == minute(0) + STEADY.waiting_min_interval
    )


def test_there_is_an_observation_shortly_before_and_after_each_expiry():
    waits = known(waits=True, expiries=(minute(60),), changed_at=minute(-600))
    before = next_observation(observed(waits, minute(58)), STEADY)
    assert (before.kind, before.at) == (Kind.DEADLINE, minute(60) - STEADY.margin)
    after = next_observation(observed(waits, before.at), STEADY)
    assert (after.kind, after.at) == (
        Kind.DEADLINE,
        minute(60) + STEADY.tolerance + STEADY.margin,
    )
    assert next_observation(observed(waits, after.at), STEADY).kind == Kind.POLL


def test_expiries_close_together_share_their_observations():
    close = [minute(60), minute(60.3), minute(60.7), minute(70)]
    assert moments(close, STEADY) == [
        minute(60) - STEADY.margin,
        minute(60.7) + STEADY.margin + STEADY.tolerance,
        minute(70) - STEADY.margin,
        minute(70) + STEADY.margin + STEADY.tolerance,
    ]


def test_a_batch_without_waits_has_no_deadlines():
    assert next_observation(known(expiries=(minute(1),)), STEADY).kind == Kind.POLL


def test_a_batch_that_has_ended_is_confirmed_once_and_then_only_audited():
    ended = known(ended=True)
    confirm = next_observation(ended, STEADY)
    assert (confirm.kind, confirm.at) == (Kind.CONFIRM, minute(1))
    left = next_observation(observed(ended, minute(2)), STEADY)
    assert left.kind == Kind.AUDIT
    assert left.at > minute(60 * 12)


def test_what_ended_long_before_it_was_found_needs_no_confirmation():
    old = known(ended=True, ended_at=minute(-60))
    assert next_observation(old, STEADY).kind == Kind.AUDIT
    just_now = known(ended=True, ended_at=minute(-0.5))
    assert next_observation(just_now, STEADY).kind == Kind.CONFIRM


def test_about_one_in_a_hundred_ended_batches_is_observed_each_day():
    ended = [
        replace(known(ended=True, last_sent_at=minute(9), seen_at=minute(9)), batch_id=str(n))
        for n in range(5000)
    ]
    for day in (1, 5):
        last = minute(60 * (18 + 24 * day))  # the end of a day
        due = [d for d in (next_observation(one, STEADY) for one in ended) if d.at < last]
        assert 0.5 * day < len(due) / 50 < 1.5 * day


def test_a_failing_batch_is_asked_for_less_and_less_often():
    intervals = [next_observation(known(refused=n), STEADY).at - minute(0) for n in (1, 2, 3, 30)]
    assert intervals == [
        2 * MIN_INTERVAL,
        4 * MIN_INTERVAL,
        8 * MIN_INTERVAL,
        STEADY.retry_max_interval,
    ]


def test_deadlines_go_first_and_then_the_most_overdue():
    def due(name: str, at: float, kind: Kind, interval: float) -> Due:
        return Due("t", name, minute(at), kind, minute(at - interval))

    late = due("late", 0, Kind.POLL, 10)
    later = due("later", 5, Kind.POLL, 1)
    deadline = due("deadline", 9.5, Kind.DEADLINE, 60)
    not_yet = due("not yet", 11, Kind.DEADLINE, 60)
    assert order([late, later, deadline, not_yet], minute(10)) == [deadline, later, late]


def test_a_clock_that_was_set_back_does_not_delay_observations():
    """The last observation is an hour ahead of the clock: it is not waited for."""
    ahead = next_observation(observed(known(), minute(60)), STEADY)
    assert order([brought_back(ahead, minute(0))], minute(0))
    queue = DueQueue()
    queue.put(ahead)
    assert queue.take(minute(0)) == []
    queue.set_back(minute(0))
    assert [due.batch_id for due in queue.take(minute(0))] == ["b"]


def test_a_clock_that_was_set_back_does_not_hasten_audits():
    left = next_observation(observed(known(ended=True), minute(60)), STEADY)
    assert brought_back(left, minute(0)) == left


def test_a_change_in_a_listing_makes_the_batch_itself_due_now():
    told = known(told=True, changed_at=minute(10), last_sent_at=minute(10), seen_at=minute(10))
    due = next_observation(told, STEADY)
    assert (due.at, due.kind, due.listable) == (minute(10), Kind.POLL, False)
    never_asked = replace(told, asked_at=None)
    assert next_observation(never_asked, STEADY).at == minute(10)


def test_listings_do_not_delay_observations_of_what_waits():
    """Only the batch itself tells what waits, so intervals count from its last observation."""
    waits = known(waits=True, last_sent_at=minute(59), seen_at=minute(59), changed_at=minute(-600))
    assert next_observation(waits, STEADY).at == minute(15)
    counted = known(last_sent_at=minute(59), seen_at=minute(59), changed_at=minute(-600))
    assert next_observation(counted, STEADY).at == minute(59) + MAX_INTERVAL


def test_a_tenants_listing_is_fetched_less_often_the_longer_nothing_came():
    def interval(quiet: float | None, failures: int = 0) -> timedelta:
        newest = None if quiet is None else minute(-quiet)
        return next_listing("t", minute(0), newest, failures, 60 * SECOND, STEADY).at - minute(0)

    assert [interval(q) for q in (0, 10, 30, 1000, None)] == [
        60 * SECOND,
        60 * SECOND,
        180 * SECOND,
        MAX_INTERVAL,
        MAX_INTERVAL,
    ]
    assert [interval(0, failures=n) for n in (1, 2, 30)] == [
        120 * SECOND,
        240 * SECOND,
        STEADY.retry_max_interval,
    ]


@given(
    at=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(1, 9)), max_size=30),
    now=st.integers(0, 60),
    most=st.integers(1, 9),
)
def test_the_due_queue_holds_the_last_entry_of_each_and_returns_the_most_urgent(at, now, most):
    queue, entered = DueQueue(), {}
    for name, due_at, interval in at:
        due = Due("t", str(name), minute(due_at), Kind.POLL, minute(due_at - interval))
        queue.put(due)
        entered[due.key] = due
    assert sorted(queue.entries(), key=lambda d: d.key) == sorted(
        entered.values(), key=lambda d: d.key
    )
    first = min((due.at for due in entered.values()), default=None)
    assert queue.next_at() == first
    late = queue.overdue(minute(now), minute(3), 2 * MINUTE)
    assert late == sum(
        minute(now) - max(due.at, minute(3)) > max(due.at - due.since, 2 * MINUTE)
        for due in entered.values()
        if due.at <= minute(now)
    )
    taken = queue.take(minute(now), most)
    assert taken == order(entered.values(), minute(now), most)
    left = [due for due in entered.values() if due not in taken]
    assert order(queue.entries(), minute(99)) == order(left, minute(99))


@pytest.mark.parametrize(
    "odd",
    [
        {"min_interval": timedelta(0)},
        {"min_interval": timedelta(hours=1)},
        {"backoff_fraction": 0},
        {"jitter": 1.5},
        {"audit_fraction": -1},
        {"sweep_every": timedelta(0)},
    ],
)
def test_odd_policies_are_refused(odd):
    with pytest.raises(ValueError, match="must"):
        PollingPolicy(**odd)


OBSERVATIONS = st.lists(
    st.tuples(
        st.sampled_from(["b", "c"]),
        st.sampled_from(["detail", "list", "failed", "unread"]),
        st.sampled_from(["processing", "success", "novel"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=10,
)


@settings(max_examples=examples(40))
@given(drawn=OBSERVATIONS)
def test_the_store_restores_the_same_states_as_the_observations(drawn):
    observations = []
    for at, (name, kind, status, pending, listed) in enumerate(drawn):
        if kind in ("failed", "unread"):
            scope = LIST if kind == "unread" else "detail"
            observations.append(observation(None, at, batch_id=name, scope=scope))
            continue
        waits = {f"A{n}": "x" for n in range(pending)} if listed and kind == "detail" else None
        document = batch(name, waits=waits, expires=at + 3 * (pending - 1), status=status)
        document["createdAt"] = minute(-at).isoformat()
        if pending == 1:
            document["completedAt"] = minute(-at).isoformat()
        if listed:
            document["progress"] = counts(5, 1, 1) | {"pendingRecords": pending}
        observations.append(observation(document, at, scope=LIST if kind == "list" else "detail"))
    live = BatchStates()
    for one in observations:
        live.learn(one)
    snapshots, stored = to_tables(observations, minute(99))
    told = remembered(Tables(ibis.memtable(snapshots), ibis.memtable(stored)))
    assert told.batches == live.batches
    assert told.newest == live.newest
    names = [{k: sorted(v) for k, v in one.of_tenant.items()} for one in (told, live)]
    assert names[0] == names[1]
