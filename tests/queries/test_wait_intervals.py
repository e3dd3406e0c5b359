"""From observations to wait intervals: when each wait was seen and gone, and the counts."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.history import History
from reach_analytics.tables import LIST
from tests.support.effort import examples
from tests.support.histories import SECOND, history, unnamed
from tests.support.observations import batch, counts, minute, observation


def only(seen: History) -> pd.Series:
    [(_, row)] = seen.wait_intervals().iterrows()
    return row


def test_a_wait_lasts_from_its_first_to_its_last_observation_and_ends_by_the_next_full_list():
    waits = batch(waits={"A": "x"}, created=-5, expires=60)
    row = only(
        history(observation(waits, 0), observation(waits, 10), observation(batch(waits={}), 20))
    )
    assert (row["first_seen"], row["last_seen"]) == (minute(0), minute(10))
    assert row["gone_by"] == minute(20) + SECOND
    assert (row["created_at"], row["expires_at"]) == (minute(-5), minute(60))
    assert row["missing_count"] == 1


def test_a_resource_that_reappears_in_a_later_list_never_left():
    waits = batch(waits={"A": "x"})
    row = only(
        history(observation(waits, 0), observation(batch(waits={}), 10), observation(waits, 20))
    )
    assert row["last_seen"] == minute(20)
    assert pd.isna(row["gone_by"])


def test_neither_a_listing_nor_a_failed_observation_ends_a_wait():
    row = only(
        history(
            observation(batch(waits={"A": "x"}), 0),
            observation(batch(status="success"), 5, scope=LIST),
            observation(None, 10, batch_id="b"),
        )
    )
    assert pd.isna(row["gone_by"])
    assert row["last_sent_at"] == minute(10)  # a listing does not show what waits


def test_a_truncated_list_ends_no_wait_but_shows_what_it_holds():
    short = batch(waits={"B": "x"}, progress={"totalRecords": 9, "pendingRecords": 2})
    full = batch(waits={"A": "x", "B": "x"})
    seen = history(
        observation(full, 0), observation(short, 10), observation(batch(waits={"A": "x"}), 20)
    ).wait_intervals()
    by_name = seen.set_index("external_id")
    assert by_name.loc["A", "last_seen"] == minute(20)
    assert by_name.loc["B", "last_seen"] == minute(10)
    assert by_name.loc["B", "gone_by"] == minute(20) + SECOND


def test_the_counts_around_the_end_are_those_of_the_full_lists_around_it():
    seen = history(
        observation(batch(waits={"A": "x", "B": "y"}, progress=counts(5, 2, 1)), 0),
        observation(batch(waits={"B": "y"}, progress=counts(5, 2, 2)), 10),
        observation(batch(waits={}, progress=counts(5, 3, 2)), 20),
    )
    rows = seen.departures()
    assert rows[["departure", "base"]].to_numpy().tolist() == [[1, 0], [2, 1]]
    assert rows[["successes", "failures"]].to_numpy().tolist() == [[0, 1], [1, 0]]
    assert rows["gone_by"].tolist() == [minute(10) + SECOND, minute(20) + SECOND]
    assert rows["settled_before"].all()
    assert seen.wait_intervals().set_index("external_id")["departure"].to_dict() == {
        "A": 1,
        "B": 2,
    }


def test_the_summaries_of_errors_around_the_end_are_kept_and_none_means_nothing_failed():
    failed = batch(waits={}, progress=counts(5, 4, 1), errors={"summary": {"LATE": 1}})
    untold = batch(waits={}, progress=counts(5, 4, 1))
    first = observation(batch(waits={"A": "x"}, progress=counts(5, 4, 0)), 0)
    [row] = history(first, observation(failed, 10)).departures().to_dict("records")
    assert (row["errors_before"], row["errors_after"]) == ("{}", '{"LATE": 1}')
    [row] = history(first, observation(untold, 10)).departures().to_dict("records")
    assert pd.isna(row["errors_after"])  # something failed, but no summary says what


def test_a_batch_with_unprocessed_records_is_not_settled_before():
    seen = history(
        observation(batch(waits={"A": "x"}, progress=counts(5, 2, 1, processed=4)), 0),
        observation(batch(waits={}, progress=counts(5, 4, 1)), 10),
    )
    assert not seen.departures()["settled_before"].any()


def test_a_dependency_removed_from_a_list_was_present_by_that_observation():
    seen = history(
        observation(batch(waits={"A": "xy"}), 0),
        observation(batch(waits={"A": "y"}), 10),
        observation(batch(waits={"A": "y"}), 20),
    )
    found = seen.missing_intervals().set_index("missing_external_id")
    assert found.loc["x", "last_missing"] == minute(0)
    assert found.loc["x", "there_by"] == minute(10) + SECOND
    assert found.loc["y", "last_missing"] == minute(20)
    assert pd.isna(found.loc["y", "there_by"])


def test_a_resource_missing_from_a_list_proves_a_dependency_only_when_listed_again():
    seen = history(
        observation(batch(waits={"A": "xy"}), 0),
        observation(batch(waits={}), 10),
        observation(batch(waits={"A": "y"}), 20),
    )
    found = seen.missing_intervals().set_index("missing_external_id")
    assert found.loc["x", "there_by"] == minute(20) + SECOND


def slow(document: dict, sent: float, received: float):
    """An observation with a slow answer."""
    return replace(observation(document, sent), received_at=minute(received))


def test_an_observation_overlapping_an_earlier_one_ends_no_wait():
    """The first may have seen the later state."""
    waits = batch(waits={"A": "x"})
    first, short = slow(waits, 0, 3), slow(batch(waits={}), 1, 1.5)
    assert pd.isna(only(history(first, short))["gone_by"])
    after = observation(batch(waits={}), 5)
    assert only(history(first, short, after))["gone_by"] == minute(5) + SECOND


def test_counts_of_an_overlapped_observation_are_not_from_before_the_others():
    waits = batch(waits={"A": "x"}, progress=counts(5, 1, 1))
    short = batch(waits={"A": "x"}, progress=counts(5, 1, 1) | {"pendingRecords": 3})
    seen = history(
        slow(waits, 0, 9),
        observation(short, 1),
        observation(batch(waits={}, progress=counts(5, 1, 1)), 12),
    )
    assert only(seen)["gone_by"] == minute(12) + SECOND
    [row] = seen.departures().to_dict("records")
    assert pd.isna(row["base"])
    assert pd.isna(row["successes"])


def test_counts_start_at_the_observation_before_the_first_of_those_that_left_together():
    """The second is answered late: A is last seen by it, B by the third, both are gone by 20."""
    both = batch(waits={"A": "x", "B": "y"}, progress=counts(5, 1, 1))
    later = batch(waits={"B": "y"}, progress=counts(5, 2, 1))
    none = batch(waits={}, progress=counts(5, 3, 1))
    seen = history(
        observation(both, 0), slow(both, 10, 12), slow(later, 11, 13), observation(none, 20)
    )
    [row] = seen.departures().to_dict("records")
    assert (row["departure"], row["base"], row["successes"]) == (3, 0, 2)


def test_waits_last_seen_while_an_answer_without_them_was_under_way_are_counted():
    """The slow one may show a later state than the quick ones, which still list B."""
    both = batch(waits={"A": "x", "B": "y"}, progress=counts(5, 1, 1))
    none = batch(waits={}, progress=counts(5, 3, 1))
    only_b = batch(waits={"B": "y"}, progress=counts(5, 1, 2))
    seen = history(
        observation(both, 0), slow(none, 10, 18), observation(only_b, 12), observation(none, 20)
    )
    rows = seen.departures()
    assert rows[["departure", "overlapping"]].to_numpy().tolist() == [[1, 1], [3, 0]]


def test_as_of_ignores_later_observations():
    observations = [observation(batch(waits={"A": "x"}), 0), observation(batch(waits={}), 20)]
    assert pd.isna(only(history(*observations, as_of=minute(15)))["gone_by"])


def test_without_observations_both_frames_are_empty_with_their_types():
    seen = history()
    for name in ("wait_intervals", "missing_intervals", "departures"):
        found, like = unnamed(getattr(seen, name)()), getattr(tables, name.upper())
        pd.testing.assert_frame_equal(found, like.empty(), obj=name)


def test_an_omitted_list_is_not_one_without_dependencies():
    document = batch(waits={"A": ""})
    del document["pendingResources"][0]["missingDependencies"]
    assert pd.isna(only(history(observation(document)))["missing_count"])
    assert only(history(observation(batch(waits={"A": ""}))))["missing_count"] == 0


LISTS = st.lists(
    st.one_of(
        st.none(),  # a failed observation
        st.dictionaries(st.sampled_from("ABC"), st.sets(st.sampled_from("xyz")), max_size=3),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=examples(25))
@given(lists=LISTS)
def test_wait_intervals_agree_with_a_plain_loop(lists):
    seen = history(
        *(
            observation(None if waits is None else batch(waits=waits), at, batch_id="b")
            for at, waits in enumerate(lists)
        )
    )
    wait_intervals: dict = {}
    for at, waits in enumerate(lists):
        for name, row in wait_intervals.items():
            if waits is not None and name not in waits and row[2] is None:
                row[2] = minute(at) + SECOND
        for name in waits or ():
            row = wait_intervals.setdefault(name, [minute(at), None, None])
            row[1:] = [minute(at), None]
    found = seen.wait_intervals()[["external_id", "first_seen", "last_seen", "gone_by"]]
    rows = {
        name: [first, last, None if pd.isna(gone) else gone]
        for name, first, last, gone in found.itertuples(index=False)
    }
    assert rows == wait_intervals


@settings(max_examples=examples(25))
@given(lists=LISTS)
def test_missing_intervals_agree_with_a_plain_loop(lists):
    seen = history(
        *(
            observation(None if waits is None else batch(waits=waits), at, batch_id="b")
            for at, waits in enumerate(lists)
        )
    )
    last: dict = {}
    later: dict = {}
    for at, waits in enumerate(lists):
        for name, missing in (waits or {}).items():
            for key in missing:
                last[name, key] = minute(at)
                later.pop((name, key), None)
            for pair in last:
                if pair[0] == name and pair[1] not in missing:
                    later.setdefault(pair, minute(at) + SECOND)
    found = seen.missing_intervals()
    rows = {
        (row.external_id, row.missing_external_id): (row.last_missing, row.there_by)
        for row in found.itertuples()
    }
    assert {pair: when for pair, (when, _) in rows.items()} == last
    for pair, (_, there) in rows.items():
        # It may be proven later than first possible, never sooner.
        assert pd.isna(there) == (pair not in later)
        assert pd.isna(there) or there >= later[pair]


@pytest.mark.parametrize("name", ["wait_intervals", "missing_intervals", "departures"])
def test_a_store_gives_the_same(name, tmp_path):
    observations = [
        observation(batch(waits={"A": "xy"}), 0),
        observation(batch(waits={"A": "y"}), 10),
    ]
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables(observations, minute(99)))
    stored = getattr(reach.open_history(store), name)()
    key = getattr(tables, name.upper()).names
    pd.testing.assert_frame_equal(
        stored.sort_values(key, ignore_index=True),
        getattr(history(*observations), name)().sort_values(key, ignore_index=True),
    )


def test_a_list_naming_a_resource_twice_reads_the_same_in_any_order():
    """The earlier expiry counts."""
    twice = batch(waits={"A": "x", "B": "xyz"}, created=-5, expires={"A": 60, "B": 45})
    for number, resource in enumerate(twice["pendingResources"]):
        resource |= {"id": "p", "createdAt": minute(-5 - number).isoformat()}
    turned = {**twice, "pendingResources": twice["pendingResources"][::-1]}
    before = observation(batch(waits={"A": "x"}, expires=10) | {"novel": 1}, 0)
    for document in (twice, turned):
        [row] = (
            history(before, observation(document, 5))
            .wait_intervals()
            .query("pending_id == 'p'")
            .iloc
        )
        assert (row["created_at"], row["expires_at"]) == (minute(-6), minute(45))
        assert (row["external_id"], row["missing_count"]) == ("B", 3)
