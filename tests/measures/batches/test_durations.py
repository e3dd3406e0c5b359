"""Queueing and processing times of batches, and throughput."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures.batches.durations import durations, throughput
from tests.support.effort import examples
from tests.support.progress import at, minutes, observations, steps, timed

LENGTHS = ["queue_time", "processing_time", "total_time", "elapsed"]


def test_a_finished_batch_has_three_durations_and_a_rate():
    row = durations(timed((0, 1, 5, "success", 480)), as_of=at(60)).iloc[0]
    assert row[LENGTHS[:3]].tolist() == [minutes(1), minutes(4), minutes(5)]
    assert row["records_per_second"] == 2
    assert (row["running"], pd.isna(row["elapsed"])) == (False, True)


def test_a_running_batch_has_a_running_time_but_no_total():
    rows = timed((0, 1, None, "processing", 480), (1, 2, 3, "processing", 480))
    table = durations(rows, as_of=at(31).tz_localize(None))
    assert table["elapsed"].tolist() == [minutes(30), minutes(29)]
    assert table["running"].tolist() == [True, True]
    assert table[["processing_time", "total_time", "records_per_second"]].isna().all(axis=None)
    assert durations(rows)["elapsed"].isna().all()


def test_durations_that_would_be_negative_are_null():
    row = durations(timed((5, 3, 4, "success", 60)), as_of=at(0)).iloc[0]
    assert row[["queue_time", "total_time"]].isna().all()
    assert row["processing_time"] == minutes(1)
    late = durations(timed((0, 3, None, "processing", 0)), as_of=at(1))
    assert late["elapsed"].isna().all()


def test_processing_that_took_no_time_has_no_rate():
    row = durations(timed((0, 1, 1, "failure", 40))).iloc[0]
    assert row["processing_time"] == pd.Timedelta(0)
    assert pd.isna(row["records_per_second"])


def test_batches_are_ordered_by_creation():
    rows = timed((None, 1, 2, "x", 1), (7, 8, 9, "x", 1), (5, 6, 7, "x", 1))
    assert durations(rows)["batch_id"].tolist() == ["b2", "b1", "b0"]


@settings(max_examples=examples(20))
@given(
    st.lists(
        st.tuples(
            *[st.none() | st.integers(0, 9)] * 3,
            st.sampled_from(["processing", "x", None]),
            st.none() | st.integers(0, 99),
        ),
        min_size=1,
        max_size=6,
    ),
    st.randoms(),
)
def test_no_duration_is_negative_and_row_order_does_not_matter(rows, random):
    frame = timed(*rows)
    table = durations(frame, as_of=at(5))
    assert len(table) == len(rows)
    for name in LENGTHS:
        assert (table[name].dropna() >= pd.Timedelta(0)).all()
    order = random.sample(range(len(frame)), len(frame))
    pd.testing.assert_frame_equal(durations(frame.iloc[order], as_of=at(5)), table)


def test_throughput_is_the_increase_between_consecutive_observations():
    table = throughput(steps(0, 300, 300, 1000))
    assert table["records"].tolist() == [300, 0, 700]
    assert table["seconds"].tolist() == [600.0] * 3
    assert table["records_per_second"].tolist() == pytest.approx([0.5, 0, 700 / 600])
    assert table["from_at"].tolist() == [at(0), at(10), at(20)]
    assert table["to_at"].tolist() == [at(10), at(20), at(30)]


def test_counts_that_fall_have_no_rate():
    table = throughput(steps(0, 300, 200))
    assert table["records"].tolist() == [300, -100]
    assert table["records_per_second"].isna().tolist() == [False, True]


def test_failed_observations_and_those_without_a_count_are_skipped():
    frame = observations(
        {"at": 0, "processed": 0},
        {"at": 10, "ok": False, "status": None, "total": None},
        {"at": 20, "processed": None},
        {"at": 30, "processed": 900},
    )
    table = throughput(frame)
    assert table["records"].tolist() == [900]
    assert table["seconds"].tolist() == [1800.0]


def test_a_listing_and_the_batch_itself_in_one_pass_are_one_observation():
    frame = observations(
        {"at": 0, "processed": 0, "scope": "list", "run_id": "1"},
        {"at": 0.1, "processed": 60, "run_id": "1"},
        {"at": 10.1, "processed": 660, "scope": "list", "run_id": "2"},
    )
    assert throughput(frame)["records_per_second"].tolist() == [1.0]


def test_a_batch_that_was_and_stayed_complete_has_no_rows():
    table = throughput(steps(0, 1000, 1000, 1000))
    assert table["running"].tolist() == [True]
    late = throughput(steps(0, 1000, 1000, 1001))  # another record was reported later
    assert late["records"].tolist() == [1000, 1]
    ended = throughput(steps(0, 900, 900, status="partial_success"))
    assert ended["running"].tolist() == [True, True]  # nothing says that it is over
    failed = throughput(steps(0, 900, 900, status="failure"))
    assert failed["records"].tolist() == [900]


def test_batches_of_two_tenants_with_one_id_are_two():
    one, two = steps(0, 60), steps(5, 6, tenant_id="u")
    table = throughput(pd.concat([two, one]))
    assert table["tenant_id"].tolist() == ["t", "u"]
    assert table["records"].tolist() == [60, 1]


@settings(max_examples=examples(12))
@given(
    st.lists(st.none() | st.integers(0, 500), min_size=1, max_size=8),
    st.integers(2, 9),
    st.randoms(),
)
def test_throughput_scales_with_records_and_ignores_row_order(processed, factor, random):
    frame = steps(*processed, total=1000)
    table = throughput(frame)
    order = random.sample(range(len(frame)), len(frame))
    pd.testing.assert_frame_equal(throughput(frame.iloc[order]), table)
    more = throughput(
        steps(*[None if n is None else n * factor for n in processed], total=1000 * factor)
    )
    pd.testing.assert_series_equal(
        more["records_per_second"], table["records_per_second"] * factor, check_exact=False
    )
    known = [n for n in processed if n is not None]
    assert table["records"].sum() == (known[-1] - known[0] if known else 0)


def test_empty_and_null_in_the_same_types():
    empty = durations(tables.BATCHES.empty(), as_of=at(0))
    pd.testing.assert_frame_equal(empty, tables.DURATIONS.empty())
    pd.testing.assert_frame_equal(
        throughput(tables.OBSERVATIONS.empty()), tables.THROUGHPUT.empty()
    )
    nulls = tables.BATCHES.conform(pd.DataFrame({"tenant_id": ["t"], "batch_id": ["b"]}))
    table = durations(nulls, as_of=at(0))
    assert table.dtypes.to_dict() == empty.dtypes.to_dict()
    assert table[[*LENGTHS, "records_per_second"]].isna().all(axis=None)
    assert not table["running"].any()
    unseen = throughput(steps(None, None, status=None, total=None, schema_name=None))
    pd.testing.assert_frame_equal(unseen, tables.THROUGHPUT.empty())


def test_wrong_columns_are_named():
    with pytest.raises(FrameError, match=r"`started_at`.*history\.batches\(\)"):
        durations(timed((0, 1, 2, "x", 1)).drop(columns="started_at"))
    with pytest.raises(FrameError, match=r"`processed_records`.*history\.observations\(\)"):
        throughput(steps(1, 2).drop(columns="processed_records"))


def test_on_a_collected_history_nothing_is_odd(history):
    table = durations(history.batches(), as_of=history.moment)
    assert len(table) == len(history.batches())
    assert (table["records_per_second"].dropna() > 0).all()
    pace = throughput(history.observations())
    assert (pace["seconds"] > 1).all()  # no pair within one pass
    assert (pace["records"] >= 0).all()
