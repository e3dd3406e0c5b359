"""Figures of control charts and durations: what they draw, and that foreign text stays text."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import pytest

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures.batches.control_chart import control_chart
from reach_analytics.measures.batches.durations import durations
from reach_analytics.plots import _theme
from reach_analytics.plots.batches.control_chart import plot_control_chart
from reach_analytics.plots.batches.durations import plot_durations
from tests.support.batches import batches
from tests.support.progress import timed
from tests.support.series import of_100, series

EVIL = "<img src=x onerror=alert(1)>"


def points(figure: go.Figure, colour: str) -> list[tuple]:
    """(position, fraction) of every point in that colour, except the legend's."""
    return [
        (x, y)
        for trace in figure.data
        if trace.mode == "markers" and trace.marker.color == colour
        for x, y in zip(trace.x, trace.y, strict=True)
        if x is not None
    ]


def test_batches_are_in_time_order_and_those_outside_the_limits_are_red():
    chart = control_chart(of_100(10, 20, 10, 20, 60, 12), baseline=4, limits="laney")
    figure = plot_control_chart(chart.sample(frac=1, random_state=1))
    assert points(figure, _theme.VERMILION) == [(5, 0.4)]
    assert points(figure, _theme.BLUE) == [(1, 0.9), (2, 0.8), (3, 0.9), (4, 0.8), (6, 0.88)]
    assert figure.layout.xaxis.ticktext[0] == "06:00<br>02 Mar"


def test_limits_are_steps_and_the_baseline_is_shaded():
    chart = control_chart(series((80, 100), (70, 90), (50, 60), (700, 900)), baseline=3)
    figure = plot_control_chart(chart)
    steps = [trace for trace in figure.data if trace.line.shape == "hvh"]
    assert [list(trace.y) for trace in steps] == [
        chart["low_fraction"].tolist(),
        chart["high_fraction"].tolist(),
    ]
    [ground] = figure.layout.shapes
    assert (ground.x0, ground.x1, ground.layer) == (0.4, 3.5, "below")


def test_each_group_has_its_own_chart_below_the_others():
    rows = batches(*[(name, i, "x", 10, 9 - i, 1 + i, 0) for name in "ab" for i in range(3)])
    figure = plot_control_chart(control_chart(rows, by="schema_name", baseline=2))
    assert [note.text for note in figure.layout.annotations] == ["a", "b"]
    assert len(figure.layout.shapes) == 2
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]


def test_charts_by_tenant_name_the_tenants():
    rows = of_100(10, 20, 30, 40).assign(tenant_id=["u", "t", "u", "t"])
    figure = plot_control_chart(control_chart(rows, by="tenant_id", baseline=2))
    assert [note.text for note in figure.layout.annotations] == ["t", "u"]


def test_groups_with_equal_shortened_names_are_numbered():
    long = ["a" * 40 + middle + "b" * 40 for middle in "XY"]
    rows = batches(*[(name, 0, "x", 2, 1, 1, 0) for name in long])
    figure = plot_control_chart(control_chart(rows, by="schema_name"))
    names = [note.text for note in figure.layout.annotations if "…" in note.text]
    assert len(set(names)) == 2


def test_a_group_without_limits_says_why():
    figure = plot_control_chart(control_chart(of_100(10, 20)))
    assert len(figure.layout.shapes) == 0
    [note] = figure.layout.annotations
    assert note.text == "no limits: fewer than 20 settled batches"
    assert len(points(figure, _theme.BLUE)) == 2


def test_only_the_first_groups_are_drawn_and_the_others_are_counted():
    rows = batches(*[(f"s{i}", 0, "x", 2, 1, 1, 0) for i in range(30)])
    chart = control_chart(rows, by="schema_name")
    for figure, drawn in ((plot_control_chart(chart), 12), (plot_control_chart(chart, top=1), 1)):
        assert len(points(figure, _theme.BLUE)) == drawn
        assert figure.layout.meta["about"].endswith(f"not drawn: {30 - drawn} groups")


def spans(**seconds: list[float | None]) -> pd.DataFrame:
    """Durations of each schema's batches that took these seconds after a minute in the queue."""
    rows = [(name, s) for name, own in seconds.items() for s in own]
    frame = timed(*[(0, 1, None if s is None else 1 + s / 60, "x", 10) for _, s in rows])
    return durations(frame.assign(schema_name=[name for name, _ in rows]))


