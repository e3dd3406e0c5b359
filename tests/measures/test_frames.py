"""A measure takes whatever exports Arrow, any dtype backend of pandas, and rows in any order."""

from __future__ import annotations

import inspect

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import reach_analytics as reach
from tests.support.effort import some

CONNECTION = duckdb.connect()
OTHERS = ("DependencyGraph", "errors", "changes_in_words")
MEASURES = [name for name in reach.measures.__all__ if name not in OTHERS]


def with_polars(frame: pd.DataFrame):
    return pytest.importorskip("polars").from_arrow(pa.Table.from_pandas(frame))


def with_duckdb(frame: pd.DataFrame):
    return CONNECTION.from_arrow(pa.Table.from_pandas(frame))


def with_ibis(frame: pd.DataFrame):
    """DuckDB's intervals are no durations: Ibis itself cannot export what holds such."""
    rows = pa.Table.from_pandas(frame)
    holds = any(pa.types.is_duration(kind) for kind in rows.schema.types)
    return rows if holds else ibis.memtable(rows)


FORMS = {
    "pyarrow": pa.Table.from_pandas,
    "polars": with_polars,
    "duckdb": with_duckdb,
    "ibis": with_ibis,
    "pandas on pyarrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "pandas nullable": lambda frame: frame.convert_dtypes(dtype_backend="numpy_nullable"),
    "shuffled": lambda frame: frame.sample(frac=1, random_state=1),
}


@pytest.fixture(scope="module")
def frames(demo):
    """By the name of a measure's parameter, the frame that it takes."""
    history = reach.open_history(demo[1])
    names = ("batches", "pending", "dependencies", "observations", "observation_log")
    names += ("wait_intervals", "missing_intervals", "departures", "wait_outcomes", "arrivals")
    found = {name: getattr(history, name)() for name in names}
    found["waits"] = found["wait_outcomes"]
    found["reconciliation"] = history.reconciliation(by="tenant_id")
    return found, history.moment


def ask(name: str, frames: dict, moment: pd.Timestamp, form) -> list[pd.DataFrame]:
    measure = getattr(reach.measures, name)
    parameters = inspect.signature(measure).parameters
    given = [form(frames[one]) for one in parameters if one in frames]
    options = {"as_of": moment} if "as_of" in parameters and name != "upload_plan" else {}
    options |= {"freq": "1h"} if name == "backlog" else {}
    options |= {"n_resamples": 20} if "n_resamples" in parameters else {}
    found = measure(*given, **options)
    return [found.nodes, found.edges] if name == "dependency_graph" else [found]


@pytest.mark.parametrize(
    ("name", "form"), some([(name, form) for form in list(FORMS)[::-1] for name in MEASURES], 70)
)
def test_every_form_of_a_frame_gives_the_same_answer(name, form, frames):
    if (name, form) == ("still_missing", "shuffled"):
        pytest.skip("it leaves the rows in their order")
    expected = ask(name, *frames, form=lambda frame: frame)
    for theirs, ours in zip(ask(name, *frames, form=FORMS[form]), expected, strict=True):
        assert_frame_equal(theirs, ours)


@pytest.mark.parametrize("wrong", [None, [1], "batches", {"a": [1]}])
def test_what_is_no_frame_is_refused_with_what_to_pass(wrong):
    with pytest.raises(TypeError, match=r"found (NoneType|list|str|dict); pass history\.batches"):
        reach.measures.durations(wrong)
