"""What expires when."""

from __future__ import annotations

import pandas as pd
import pytest

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import expiring
from tests.support.waits import at


def waits(**minutes: float | None) -> pd.DataFrame:
    rows = [
        {
            "tenant_id": "t",
            "batch_id": "b",
            "pending_id": name,
            "expires_at": pd.NaT if minute is None else at(minute),
            "missing_count": 1,
        }
        for name, minute in minutes.items()
    ]
    return tables.PENDING.conform(pd.DataFrame(rows, columns=tables.PENDING.names))


def ids(table: pd.DataFrame) -> list[str]:
    return table["pending_id"].tolist()


def test_the_first_to_expire_comes_first_and_what_never_does_last():
    table = expiring(waits(a=90, b=None, c=-5, d=30), as_of=at(0))
    assert ids(table) == ["c", "d", "a", "b"]
    assert table["overdue"].tolist() == [True, False, False, False]
    assert table["time_left"].iloc[1] == pd.Timedelta(minutes=30)
    assert pd.isna(table["time_left"].iloc[3])


def test_within_keeps_what_expires_by_then_and_what_is_overdue():
    table = expiring(waits(a=61, b=None, c=-500, d=60), as_of=at(0), within="1h")
    assert ids(table) == ["c", "d"]


def test_exactly_at_its_expiry_a_resource_is_overdue():
    assert expiring(waits(a=0), as_of=at(0))["overdue"].tolist() == [True]


def test_a_moment_without_an_offset_is_utc():
    naive = at(0).tz_localize(None)
    pd.testing.assert_frame_equal(
        expiring(waits(a=5), as_of=naive), expiring(waits(a=5), as_of=at(0))
    )


def test_empty_in_empty_out():
    for within in (None, "1h"):
        table = expiring(tables.PENDING.empty(), as_of=at(0), within=within)
        pd.testing.assert_frame_equal(table, tables.EXPIRING.empty())


@pytest.mark.parametrize("within", ["0h", "-1h", "soon", ""])
def test_odd_lengths_are_refused(within):
    with pytest.raises(ValueError, match="within must be a length of time above zero"):
        expiring(waits(a=1), as_of=at(0), within=within)


def test_a_wrong_frame_is_refused_with_what_to_pass():
    with pytest.raises(FrameError, match=r"pass history\.pending\(\)"):
        expiring(pd.DataFrame({"x": [1]}), as_of=at(0))


def test_a_history_uses_its_own_moment(history):
    table = history.expiring()
    assert len(table) == len(history.pending())
    soon = history.expiring(within="1h")
    health = history.health()
    assert len(soon) == health["expiring_soon"].sum() + health["overdue"].sum()