def test_schemas_have_a_box_each_for_the_queue_and_for_processing():
    figure = plot_durations(spans(a=[30.0, 60.0], b=[90.0, None, 10.0]))
    queue, processing = figure.data
    assert (queue.name, processing.name) == ("queue", "processing")
    assert list(queue.x) == [60.0] * 5
    assert sorted(processing.x) == [10, 30, 60, 90]
    assert list(figure.layout.yaxis.ticktext) == ["b", "a"]  # by how many batches they have
    assert figure.layout.xaxis.title.text == "seconds"
    assert queue.boxpoints == "all"


def test_long_times_are_shown_in_longer_units():
    assert plot_durations(spans(a=[900.0, 1000.0])).layout.xaxis.title.text == "minutes"
    figure = plot_durations(spans(a=[9000.0] * 50))
    assert figure.layout.xaxis.type == "log"
    assert figure.data[1].boxpoints == "outliers"


def test_widely_spread_durations_have_a_logarithmic_axis_and_omissions_are_mentioned():
    figure = plot_durations(spans(a=[1.0, 10.0, 100.0, 1000.0] * 4 + [0.0]))
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis.title.text == "length of time (not drawn: 1 of 0 s)"
    assert "1 min" in figure.layout.xaxis.ticktext
    assert len(figure.data[1].x) == 16
    many_zeros = plot_durations(spans(a=[0.0, 0.0, 1000.0]))
    assert many_zeros.layout.xaxis.type == "linear"
    assert len(many_zeros.data[1].x) == 3


def test_only_the_most_frequent_schemas_are_drawn():
    figure = plot_durations(spans(a=[1.0], b=[1.0, 2.0], c=[1.0, 2.0]), top=2)
    assert list(figure.layout.yaxis.ticktext) == ["b", "c"]
    assert figure.layout.meta["about"].endswith("not drawn: 1 schema")
    assert len(figure.data[0].x) == 4


def test_any_index_is_accepted():
    frame = spans(a=[1.0, 2.0, 3.0])
    for plot in (plot_durations(frame.set_index([[7, 7, 7]])), plot_durations(frame)):
        assert list(plot.data[1].x) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "figure",
    [
        plot_control_chart(tables.CONTROL_CHART.empty()),
        plot_control_chart(tables.CONTROL_CHART.empty().assign(schema_name=None)),
        plot_durations(tables.DURATIONS.empty()),
        plot_durations(durations(timed((0, None, None, "x", None)))),
    ],
)
def test_empty_input_yields_a_small_figure_that_says_so(figure):
    assert len(figure.data) == 0
    assert "yet" in figure.layout.title.text
    assert figure.layout.height < 200, "no blank sheet"


@pytest.mark.parametrize("plot", [plot_control_chart, plot_durations])
def test_wrong_frames_and_arguments_are_refused_with_what_to_pass(plot):
    with pytest.raises(FrameError, match=r"pass history\."):
        plot(pd.DataFrame({"x": [1]}))
    empty = {plot_control_chart: tables.CONTROL_CHART, plot_durations: tables.DURATIONS}[plot]
    with pytest.raises(ValueError, match="top must be at least 1"):
        plot(empty.empty(), top=0)


def test_foreign_text_is_escaped_wherever_it_is_drawn():
    rows = batches(
        *[(EVIL, i, EVIL, 4, 1 + i % 2, 3, 0) for i in range(3)], ("b", 0, "x", 1, 1, 0, 0)
    )
    rows = rows.assign(tenant_id=EVIL, batch_id=[f"{EVIL}{i}" for i in range(4)])
    timed_rows = timed((0, 1, 2, EVIL, 5)).assign(schema_name=EVIL, tenant_id=EVIL, batch_id=EVIL)
    for figure in (
        plot_control_chart(control_chart(rows, by="schema_name", baseline=2)),
        plot_control_chart(control_chart(rows, by="tenant_id", baseline=2)),
        plot_durations(durations(timed_rows)),
    ):
        drawn = figure.to_json()
        assert "<img" not in drawn
        assert "\\u003cimg" not in drawn
        assert "&lt;img" in drawn
