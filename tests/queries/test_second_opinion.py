"""Intervals and verdicts of the engine, against those that were computed in other ways before."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import measures
from reach_analytics.history import History
from reach_analytics.queries.latest import until
from tests.support.earlier import arrivals, endings, intervals, verdicts
from tests.support.effort import THOROUGH, UNSHRUNK, count, some
from tests.support.histories import history, unnamed
from tests.support.odd_lists import SEEN, observed
from tests.support.worlds import World, play

WORLDS = {
    "slow answers": World(slow=0.6),
    "two collectors": World(slow=0.6, collectors=2, expired_counts_as_failed=False),
    "deletions": World(slow=0.1, deletes=True, code="WAIT_EXPIRED"),
    "everything": World(slow=0.6, collectors=2, deletes=True, busy=0.5, sweep=8, code="timeout"),
    "a code that counts": World(code="WAIT_EXPIRED", fails=0.0),
    "seldom observed": World(every=3, batches=80),
}
SEEDS = 1  # three were tried when the engine took over
OPTIONS = [
    {},
    {"released_may_fail": False},
    {"expired_counts_as_failed": True},
    {"expired_counts_as_failed": False},
]
MISSING_KEY = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
FRAMES = ["wait_intervals", "missing_intervals", "departures"]


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    names = ours.columns.tolist()
    assert names == theirs.columns.tolist()
    pd.testing.assert_frame_equal(
        *(frame.sort_values(names, ignore_index=True) for frame in (ours, theirs))
    )


def compare_intervals(told: History) -> None:
    tables = told.tables
    seen = until(tables.stored_observations, tables.as_of)
    for name in FRAMES:
        theirs = getattr(intervals, name)(seen, tables._meant).to_pandas()
        assert_same(getattr(tables, name).to_pandas(), theirs)


def compare_verdicts(told: History, **options: bool) -> pd.DataFrame:
    """The verdicts of a store and of its frames, which are equal, row by row."""
    evidence = (told.wait_intervals(), told.missing_intervals(), told.departures(), told.batches())
    ours = unnamed(told.wait_outcomes(**options))
    pd.testing.assert_frame_equal(measures.wait_outcomes(*evidence, **options), ours)
    assert_same(ours, verdicts.wait_outcomes(*evidence, **options))
    return ours


def compare_arrivals(told: History) -> None:
    waits, missing = told.wait_outcomes(), told.missing_intervals()
    ours, theirs = unnamed(told.arrivals()), arrivals.arrivals(waits, missing)
    several = missing.groupby(MISSING_KEY)["missing_schema_name"].transform("nunique") > 1
    if not several.any():  # of several names the first in order, where pandas took that on top
        pd.testing.assert_frame_equal(ours, theirs)
    others = [name for name in ours.columns if name != "schema_name"]
    pd.testing.assert_frame_equal(ours[others], theirs[others])
    pd.testing.assert_frame_equal(measures.arrivals(waits, missing), ours)


def compare_accounts(told: History) -> None:
    """What became of the records, by counts of the engine and by those of the frames."""
    batches, waits, departures = told.batches(), told.wait_outcomes(), told.departures()
    own, theirs = told._endings, endings.endings(batches, waits)
    for field in fields(own):
        ours, other = (getattr(counts, field.name) for counts in (own, theirs))
        kinds = {name: other[name].dtype for name in other.columns}
        assert_same(ours[[*kinds]].astype(kinds), other)
    for name in ("expiry_codes", "conventions"):
        of_frames = getattr(measures, name)(waits, departures)
        pd.testing.assert_frame_equal(getattr(told, name)(), of_frames)
    by = ["schema_name", "status"]
    pd.testing.assert_frame_equal(
        told.reconciliation(by=by), measures.reconciliation(batches, waits, departures, by=by)
    )


@pytest.mark.parametrize(
    ("name", "seed"), some(list(product(WORLDS, range(SEEDS))), 1), ids=lambda value: str(value)
)
def test_every_world_is_judged_alike(name, seed):
    told = history(*play(replace(WORLDS[name], seed=seed)).observations)
    compare_intervals(told)
    compare_accounts(told)
    compare_arrivals(told)
    rules = [compare_verdicts(told, **options)["rule"] for options in OPTIONS]
    assert pd.concat(rules).nunique() > 2


@settings(max_examples=count(25, 4), phases=UNSHRUNK)
@given(seen=st.lists(SEEN, min_size=1, max_size=8))
def test_odd_lists_are_read_alike(seen):
    """Resources without an id or named twice, texts and times that change, lists left out."""
    told = history(*observed(seen))
    compare_intervals(told)
    if THOROUGH or len(seen) % 2:
        compare_verdicts(told)
        compare_arrivals(told)
