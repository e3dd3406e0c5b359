"""What is due when, and that the store teaches what the looks did."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics.collector.agenda import Agenda
from reach_analytics.collector.knowledge import Knowledge, remembered
from reach_analytics.collector.observe import LIST, to_tables
from reach_analytics.collector.schedule import (
    Due,
    Kind,
    Known,
    Policy,
    brought_back,
    moments,
    next_listing,
    next_look,
    order,
)
from reach_analytics.frames import Tables
from tests.looks import batch, counts, look, minute

STEADY = Policy(jitter=0)
SECOND = timedelta(seconds=1)
MINUTE = 60 * SECOND
FLOOR, CEILING = STEADY.floor, STEADY.ceiling


def known(**fields) -> Known:
    times = ("looked_at", "asked_at", "seen_at", "changed_at")
    return Known("t", "b", **{**dict.fromkeys(times, minute(0)), **fields})


def looked(batch_: Known, at) -> Known:
    """The batch after a look that saw nothing new."""
    return replace(batch_, looked_at=at, asked_at=at, seen_at=at)


def polls(hours: float, policy: Policy = STEADY) -> int:
    """Looks at a batch that never changes, from the one that found it on."""
    batch_, count = known(), 0
    while (due := next_look(batch_, policy)).at <= minute(60 * hours):
        batch_, count = looked(batch_, due.at), count + 1
    return count


def test_a_batch_that_never_changes_is_looked_at_ever_more_seldom():
    """Polling every 30 s takes 120 looks an hour and 2,880 a day."""
    assert polls(1) == pytest.approx(44, abs=1)
    assert polls(24) == pytest.approx(139, abs=1)


def test_what_just_changed_is_looked_at_after_the_floor_and_the_ceiling_is_the_longest():
    assert next_look(known(), STEADY).at == minute(0) + FLOOR
    quiet = known(changed_at=minute(-60 * 24 * 9))
    assert next_look(quiet, STEADY).at == minute(0) + CEILING
    half_an_hour = known(changed_at=minute(-30))
    assert next_look(half_an_hour, STEADY).at == minute(3)


@given(quiet=st.integers(0, 10**6), jitter=st.floats(0, 1), seed=st.integers(0, 99))
def test_the_delay_is_never_longer_than_promised(quiet, jitter, seed):
    policy = Policy(jitter=jitter, seed=seed)
    due = next_look(known(changed_at=minute(0) - quiet * SECOND), policy)
    longest = min(max(quiet * SECOND * policy.quiet_share, FLOOR), CEILING)
    assert minute(0) + longest * (1 - jitter) <= due.at + SECOND
    assert due.at <= minute(0) + longest * (1 + jitter) + SECOND
    assert due == next_look(known(changed_at=minute(0) - quiet * SECOND), policy)


def test_what_only_waits_is_looked_at_no_sooner_than_after_its_own_floor():
    assert next_look(known(waits=True), STEADY).at == minute(0) + FLOOR
    assert next_look(known(waits=True, ended=True), STEADY).at == minute(0) + STEADY.waiting_floor


def test_there_is_a_look_shortly_before_and_after_each_expiry():
    waits = known(waits=True, expiries=(minute(60),), changed_at=minute(-600))
    before = next_look(looked(waits, minute(58)), STEADY)
    assert (before.kind, before.at) == (Kind.DEADLINE, minute(60) - STEADY.margin)
    after = next_look(looked(waits, before.at), STEADY)
    assert (after.kind, after.at) == (
        Kind.DEADLINE,
        minute(60) + STEADY.tolerance + STEADY.margin,
    )
    assert next_look(looked(waits, after.at), STEADY).kind == Kind.POLL


def test_expiries_that_lie_close_together_share_their_looks():
    close = [minute(60), minute(60.3), minute(60.7), minute(70)]
    assert moments(close, STEADY) == [
        minute(60) - STEADY.margin,
        minute(60.7) + STEADY.margin + STEADY.tolerance,
        minute(70) - STEADY.margin,
        minute(70) + STEADY.margin + STEADY.tolerance,
    ]


def test_a_batch_without_waits_has_no_deadlines():
    assert next_look(known(expiries=(minute(1),)), STEADY).kind == Kind.POLL


def test_a_batch_that_has_ended_is_confirmed_once_and_then_left_to_the_lot():
    ended = known(ended=True)
    confirm = next_look(ended, STEADY)
    assert (confirm.kind, confirm.at) == (Kind.CONFIRM, minute(1))
    left = next_look(looked(ended, minute(2)), STEADY)
    assert left.kind == Kind.AUDIT
    assert left.at > minute(60 * 12)


def test_what_ended_long_before_it_was_found_needs_no_second_look():
    old = known(ended=True, ended_at=minute(-60))
    assert next_look(old, STEADY).kind == Kind.AUDIT
    just_now = known(ended=True, ended_at=minute(-0.5))
    assert next_look(just_now, STEADY).kind == Kind.CONFIRM


def test_about_one_in_a_hundred_of_the_ended_is_looked_at_each_day():
    ended = [
        replace(known(ended=True, looked_at=minute(9), seen_at=minute(9)), batch_id=str(n))
        for n in range(5000)
    ]
    for day in (1, 5):
        last = minute(60 * (18 + 24 * day))  # the end of a day
        due = [d for d in (next_look(one, STEADY) for one in ended) if d.at < last]
        assert 0.5 * day < len(due) / 50 < 1.5 * day


def test_a_batch_that_cannot_be_seen_is_asked_for_ever_more_seldom():
    distances = [next_look(known(refused=n), STEADY).at - minute(0) for n in (1, 2, 3, 30)]
    assert distances == [2 * FLOOR, 4 * FLOOR, 8 * FLOOR, STEADY.retry_ceiling]


def test_deadlines_go_first_and_then_the_most_overdue():
    def due(name: str, at: float, kind: Kind, apart: float) -> Due:
        return Due("t", name, minute(at), kind, minute(at - apart))

    late = due("late", 0, Kind.POLL, 10)
    later = due("later", 5, Kind.POLL, 1)
    deadline = due("deadline", 9.5, Kind.DEADLINE, 60)
    not_yet = due("not yet", 11, Kind.DEADLINE, 60)
    assert order([late, later, deadline, not_yet], minute(10)) == [deadline, later, late]


def test_a_clock_that_was_set_back_does_not_put_looks_off():
    """The last look lies an hour ahead of the clock: nobody waits an hour for it."""
    ahead = next_look(looked(known(), minute(60)), STEADY)
    assert order([brought_back(ahead, minute(0))], minute(0))
    agenda = Agenda()
    agenda.put(ahead)
    assert agenda.take(minute(0)) == []
    agenda.set_back(minute(0))
    assert [due.batch_id for due in agenda.take(minute(0))] == ["b"]


def test_a_clock_that_was_set_back_brings_no_audit_forward():
    left = next_look(looked(known(ended=True), minute(60)), STEADY)
    assert brought_back(left, minute(0)) == left


def test_a_listing_that_tells_of_a_change_has_the_batch_itself_looked_at_now():
    told = known(told=True, changed_at=minute(10), looked_at=minute(10), seen_at=minute(10))
    due = next_look(told, STEADY)
    assert (due.at, due.kind, due.listable) == (minute(10), Kind.POLL, False)
    never_asked = replace(told, asked_at=None)
    assert next_look(never_asked, STEADY).at == minute(10)


def test_listings_do_not_put_off_looks_at_what_waits():
    """What waits is told by the batch alone, so distances count from the last look there."""
    waits = known(waits=True, looked_at=minute(59), seen_at=minute(59), changed_at=minute(-600))
    assert next_look(waits, STEADY).at == minute(15)
    counted = known(looked_at=minute(59), seen_at=minute(59), changed_at=minute(-600))
    assert next_look(counted, STEADY).at == minute(59) + CEILING


def test_a_tenants_listing_is_asked_for_the_more_seldom_the_longer_nothing_came():
    def apart(quiet: float | None, failures: int = 0) -> timedelta:
        newest = None if quiet is None else minute(-quiet)
        return next_listing("t", minute(0), newest, failures, 60 * SECOND, STEADY).at - minute(0)

    assert [apart(q) for q in (0, 10, 30, 1000, None)] == [
        60 * SECOND,
        60 * SECOND,
        180 * SECOND,
        CEILING,
        CEILING,
    ]
    assert [apart(0, failures=n) for n in (1, 2, 30)] == [
        120 * SECOND,
        240 * SECOND,
        STEADY.retry_ceiling,
    ]


@given(
    at=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.integers(1, 9)), max_size=30),
    now=st.integers(0, 60),
    most=st.integers(1, 9),
)
def test_the_agenda_holds_the_last_entry_for_each_and_gives_the_most_pressing(at, now, most):
    agenda, entered = Agenda(), {}
    for name, due_at, apart in at:
        due = Due("t", str(name), minute(due_at), Kind.POLL, minute(due_at - apart))
        agenda.put(due)
        entered[due.key] = due
    assert sorted(agenda.entries(), key=lambda d: d.key) == sorted(
        entered.values(), key=lambda d: d.key
    )
    first = min((due.at for due in entered.values()), default=None)
    assert agenda.next_at() == first
    late = agenda.overdue(minute(now), minute(3), 2 * MINUTE)
    assert late == sum(
        minute(now) - max(due.at, minute(3)) > max(due.at - due.since, 2 * MINUTE)
        for due in entered.values()
        if due.at <= minute(now)
    )
    taken = agenda.take(minute(now), most)
    assert taken == order(entered.values(), minute(now), most)
    left = [due for due in entered.values() if due not in taken]
    assert order(agenda.entries(), minute(99)) == order(left, minute(99))


@pytest.mark.parametrize(
    "odd",
    [
        {"floor": timedelta(0)},
        {"floor": timedelta(hours=1)},
        {"quiet_share": 0},
        {"jitter": 1.5},
        {"audit_share": -1},
        {"sweep_every": timedelta(0)},
    ],
)
def test_odd_policies_are_refused(odd):
    with pytest.raises(ValueError, match="must"):
        Policy(**odd)


LOOKS = st.lists(
    st.tuples(
        st.sampled_from(["b", "c"]),
        st.sampled_from(["detail", "list", "failed", "unread"]),
        st.sampled_from(["processing", "success", "novel"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=10,
)


@settings(max_examples=40)
@given(drawn=LOOKS)
def test_the_store_teaches_what_the_looks_did(drawn):
    looks = []
    for at, (name, kind, status, pending, listed) in enumerate(drawn):
        if kind in ("failed", "unread"):
            scope = LIST if kind == "unread" else "detail"
            looks.append(look(None, at, batch_id=name, scope=scope))
            continue
        waits = {f"A{n}": "x" for n in range(pending)} if listed and kind == "detail" else None
        document = batch(name, waits=waits, expires=at + 3 * (pending - 1), status=status)
        document["createdAt"] = minute(-at).isoformat()
        if pending == 1:
            document["completedAt"] = minute(-at).isoformat()
        if listed:
            document["progress"] = counts(5, 1, 1) | {"pendingRecords": pending}
        looks.append(look(document, at, scope=LIST if kind == "list" else "detail"))
    live = Knowledge()
    for one in looks:
        live.learn(one)
    snapshots, observations = to_tables(looks, minute(99))
    told = remembered(Tables(ibis.memtable(snapshots), ibis.memtable(observations)))
    assert told.batches == live.batches
    assert told.newest == live.newest
    names = [{k: sorted(v) for k, v in one.of_tenant.items()} for one in (told, live)]
    assert names[0] == names[1]
