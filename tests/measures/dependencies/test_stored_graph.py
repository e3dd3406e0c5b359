"""The graph of a store is that of its frames, though the engine numbers it."""

from __future__ import annotations

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import measures
from reach_analytics.history import History
from tests.support.effort import UNSHRUNK, count
from tests.support.histories import history
from tests.support.odd_lists import SEEN, observed

MEASURES = ["bottlenecks", "upload_plan", "what_if", "choke_points", "deadlocks", "depth"]


def compare(told: History) -> None:
    frames = told.dependencies(), told.pending()
    for name in MEASURES:
        ours, theirs = getattr(told, name)(), getattr(measures, name)(*frames)
        pd.testing.assert_frame_equal(ours.drop(columns="tenant_name"), theirs, obj=name)
    for top in (None, 1):
        drawn, expected = (
            told.dependency_graph(top=top),
            measures.dependency_graph(*frames, top=top),
        )
        pd.testing.assert_frame_equal(drawn.nodes.drop(columns="tenant_name"), expected.nodes)
        pd.testing.assert_frame_equal(drawn.edges, expected.edges)
        assert (drawn.hidden_missing, drawn.hidden_resources) == (
            expected.hidden_missing,
            expected.hidden_resources,
        )


@settings(max_examples=count(60, 10), phases=UNSHRUNK)
@given(seen=st.lists(SEEN, min_size=1, max_size=6))
def test_odd_lists_give_one_graph(seen):
    """Resources without an id or named twice, keys without a name, names that differ."""
    compare(history(*observed(seen)))
