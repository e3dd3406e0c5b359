"""Histories of observations that a test makes up."""

from __future__ import annotations

import pandas as pd

from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.history import History
from reach_analytics.queries.engine import connect
from reach_analytics.queries.tables import Tables
from tests.support.observations import minute

SECOND = pd.Timedelta(seconds=1)


def history(*observations, as_of=None) -> History:
    snapshots, stored = to_tables(observations, minute(9999))
    engine = connect()
    engine.con.register("snapshots", snapshots)
    engine.con.register("observations", stored)
    return History(Tables(engine.table("snapshots"), engine.table("observations"), as_of))


def unnamed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without what only a history knows: the names of tenants."""
    return frame.drop(columns="tenant_name", errors="ignore")
