"""From looks to spells: when each wait was seen, when it was gone, and what the batch counted."""

from __future__ import annotations

from dataclasses import replace

import ibis
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics import columns
from reach_analytics.collector.observe import LIST, to_tables
from reach_analytics.frames import Tables
from reach_analytics.history import History
from tests.looks import batch, counts, look, minute

SECOND = pd.Timedelta(seconds=1)


def history(*looks, as_of=None) -> History:
    snapshots, observations = to_tables(looks, minute(9999))
    return History(Tables(ibis.memtable(snapshots), ibis.memtable(observations), as_of))


def only(seen: History) -> pd.Series:
    [(_, row)] = seen.spells().iterrows()
    return row


def test_a_spell_runs_from_the_first_look_to_the_last_and_ends_with_the_next_full_list():
    waits = batch(waits={"A": "x"}, created=-5, expires=60)
    row = only(history(look(waits, 0), look(waits, 10), look(batch(waits={}), 20)))
    assert (row["first_seen"], row["last_seen"]) == (minute(0), minute(10))
    assert row["gone_by"] == minute(20) + SECOND
    assert (row["created_at"], row["expires_at"]) == (minute(-5), minute(60))
    assert row["missing_count"] == 1


def test_a_resource_that_is_back_in_a_later_list_never_left():
    waits = batch(waits={"A": "x"})
    row = only(history(look(waits, 0), look(batch(waits={}), 10), look(waits, 20)))
    assert row["last_seen"] == minute(20)
    assert pd.isna(row["gone_by"])


def test_neither_a_listing_nor_a_failed_look_ends_a_wait():
    row = only(
        history(
            look(batch(waits={"A": "x"}), 0),
            look(batch(status="success"), 5, scope=LIST),
            look(None, 10, batch_id="b"),
        )
    )
    assert pd.isna(row["gone_by"])
    assert row["looked_at"] == minute(10)  # a listing is no look at what waits


def test_a_list_that_is_cut_short_ends_no_wait_but_shows_what_it_holds():
    short = batch(waits={"B": "x"}, progress={"totalRecords": 9, "pendingRecords": 2})
    full = batch(waits={"A": "x", "B": "x"})
    seen = history(look(full, 0), look(short, 10), look(batch(waits={"A": "x"}), 20)).spells()
    by_name = seen.set_index("resource_external_id")
    assert by_name.loc["A", "last_seen"] == minute(20)
    assert by_name.loc["B", "last_seen"] == minute(10)
    assert by_name.loc["B", "gone_by"] == minute(20) + SECOND


def test_the_counts_around_the_end_are_those_of_the_full_lists_around_it():
    seen = history(
        look(batch(waits={"A": "x", "B": "y"}, progress=counts(5, 2, 1)), 0),
        look(batch(waits={"B": "y"}, progress=counts(5, 2, 2)), 10),
        look(batch(waits={}, progress=counts(5, 3, 2)), 20),
    )
    rows = seen.departures()
    assert rows[["departure", "base"]].to_numpy().tolist() == [[1, 0], [2, 1]]
    assert rows[["successes", "failures"]].to_numpy().tolist() == [[0, 1], [1, 0]]
    assert rows["gone_by"].tolist() == [minute(10) + SECOND, minute(20) + SECOND]
    assert rows["settled_before"].all()
    assert seen.spells().set_index("resource_external_id")["departure"].to_dict() == {
        "A": 1,
        "B": 2,
    }


def test_the_summaries_of_errors_around_the_end_are_kept_and_none_means_nothing_failed():
    failed = batch(waits={}, progress=counts(5, 4, 1), errors={"summary": {"LATE": 1}})
    untold = batch(waits={}, progress=counts(5, 4, 1))
    first = look(batch(waits={"A": "x"}, progress=counts(5, 4, 0)), 0)
    [row] = history(first, look(failed, 10)).departures().to_dict("records")
    assert (row["errors_before"], row["errors_after"]) == ("{}", '{"LATE": 1}')
    [row] = history(first, look(untold, 10)).departures().to_dict("records")
    assert pd.isna(row["errors_after"])  # something failed, and nobody says what


