"""What is odd about reported numbers, in small hand-made observations."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import quality
from tests.support.waits import at


def observation(batch: str = "b", minute: float = 0, **values) -> dict:
    counts = dict(
        zip(("total", "processed", "successful", "failed", "pending"), [10] * 5, strict=True)
    )
    counts |= {"successful": 6, "failed": 2, "pending": 2}
    row = {f"{name}_records": values.pop(name, count) for name, count in counts.items()}
    return {
        **{"tenant_id": "t", "batch_id": batch, "run_id": "r", "scope": "detail"},
        **{"ok": True, "complete": True, "schema_name": "s", "schema_definition_id": "s1"},
        **{"sent_at": at(minute), "received_at": at(minute), "observed_at": at(minute)},
        **row,
        **values,
    }


def found(*observations: dict) -> list[tuple]:
    table = quality(
        tables.OBSERVATIONS.conform(pd.DataFrame(observations, columns=tables.OBSERVATIONS.names))
    )
    return list(table[["finding", "evidence"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("rate", "definition"),
    [
        (75.0, "100 * successful / (successful + failed)"),
        (0.75, "successful / (successful + failed)"),
        (60.0, "100 * successful / total"),
        (0.6, "successful / total"),
        (66.67, "100 * successful / processed"),
        (67.0, "100 * successful / processed"),
    ],
)
def test_the_matching_definition_is_found_from_the_printed_digits(rate, definition):
    """Golden case: total 10, successful 6, failed 2, pending 2, reported 75."""
    text = f"{definition} fits 1 of 1 batches"
    assert found(observation(processed=9, success_rate=rate)) == [("success_rate_definition", text)]


def test_indistinguishable_definitions_are_all_named():
    [(_, text)] = found(observation(success_rate=60.0))
    assert text == "100 * successful / total or 100 * successful / processed fits 1 of 1 batches"


def test_if_none_fits_the_definition_is_unknown_and_no_batch_is_wrong():
    [(finding, text)] = found(observation(success_rate=12.0))
    assert finding == "success_rate_definition"
    assert text.startswith("unknown: ")


def test_one_batch_in_two_hundred_that_does_not_fit_is_a_misfit():
    good = [observation(f"b{i}", processed=9, success_rate=75.0) for i in range(199)]
    assert found(*good, observation("odd", processed=9, success_rate=70.0)) == [
        (
            "success_rate_definition",
            "100 * successful / (successful + failed) fits 199 of 200 batches",
        ),
        ("success_rate_misfit", "success_rate 70, expected 75"),
    ]


def test_batches_without_counts_or_rate_say_nothing_of_the_definition():
    assert (
        found(observation(success_rate=None), observation("c", success_rate=5.0, failed=None)) == []
    )


@pytest.mark.parametrize(
    ("values", "finding", "evidence"),
    [
        ({"pending": -1}, "negative_count", "pending -1"),
        ({"failed": 3}, "sum_above_total", "successful 6 + failed 3 + pending 2 > total 10"),
        (
            {"created_at": at(5), "started_at": at(4)},
            "times_out_of_order",
            "created_at 2026-01-01T00:05:00+00:00 after started_at 2026-01-01T00:04:00+00:00",
        ),
    ],
)
def test_numbers_that_contradict_each_other_are_findings(values, finding, evidence):
    assert found(observation(**values)) == [(finding, evidence)]


def test_counts_that_fall_between_observations_are_findings_but_waits_may_fall():
    observations = [
        observation(minute=1, processed=9),
        observation(minute=0, pending=3, successful=5),
        observation(minute=2),
    ]
    assert found(*observations) == [("count_went_back", "processed 10, then 9")]


def test_a_repeated_finding_is_reported_once_from_its_first_observation():
    rows = [observation(minute=m, pending=-1) for m in (2, 0, 1)]
    table = quality(
        tables.OBSERVATIONS.conform(pd.DataFrame(rows, columns=tables.OBSERVATIONS.names))
    )
    assert table["observed_at"].tolist() == [at(0)]


def test_schemas_with_nearly_equal_names_are_reported_with_the_usual_one():
    rows = [observation(f"b{i}", schema_name="Contacts") for i in range(3)]
    odd = observation("odd", schema_name="contacts ", schema_definition_id="s2")
    assert found(*rows, odd) == [("near_miss_schema", "schema contacts  s2, elsewhere Contacts s1")]


def test_values_set_aside_when_reading_are_findings():
    """A negative count, a zero time, NaN and half a surrogate pair, once for all observations."""
    resources = {str(i): {"expiresAt": "0001-01-01T00:00:00Z", "novel": 1} for i in range(3)}
    extra = {
        "createdAt": "1970-01-01T00:00:00Z",
        "progress": {"pendingRecords": -1, "successRate": "NaN", "novel": 3},
        "pendingResources": resources,
        "novel": {"createdAt": 1},
        "$mended": {"number that is none": 1, "text that is no Unicode": 2},
    }
    observations = [observation(minute=m, pending=None, extra=json.dumps(extra)) for m in range(3)]
    assert found(*observations) == [
        ("mended_json", "number that is none: 1, text that is no Unicode: 2"),
        ("unusable_value", 'createdAt "1970-01-01T00:00:00Z"'),
        ("unusable_value", 'expiresAt of 3 pending resources, as "0001-01-01T00:00:00Z"'),
        ("unusable_value", "progress.pendingRecords -1"),
        ("unusable_value", 'progress.successRate "NaN"'),
    ]


@pytest.mark.parametrize(
    "extra", ["", "x", "[1]", "{", "[" * 9999, '{"progress": 1, "pendingResources": [1]}']
)
def test_an_extra_of_another_shape_is_no_finding(extra):
    assert found(observation(extra=extra)) == []


def test_failed_observations_and_nulls_are_no_findings():
    empty = dict.fromkeys(("total", "processed", "successful", "failed", "pending"))
    assert found(observation(ok=False, pending=-1), observation(**empty)) == []


def test_a_sound_api_yields_its_definition_and_no_findings(history):
    table = history.quality()
    assert table["finding"].tolist() == ["success_rate_definition"]
    assert table["evidence"][0].startswith("100 * successful / total")


def test_empty_in_empty_out():
    pd.testing.assert_frame_equal(quality(tables.OBSERVATIONS.empty()), tables.QUALITY.empty())
    with pytest.raises(FrameError, match=r"pass history\.observations\(\)"):
        quality(pd.DataFrame({"x": [1]}))


counts = st.none() | st.integers(-3, 12)
rows = st.lists(
    st.fixed_dictionaries(
        {name: counts for name in ("total", "processed", "successful", "failed", "pending")}
        | {"batch": st.sampled_from("ab"), "success_rate": st.none() | st.sampled_from([0.0, 50.5])}
    ),
    max_size=6,
)


@given(rows, st.integers(0, 5))
def test_row_order_does_not_matter_and_sums_agree_with_a_plain_loop(values, seed):
    observations = [observation(minute=i, **row) for i, row in enumerate(values)]
    frame = tables.OBSERVATIONS.conform(
        pd.DataFrame(observations, columns=tables.OBSERVATIONS.names)
    )
    table = quality(frame)
    pd.testing.assert_frame_equal(quality(frame.sample(frac=1, random_state=seed)), table)
    above = {
        row["batch"]
        for row in values
        if None not in (row["total"], row["successful"], row["failed"], row["pending"])
        and row["successful"] + row["failed"] + row["pending"] > row["total"]
    }
    assert set(table.loc[table["finding"] == "sum_above_total", "batch_id"]) == above
