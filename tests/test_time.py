"""Durations and moments, as a user writes them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import measures, tables
from reach_analytics._time import parse_duration
from reach_analytics.measures._shared.grouping import bucket

HOURS = pd.Timedelta(hours=2)


@pytest.mark.parametrize(
    "value",
    ["2h", "2 h", "120min", "02:00:00", "PT2H", timedelta(hours=2), HOURS, HOURS.to_numpy()],
)
def test_a_duration_is_text_with_a_unit_or_a_timedelta(value):
    assert parse_duration(value, "within") == HOURS


@pytest.mark.parametrize(("text", "hours"), [("7d", 168), ("7D", 168), ("h", 1), ("1d 2h", 26)])
def test_days_may_be_lower_case_and_a_unit_alone_means_one(text, hours):
    assert parse_duration(text, "within") == pd.Timedelta(hours=hours)


NUMBERS = [7200, 2, 3.5, True, float("nan"), np.int64(5), "2", "7200", " 3.5 ", "1e9", "-2", "0"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_bare_number_is_no_duration(number):
    """pandas would take it for nanoseconds."""
    with pytest.raises(ValueError, match=r"within must be a length of time .* needs a unit"):
        parse_duration(number, "within")


@pytest.mark.parametrize("value", ["", "soon", "-2h", "0h", "NaT", None, [1], "999999999D", "M"])
def test_an_invalid_duration_is_named(value):
    with pytest.raises(ValueError, match="within must be a length of time above zero"):
        parse_duration(value, "within")


EMPTY = {
    "expiring": lambda v: measures.expiring(tables.PENDING.empty(), as_of="2026-01-01", within=v),
    "stuck": lambda v: measures.stuck(tables.OBSERVATIONS.empty(), as_of="2026-01-01", after=v),
    "coverage": lambda v: measures.coverage(
        tables.OBSERVATIONS.empty(), as_of="2026-01-01", fresh=v
    ),
    "backlog": lambda v: measures.backlog(
        tables.WAIT_OUTCOMES.empty(), freq="1h", as_of="2026-01-01", fresh=v
    ),
    "success": lambda v: measures.success(
        tables.BATCHES.empty(), freq="1h", as_of="2026-01-01", longest_wait=v
    ),
    "collection_health": lambda v: measures.collection_health(
        tables.OBSERVATION_LOG.empty(), gap=v
    ),
    "waiting": lambda v: measures.wait_outcomes(
        tables.WAIT_INTERVALS.empty(), tables.MISSING_INTERVALS.empty(), tolerance=v
    ),
    "freq of backlog": lambda v: measures.backlog(
        tables.WAIT_OUTCOMES.empty(), freq=v, as_of="2026-01-01"
    ),
    "freq of success": lambda v: measures.success(tables.BATCHES.empty(), freq=v),
    "compact": lambda v: reach.Store("nowhere").compact(retention=v),
}


@pytest.mark.parametrize("number", [20, "20"])
@pytest.mark.parametrize("name", EMPTY)
def test_every_measure_that_takes_a_duration_refuses_a_bare_number(name, number):
    with pytest.raises(ValueError, match=r"must be a length of time"):
        EMPTY[name](number)


@pytest.mark.parametrize("freq", ["90min", "1.5h", timedelta(minutes=90), pd.Timedelta("90min")])
def test_buckets_take_any_duration(freq):
    times = pd.Series(pd.to_datetime(["2026-01-01 02:00"], utc=True))
    assert bucket(times, freq).tolist() == [pd.Timestamp("2026-01-01 01:30", tz="UTC")]