def test_a_batch_that_has_records_to_look_at_yet_is_not_settled():
    seen = history(
        look(batch(waits={"A": "x"}, progress=counts(5, 2, 1, processed=4)), 0),
        look(batch(waits={}, progress=counts(5, 4, 1)), 10),
    )
    assert not seen.departures()["settled_before"].any()


def test_a_dependency_that_is_struck_from_a_list_was_there_by_that_look():
    seen = history(
        look(batch(waits={"A": "xy"}), 0),
        look(batch(waits={"A": "y"}), 10),
        look(batch(waits={"A": "y"}), 20),
    )
    found = seen.spell_dependencies().set_index("missing_external_id")
    assert found.loc["x", "last_missing"] == minute(0)
    assert found.loc["x", "there_by"] == minute(10) + SECOND
    assert found.loc["y", "last_missing"] == minute(20)
    assert pd.isna(found.loc["y", "there_by"])


def test_one_that_was_out_of_sight_proves_a_dependency_only_where_it_is_seen_again():
    seen = history(
        look(batch(waits={"A": "xy"}), 0),
        look(batch(waits={}), 10),
        look(batch(waits={"A": "y"}), 20),
    )
    found = seen.spell_dependencies().set_index("missing_external_id")
    assert found.loc["x", "there_by"] == minute(20) + SECOND


def slow(document: dict, sent: float, received: float):
    """A look that took its time."""
    return replace(look(document, sent), received_at=minute(received))


def test_a_look_under_way_with_an_earlier_one_ends_no_wait():
    """The first may have seen the later state: nobody knows."""
    waits = batch(waits={"A": "x"})
    first, short = slow(waits, 0, 3), slow(batch(waits={}), 1, 1.5)
    assert pd.isna(only(history(first, short))["gone_by"])
    after = look(batch(waits={}), 5)
    assert only(history(first, short, after))["gone_by"] == minute(5) + SECOND


def test_counts_of_a_look_that_others_overlap_are_not_from_before_them():
    waits = batch(waits={"A": "x"}, progress=counts(5, 1, 1))
    short = batch(waits={"A": "x"}, progress=counts(5, 1, 1) | {"pendingRecords": 3})
    seen = history(
        slow(waits, 0, 9), look(short, 1), look(batch(waits={}, progress=counts(5, 1, 1)), 12)
    )
    assert only(seen)["gone_by"] == minute(12) + SECOND
    [row] = seen.departures().to_dict("records")
    assert pd.isna(row["base"])
    assert pd.isna(row["successes"])


def test_the_counts_run_from_the_look_before_the_first_of_those_that_left_together():
    """The second look is answered late: A is seen last by it, B by the third, both go by 20."""
    both = batch(waits={"A": "x", "B": "y"}, progress=counts(5, 1, 1))
    later = batch(waits={"B": "y"}, progress=counts(5, 2, 1))
    none = batch(waits={}, progress=counts(5, 3, 1))
    seen = history(look(both, 0), slow(both, 10, 12), slow(later, 11, 13), look(none, 20))
    [row] = seen.departures().to_dict("records")
    assert (row["departure"], row["base"], row["successes"]) == (3, 0, 2)


def test_waits_last_seen_while_an_answer_without_them_was_under_way_are_counted():
    """What the slow look shows may be later than the quick ones, which list B yet."""
    both = batch(waits={"A": "x", "B": "y"}, progress=counts(5, 1, 1))
    none = batch(waits={}, progress=counts(5, 3, 1))
    only_b = batch(waits={"B": "y"}, progress=counts(5, 1, 2))
    seen = history(look(both, 0), slow(none, 10, 18), look(only_b, 12), look(none, 20))
    rows = seen.departures()
    assert rows[["departure", "overlapping"]].to_numpy().tolist() == [[1, 1], [3, 0]]


def test_as_of_ends_the_story_there():
    looks = [look(batch(waits={"A": "x"}), 0), look(batch(waits={}), 20)]
    assert pd.isna(only(history(*looks, as_of=minute(15)))["gone_by"])


