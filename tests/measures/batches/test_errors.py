"""Error objects of any shape as rows."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import given

from reach_analytics import tables
from reach_analytics.measures import errors
from tests.support.strategies import free


def batches(**told) -> pd.DataFrame:
    row = {"tenant_id": "t", "batch_id": "b", "schema_name": "s", **told}
    return tables.BATCHES.conform(pd.DataFrame([row]))


def leaves(value) -> list:
    """The leaves of a JSON value, by recursion."""
    if isinstance(value, dict) and value:
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list) and value:
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


@given(value=free)
def test_every_leaf_of_any_shape_becomes_one_row(value):
    table = errors(batches(error_details=json.dumps(value)))
    shown = [None if leaf is None else leaf for leaf in leaves(value)]
    assert len(table) == len(shown)
    assert table["path"].is_unique
    for found, leaf in zip(table["value"], shown, strict=True):
        if leaf is None:
            assert pd.isna(found)
        else:
            assert found == (
                leaf if isinstance(leaf, str) else json.dumps(leaf, ensure_ascii=False)
            )


def test_paths_patterns_and_numbers():
    details = {"records": [{"code": "A", "n": 1}, {"code": "B", "odd key": True}]}
    table = errors(batches(error_details=json.dumps(details)))
    assert table["path"].tolist() == [
        "records[0].code",
        "records[0].n",
        "records[1].code",
        'records[1]["odd key"]',
    ]
    assert table["pattern"].tolist()[:3] == ["records[].code", "records[].n", "records[].code"]
    assert table["number"].fillna(-1).tolist() == [-1, 1, -1, -1]
    assert table["value"].tolist() == ["A", "1", "B", "true"]


def test_all_three_sources_are_told_apart():
    table = errors(batches(error_message="all bad", error_summary='{"A": 2}', error_details="[]"))
    assert table["source"].tolist() == ["message", "summary", "details"]
    assert table["value"].tolist() == ["all bad", "2", "[]"]


def test_batches_without_errors_give_no_rows():
    pd.testing.assert_frame_equal(errors(batches()), tables.ERRORS.empty())
    pd.testing.assert_frame_equal(errors(tables.BATCHES.empty()), tables.ERRORS.empty())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1" + "0" * 400, "1" + "0" * 400),
        ("9" * 5001, "9" * 5001),
        ("no json", "no json"),
        ("[" * 100_000, "[" * 100_000),
        (r'"\ud800"', "?"),
    ],
)
def test_an_odd_error_text_of_one_batch_does_not_hide_the_others(text, value):
    table = errors(pd.concat([batches(error_summary=text), batches(error_message="fine")]))
    assert table["value"].tolist() == [value, "fine"]
    assert table["number"].isna().all()


def test_deeply_nested_errors_do_not_overflow():
    deep: object = "end"
    for _ in range(900):
        deep = [deep]
    assert errors(batches(error_details=json.dumps(deep)))["value"].tolist() == ["end"]
