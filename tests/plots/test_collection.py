"""The chart of collection health: what it draws, and from which column."""

from __future__ import annotations

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import collection_health
from reach_analytics.plots import _theme
from tests.support.histories import history
from tests.support.observations import batch, observation

EVIL = "<img src=x onerror=alert(1)>"


def health(tenants: tuple[str, ...] = ("t",), **options) -> pd.DataFrame:
    """Observations of a batch of each tenant at 0, 10, 20 and 80 minutes; that at 20 failed."""
    seen = batch(progress={"totalRecords": 9}, status="processing")
    observations = [
        observation(seen, at, tenant_id=tenant) for tenant in tenants for at in (0, 10, 80)
    ]
    observations += [observation(None, 20, batch_id="b", tenant_id=tenant) for tenant in tenants]
    return collection_health(history(*observations).observation_log(), **options)


def by_name(figure) -> dict:
    return {trace.name: trace for trace in figure.data}


def test_over_time_observations_are_stacked_by_result_above_ages_and_requests():
    figure = reach.plot_collection_health(health(freq="1h"))
    traces = by_name(figure)
    assert figure.layout.barmode == "stack"
    assert list(traces["saw a change"].y) == [1, 0]
    assert list(traces["saw nothing new"].y) == [1, 1]
    assert list(traces["failed"].y) == [1, 0]
    assert traces["failed"].marker.color == _theme.VERMILION
    assert list(traces["younger than this half of the time"].y) == [5, 35]
    assert list(traces["younger than this 95 % of the time"].y) == [9.5, 66.5]
    costs = traces["requests per change"]
    assert costs.y[0] == 3
    assert pd.isna(costs.y[1])
    assert [title.text for title in figure.layout.annotations] == [
        *("Observations", "Age of the last known state, minutes", "Requests per change")
    ]
    assert len({traces["failed"].xaxis, costs.xaxis}) == 2
    assert figure.layout.xaxis.matches == figure.layout.xaxis2.matches == "x3"


def test_what_never_occurred_is_not_in_the_legend():
    table = health(freq="1h")
    assert "failed" not in by_name(
        reach.plot_collection_health(table.assign(failed_observations=0))
    )


def test_a_bucket_without_observations_breaks_the_lines():
    figure = reach.plot_collection_health(health(freq="15min"))
    ages = by_name(figure)["younger than this 95 % of the time"]
    assert [pd.notna(age) for age in ages.y] == [True, False, False, False, False, True]
    assert not ages.connectgaps


def test_of_several_groups_each_has_one_colour_in_all_three():
    figure = reach.plot_collection_health(health(("t", "u"), freq="1h", by="tenant_id"))
    assert [trace.name for trace in figure.data] == ["t"] * 3 + ["u"] * 3
    assert {trace.marker.color for trace in figure.data[:3]} == {_theme.BLUE}
    assert [trace.showlegend for trace in figure.data[:3]] == [None, False, False]


def test_without_time_each_group_is_a_row_with_the_most_observed_on_top():
    table = health(("t", "u"), by="tenant_id")
    table.loc[1, "observations"] = 9
    figure = reach.plot_collection_health(table)
    traces = by_name(figure)
    assert list(figure.layout.yaxis.ticktext) == ["t", "u"]
    assert list(traces["saw nothing new"].x) == [2, 7]
    half, most = (traces[f"younger than this {n} of the time"].x for n in ("half", "95 %"))
    assert [a + b for a, b in zip(half, most, strict=True)] == pytest.approx([66, 66])
    assert list(traces["requests per change"].x) == [4, 4]


def test_a_single_bucket_has_no_time_axis():
    figure = reach.plot_collection_health(health(freq="1D"))
    assert by_name(figure)["failed"].orientation == "h"
    assert "from 2026-03-02 00:00 UTC" in figure.data[0].hovertext[0]


def test_only_the_top_groups_are_drawn_and_the_rest_is_mentioned():
    table = health(tuple("tuvw"), by="tenant_id")
    figure = reach.plot_collection_health(table, top=3)
    assert len(figure.layout.yaxis.ticktext) == 3
    assert figure.layout.meta["about"] == "Not drawn: 1 group"
    with pytest.raises(ValueError, match="top must be at least 1"):
        reach.plot_collection_health(table, top=0)


def test_hovering_shows_the_row():
    [text] = reach.plot_collection_health(health()).data[0].hovertext
    assert "4 observations of 1 batches, 1 failed" in text
    assert "1 gaps; the longest interval was 1.2 hours" in text
    assert "ends of waits within –" in text


def test_foreign_text_is_escaped():
    for options in ({"by": "tenant_id"}, {"by": "tenant_id", "freq": "1h"}):
        drawn = reach.plot_collection_health(health((EVIL, "{u}"), **options)).to_json()
        assert "<img" not in drawn
        assert "\\u003cimg" not in drawn
        assert "&lt;img" in drawn
        assert "{u}" in drawn


def test_one_observation_and_similar_group_names():
    reach.plot_collection_health(
        collection_health(history(observation(batch(), 0)).observation_log())
    )
    long = tuple("a" * 40 + middle + "b" * 40 for middle in "XY")
    figure = reach.plot_collection_health(health(long, by="tenant_id"))
    assert len(set(figure.layout.yaxis.ticktext)) == 2


@pytest.mark.parametrize("extra", [{}, {"bucket": pd.NaT}])
def test_without_observations_it_says_so(extra):
    figure = reach.plot_collection_health(tables.COLLECTION_HEALTH.empty().assign(**extra))
    assert len(figure.data) == 0
    assert figure.layout.title.text == "Nothing has been observed yet"


def test_a_wrong_frame_is_refused_with_what_to_pass():
    with pytest.raises(FrameError, match=r"pass history\.collection_health"):
        reach.plot_collection_health(pd.DataFrame({"x": [1]}))
