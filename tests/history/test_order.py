"""The rows of every frame are in the order that its table states, whoever makes it."""

from __future__ import annotations

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import tables
from tests.support import histories
from tests.support.observations import batch, counts, minute, observation

FRAMES = {table.name: table for table in (*tables.FRAMES, *tables.MEASURES) if table.order}
GRAPH = {"nodes", "edges"}
RUNNING = {"throughput", "stuck", "eta"}


@pytest.fixture(scope="module")
def running():
    """Three batches that are being processed, two of them at one pace."""
    times = {"createdAt": minute(0).isoformat(), "startedAt": minute(1).isoformat()}
    return histories.history(
        *(
            observation(
                batch(name, status="processing", progress=counts(100, done, 0, done), **times), at
            )
            for name, pace in {"b": 5, "a": 5, "c": 7}.items()
            for at in (2, 4, 6)
            for done in [pace * at]
        )
    )


def frames_of(history, name: str) -> pd.DataFrame:
    if name in GRAPH:
        return getattr(history.dependency_graph(), name)
    return getattr(history, name)()


@pytest.mark.parametrize("name", FRAMES)
def test_rows_are_in_the_stated_order_which_leaves_no_ties(name, history, running):
    table, frame = FRAMES[name], frames_of(running if name in RUNNING else history, name)
    assert len(frame)
    known = frame.iloc[1:] if name == "quality" else frame  # its first row is about all batches
    pd.testing.assert_frame_equal(table.in_order(known), known)
    columns = [column.removeprefix("-") for column in table.order]
    if name != "errors":  # these are in the order of the object, within a batch
        assert not known.duplicated(columns).any()


def test_how_many_threads_there_are_decides_no_order(store):
    one, two = (reach.open_history(store, threads=threads) for threads in (1, 2))
    for name in FRAMES:
        pd.testing.assert_frame_equal(frames_of(one, name), frames_of(two, name))
