"""Figures: what they draw, from which column, and that foreign text stays text."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import pytest

import reach_analytics as reach
from reach_analytics import measures, tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import dependency_graph
from reach_analytics.plots import _theme
from tests.support.batches import T0, batches
from tests.support.waits import frame

EVIL = "<img src=x onerror=alert(1)>"


def by_name(figure: go.Figure) -> dict[str, go.Figure]:
    return {trace.name: trace for trace in figure.data}


def test_success_without_buckets_is_a_bar_per_group():
    table = measures.success(
        batches(("a", 0, "x", 4, 1, 3, 0), ("b", 0, "x", 2, 2, 0, 0)), by="schema_name"
    )
    [bars] = reach.plot_success(table).data
    assert list(bars.x) == [1.0, 0.25]
    assert list(bars.text) == ["100.0%", "25.0%"]


def test_success_over_time_is_a_line_per_group():
    rows = batches(("a", 0, "x", 4, 1, 3, 0), ("b", 0, "x", 2, 2, 0, 0), ("a", 60, "x", 1, 1, 0, 0))
    figure = reach.plot_success(measures.success(rows, by="schema_name", freq="1h"))
    lines = by_name(figure)
    assert list(lines["a"].y) == [0.25, 1.0]
    assert list(lines["b"].y) == [1.0]
    assert pd.Timestamp(lines["a"].x[1]).tz_localize("UTC") == T0 + pd.Timedelta("1h")
    assert figure.layout.showlegend


def test_status_stacks_one_trace_per_status_in_its_own_colour():
    rows = batches(("s", 0, "failure", 1, 0, 1, 0), ("s", 0, "paused", 1, 0, 0, 0))
    figure = reach.plot_status(measures.status(rows, freq="1h"))
    traces = by_name(figure)
    assert figure.layout.barmode == "stack"
    assert traces["failure"].marker.color == _theme.VERMILION
    assert traces["paused"].marker.color == _theme.UNKNOWN


def test_bottlenecks_draw_unlocked_within_blocked_with_the_worst_on_top():
    table = measures.bottlenecks(frame({"A": "x", "B": "A", "C": "y"}))
    figure = reach.plot_bottlenecks(table)
    traces = by_name(figure)
    assert list(traces["wait for it, directly or in a chain"].x) == [1, 1, 2]
    assert list(traces["are freed if it alone arrives"].x) == [1, 2]
    assert list(traces["are freed, but it is pending itself"].x) == [1]
    assert figure.layout.yaxis.ticktext[-1].startswith("x")


def test_only_the_top_rows_are_drawn():
    table = measures.bottlenecks(frame({str(n): f"x{n}" for n in range(50)} | {"A": ["k"]}))
    assert len(reach.plot_bottlenecks(table, top=7).data[0].x) == 7
    with pytest.raises(ValueError, match="top"):
        reach.plot_bottlenecks(table, top=0)


def test_graph_puts_dependents_right_of_what_they_wait_for():
    graph = dependency_graph(frame({"A": "x", "B": "A", "C": "A", "L": "M", "M": "L"}))
    figure = reach.plot_dependency_graph(graph)
    traces = by_name(figure)
    assert list(traces["missing: must be delivered"].x) == [0]
    assert max(traces["waits"].x) == 2
    assert "deadlock" in traces
    assert list(traces["waits"].text) == ["2 things"]


def test_no_two_nodes_share_a_position():
    waits = {f"r{n}": [f"x{n % 7}", f"y{n % 5}"] for n in range(60)} | {"A": ["r1"], "B": ["r2"]}
    figure = reach.plot_dependency_graph(dependency_graph(frame(waits)))
    nodes = [t for t in figure.data if "markers" in (t.mode or "")]
    places = [(x, y) for trace in nodes for x, y in zip(trace.x, trace.y, strict=True)]
    assert len(set(places)) == len(places)


def test_omissions_are_mentioned():
    graph = dependency_graph(frame({"A": "x", "B": "x", "C": "y"}), top=1)
    about = reach.plot_dependency_graph(graph).layout.meta["about"]
    assert about.endswith("; not drawn: 1 missing dependency, 1 pending record")


def test_the_plan_is_a_staircase_with_shaded_blocks_of_several_uploads():
    table = measures.upload_plan(frame([("1", "z"), ("2", "z"), ("3", "xy"), ("4", "w")]))
    figure = reach.plot_upload_plan(table)
    stairs, marks, most = figure.data
    assert list(stairs.y) == [0, 2, 3, 3, 4]
    assert [shown.split("<br>")[0] for shown in marks.hovertext] == [
        f"<b>{key}</b>" for key in "zwxy"
    ]
    assert list(most.y) == [0, *table["max_running_total"]]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(2, 4)]
    assert "block 3, which frees 1" in marks.hovertext[3]


EMPTY = [
    (reach.plot_success, tables.SUCCESS.empty()),
    (reach.plot_success, tables.SUCCESS.empty().assign(bucket=pd.NaT)),
    (reach.plot_status, tables.STATUS.empty()),
    (reach.plot_bottlenecks, tables.BOTTLENECKS.empty()),
    (reach.plot_upload_plan, tables.UPLOAD_PLAN.empty()),
    (reach.plot_dependency_graph, dependency_graph(tables.DEPENDENCIES.empty())),
]


@pytest.mark.parametrize(("plot", "empty"), EMPTY)
def test_empty_input_yields_a_figure_that_says_so(plot, empty):
    figure = plot(empty)
    assert isinstance(figure, go.Figure)
    assert len(figure.data) == 0
    assert figure.layout.title.text


def test_a_batch_without_settled_records_yields_a_figure_too():
    table = measures.success(batches(("s", 0, "processing", 5, 0, 0, 5)), by="schema_name")
    assert "yet" in reach.plot_success(table).layout.title.text


@pytest.mark.parametrize(
    "plot", [reach.plot_success, reach.plot_status, reach.plot_bottlenecks, reach.plot_upload_plan]
)
def test_a_wrong_frame_is_refused_with_what_to_pass(plot):
    with pytest.raises(FrameError, match=r"pass history\."):
        plot(pd.DataFrame({"x": [1]}))


def test_foreign_text_is_escaped_wherever_it_is_drawn():
    rows = batches((EVIL, 0, EVIL, 4, 1, 3, 0))
    waits = frame({EVIL: [EVIL + "1"], "B": [EVIL]}).assign(
        missing_schema_name=EVIL, schema_name=EVIL, tenant_id=EVIL
    )
    figures = [
        reach.plot_success(measures.success(rows, by="schema_name")),
        reach.plot_success(measures.success(rows, by="schema_name", freq="1h")),
        reach.plot_status(measures.status(rows, by="schema_name")),
        reach.plot_bottlenecks(measures.bottlenecks(waits)),
        reach.plot_dependency_graph(dependency_graph(waits)),
        reach.plot_upload_plan(measures.upload_plan(waits)),
    ]
    for figure in figures:
        drawn = figure.to_json()
        assert "<img" not in drawn
        assert "\\u003cimg" not in drawn
        assert "&lt;img" in drawn


def test_group_names_like_numbers_or_dates_stay_names():
    rows = batches(("1001", 0, "x", 1, 1, 0, 0), ("2024-01", 0, "x", 1, 1, 0, 0))
    figure = reach.plot_status(measures.status(rows, by="schema_name"))
    assert figure.layout.xaxis.type == "category"


def test_groups_with_equal_shortened_names_are_kept_apart():
    long = ["a" * 40 + middle + "b" * 40 for middle in "XY"]
    rows = batches(*[(name, 0, "x", 2, n, 2 - n, 0) for n, name in enumerate(long)])
    over_time = reach.plot_success(measures.success(rows, by="schema_name", freq="1h"))
    assert len(over_time.data) == 2
    stacked = reach.plot_status(measures.status(rows, by="schema_name"))
    assert len(set(stacked.data[0].x)) == 2


def test_batches_without_a_time_or_a_total_can_be_drawn():
    for rows in (
        batches(("s", None, "x", 2, 1, 1, 0)),
        batches(("s", 0, "x", None, 1, 1, 0)),
    ):
        assert reach.plot_success(measures.success(rows, freq="1h")) is not None
    table = measures.success(batches(("s", None, "x", 2, 1, 1, 0)), freq="1h")
    assert "yet" in reach.plot_success(table).layout.title.text


def test_long_and_unprintable_text_is_shortened_and_escaped():
    assert _theme.text("a" * 100, 20) == "aaaaaaaa…aaaaaaaaaaa"
    assert _theme.text("a\x1b[2J\u202eb\nc") == "a\ufffd[2J\ufffdb\ufffdc"
    assert _theme.text(None) == _theme.text(pd.NA) == "–"


def test_an_expiry_in_a_hundred_years_does_not_squeeze_the_others():
    times = [*pd.date_range("2026-01-01 06:00", periods=5, freq="10min", tz="UTC")]
    times.append(pd.Timestamp("2126-01-01", tz="UTC"))
    waits = tables.PENDING.conform(
        pd.DataFrame({"tenant_id": "t", "batch_id": "b", "expires_at": times, "missing_count": 1})
    )
    figure = reach.plot_expiring(measures.expiring(waits, as_of="2026-01-01 05:00"))
    [bars] = figure.data
    assert pd.to_datetime(bars.x, utc=True).max() < pd.Timestamp("2026-01-02", tz="UTC")
    assert sum(bars.y) == 5
    about = figure.layout.meta["about"]
    assert about.endswith("; 1 more expire far from these: 2126-01-01 00:00 UTC")


def test_titles_are_the_answers():
    rows = batches(("a", 0, "failure", 4, 1, 3, 0), ("b", 0, "success", 6, 6, 0, 0))
    waits = frame({"A": "x", "B": "A", "C": "x", "D": "y"})
    answers = [
        (reach.plot_success(measures.success(rows, freq="1h")), "70.0% of the settled records"),
        (reach.plot_status(measures.status(rows)), "1 of 2 batches failed"),
        (reach.plot_bottlenecks(measures.bottlenecks(waits)), "x alone would free 3 records"),
        (reach.plot_dependency_graph(dependency_graph(waits)), "4 records wait for 2 missing"),
        (reach.plot_upload_plan(measures.upload_plan(waits)), "2 uploads free 4 records"),
    ]
    for figure, answer in answers:
        assert figure.layout.title.text.replace("<br>", " ").startswith(answer)


def test_of_many_groups_the_smaller_are_drawn_as_one():
    rows = batches(*[(f"s{n:02}", 0, "x", 20 - n, 10, 10 - n, 0) for n in range(12)])
    figure = reach.plot_success(measures.success(rows, by="schema_name", freq="1h"))
    assert [trace.name for trace in figure.data] == ["5 others", *(f"s{n:02}" for n in range(7))]
    failed = sum(10 - n for n in range(7, 12))
    assert figure.data[0].y[0] == pytest.approx(50 / (50 + failed))


def test_a_single_line_lies_in_the_band_of_its_interval():
    rows = batches(*[("s", 0, "x", 10, 9 - n % 3, 1 + n % 3, 0) for n in range(12)])
    table = measures.success(rows, freq="1h")
    low, high, line = reach.plot_success(table).data
    assert list(low.y) == table["settled_low_fraction"].tolist()
    assert list(high.y) == table["settled_high_fraction"].tolist()
    assert low.y[0] < line.y[0] < high.y[0]


def test_the_looks_are_registered_and_bring_their_own_inks():
    figure = reach.plot_success(tables.SUCCESS.empty())
    assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
    figure.update_layout(template="reach_dark")
    assert figure.layout.template.layout.font.color == "#aab2bd"
    assert figure.layout.title.font.color is None, "nothing of its own stands against it"
