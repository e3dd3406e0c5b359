"""What is due when, and that the store teaches what the looks did."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics.collector.knowledge import Knowledge, remembered
from reach_analytics.collector.observe import LIST, to_tables
from reach_analytics.collector.schedule import Due, Kind, Known, Policy, moments, next_look, order
from reach_analytics.frames import Tables
from tests.looks import batch, counts, look, minute

STEADY = Policy(jitter=0)
SECOND = timedelta(seconds=1)
FLOOR, CEILING = STEADY.floor, STEADY.ceiling


def known(**fields) -> Known:
    seen = {"looked_at": minute(0), "seen_at": minute(0), "changed_at": minute(0)}
    return Known("t", "b", **{**seen, **fields})


def polls(hours: float, policy: Policy = STEADY) -> int:
    """Looks at a batch that never changes, from the one that found it on."""
    batch_, count = known(), 0
    while (due := next_look(batch_, policy)).at <= minute(60 * hours):
        batch_, count = replace(batch_, looked_at=due.at, seen_at=due.at), count + 1
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


def test_there_is_a_look_shortly_before_and_after_each_expiry():
    waits = known(waits=True, expiries=(minute(60),), changed_at=minute(-600))
    before = next_look(replace(waits, looked_at=minute(58)), STEADY)
    assert (before.kind, before.at) == (Kind.DEADLINE, minute(60) - STEADY.margin)
    after = next_look(replace(waits, looked_at=before.at), STEADY)
    assert (after.kind, after.at) == (
        Kind.DEADLINE,
        minute(60) + STEADY.tolerance + STEADY.margin,
    )
    assert next_look(replace(waits, looked_at=after.at), STEADY).kind == Kind.POLL


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
    ended = known(settled=True)
    confirm = next_look(ended, STEADY)
    assert (confirm.kind, confirm.at) == (Kind.CONFIRM, minute(1))
    left = next_look(replace(ended, looked_at=minute(2), seen_at=minute(2)), STEADY)
    assert left.kind == Kind.AUDIT
    assert left.at > minute(60 * 12)


def test_about_one_in_a_hundred_of_the_ended_is_looked_at_each_day():
    ended = [
        replace(known(settled=True, looked_at=minute(9), seen_at=minute(9)), batch_id=str(n))
        for n in range(5000)
    ]
    for day in (1, 5):
        last = minute(60 * (18 + 24 * day))  # the end of a day
        due = [d for d in (next_look(one, STEADY) for one in ended) if d.at < last]
        assert 0.5 * day < len(due) / 50 < 1.5 * day


def test_a_batch_that_cannot_be_seen_is_asked_for_ever_more_seldom():
    distances = [next_look(known(failures=n), STEADY).at - minute(0) for n in (1, 2, 3, 30)]
    assert distances == [2 * FLOOR, 4 * FLOOR, 8 * FLOOR, STEADY.retry_ceiling]


def test_deadlines_go_first_and_then_the_most_overdue():
    def due(name: str, at: float, kind: Kind, apart: float) -> Due:
        return Due("t", name, minute(at), kind, timedelta(minutes=apart))

    late = due("late", 0, Kind.POLL, 10)
    later = due("later", 5, Kind.POLL, 1)
    deadline = due("deadline", 9.5, Kind.DEADLINE, 60)
    not_yet = due("not yet", 11, Kind.DEADLINE, 60)
    assert order([late, later, deadline, not_yet], minute(10)) == [deadline, later, late]


def test_a_clock_that_was_set_back_does_not_put_looks_off():
    """The last look lies an hour ahead of the clock: nobody waits an hour for it."""
    ahead = next_look(known(looked_at=minute(60), changed_at=minute(60)), STEADY)
    assert order([ahead], minute(0)) == [ahead]


@pytest.mark.parametrize(
    "odd",
    [
        {"floor": timedelta(0)},
        {"floor": timedelta(hours=1)},
        {"quiet_share": 0},
        {"jitter": 1.5},
        {"audit_share": -1},
    ],
)
def test_odd_policies_are_refused(odd):
    with pytest.raises(ValueError, match="must"):
        Policy(**odd)


LOOKS = st.lists(
    st.tuples(
        st.sampled_from(["b", "c"]),
        st.sampled_from(["detail", "list", "failed"]),
        st.sampled_from(["processing", "success", "novel"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=40)
@given(drawn=LOOKS)
def test_the_store_teaches_what_the_looks_did(drawn):
    looks = []
    for at, (name, kind, status, pending, listed) in enumerate(drawn):
        if kind == "failed":
            looks.append(look(None, at, batch_id=name))
            continue
        waits = {f"A{n}": "x" for n in range(pending)} if listed and kind == "detail" else None
        document = batch(name, waits=waits, expires=60 + at, status=status)
        if listed:
            document["progress"] = counts(5, 1, 1) | {"pendingRecords": pending}
        looks.append(look(document, at, scope=LIST if kind == "list" else "detail"))
    live = Knowledge()
    live.learn(looks)
    snapshots, observations = to_tables(looks, minute(99))
    told = remembered(Tables(ibis.memtable(snapshots), ibis.memtable(observations)))
    assert told.batches == live.batches
    assert told.states == live.states