def test_without_looks_both_frames_are_empty_in_their_own_types():
    seen = history()
    pd.testing.assert_frame_equal(seen.spells(), columns.SPELLS.empty())
    pd.testing.assert_frame_equal(seen.spell_dependencies(), columns.SPELL_DEPENDENCIES.empty())
    pd.testing.assert_frame_equal(seen.departures(), columns.DEPARTURES.empty())


def test_a_list_that_was_left_out_is_not_one_without_dependencies():
    document = batch(waits={"A": ""})
    del document["pendingResources"][0]["missingDependencies"]
    assert pd.isna(only(history(look(document)))["missing_count"])
    assert only(history(look(batch(waits={"A": ""}))))["missing_count"] == 0


LISTS = st.lists(
    st.one_of(
        st.none(),  # a failed look
        st.dictionaries(st.sampled_from("ABC"), st.sets(st.sampled_from("xyz")), max_size=3),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=25)
@given(lists=LISTS)
def test_spells_are_what_one_finds_by_going_through_the_looks_one_by_one(lists):
    seen = history(
        *(
            look(None if waits is None else batch(waits=waits), at, batch_id="b")
            for at, waits in enumerate(lists)
        )
    )
    spells: dict = {}
    for at, waits in enumerate(lists):
        for name, row in spells.items():
            if waits is not None and name not in waits and row[2] is None:
                row[2] = minute(at) + SECOND
        for name in waits or ():
            row = spells.setdefault(name, [minute(at), None, None])
            row[1:] = [minute(at), None]
    found = seen.spells()[["resource_external_id", "first_seen", "last_seen", "gone_by"]]
    rows = {
        name: [first, last, None if pd.isna(gone) else gone]
        for name, first, last, gone in found.itertuples(index=False)
    }
    assert rows == spells


@settings(max_examples=25)
@given(lists=LISTS)
def test_dependencies_are_what_one_finds_by_going_through_the_looks_one_by_one(lists):
    seen = history(
        *(
            look(None if waits is None else batch(waits=waits), at, batch_id="b")
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
    found = seen.spell_dependencies()
    rows = {
        (row.resource_external_id, row.missing_external_id): (row.last_missing, row.there_by)
        for row in found.itertuples()
    }
    assert {pair: when for pair, (when, _) in rows.items()} == last
    for pair, (_, there) in rows.items():
        # It may be proven later than the first time it could be, never sooner.
        assert pd.isna(there) == (pair not in later)
        assert pd.isna(there) or there >= later[pair]


@pytest.mark.parametrize("name", ["spells", "spell_dependencies", "departures"])
def test_what_lies_in_a_store_gives_the_same(name, tmp_path):
    looks = [look(batch(waits={"A": "xy"}), 0), look(batch(waits={"A": "y"}), 10)]
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables(looks, minute(99)))
    stored = getattr(reach.open_history(store), name)()
    key = getattr(columns, name.upper()).names
    pd.testing.assert_frame_equal(
        stored.sort_values(key, ignore_index=True),
        getattr(history(*looks), name)().sort_values(key, ignore_index=True),
    )


def test_a_list_that_names_a_resource_twice_is_read_the_same_in_any_order():
    """Nothing is waited for longer than may be: the earlier expiry counts."""
    twice = batch(waits={"A": "x", "B": "xyz"}, created=-5, expires={"A": 60, "B": 45})
    for number, resource in enumerate(twice["pendingResources"]):
        resource |= {"id": "p", "createdAt": minute(-5 - number).isoformat()}
    turned = {**twice, "pendingResources": twice["pendingResources"][::-1]}
    before = look(batch(waits={"A": "x"}, expires=10) | {"novel": 1}, 0)
    for document in (twice, turned):
        [row] = history(before, look(document, 5)).spells().query("pending_id == 'p'").iloc
        assert (row["created_at"], row["expires_at"]) == (minute(-6), minute(45))
        assert (row["resource_external_id"], row["missing_count"]) == ("B", 3)
