"""What holds of every chart: it takes a frame or a history, copes with little and with much, and
shows foreign text as text."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import plotly.io
import pytest

import reach_analytics as reach
from reach_analytics import plots, tables
from reach_analytics.errors import FrameError
from reach_analytics.plots import _theme

NOW = pd.Timestamp("2026-03-02 12:00", tz="UTC")
EVIL = "<img src=x onerror=alert(1)>"
OF_HISTORY = sorted(name.removeprefix("plot_") for name in plots.__all__ if name != "plot_batch")


@pytest.mark.parametrize("name", OF_HISTORY)
def test_a_history_is_drawn_as_its_frame_is_and_by_its_own_method(history, name):
    plot = getattr(reach, f"plot_{name}")
    source = vars(plot)
    frame = getattr(history, source["measure"])(**source["options"])
    others = {one: getattr(history, of)() for one, of in source["also"].items()}
    expected = plot(frame, **others)
    assert isinstance(expected, go.Figure)
    assert plot(history) == expected
    assert getattr(history.plot, name)() == expected
    assert expected.layout.title.text


def test_options_go_to_the_measure_or_to_the_chart(history):
    by_schema = history.plot.success(by="schema_name")
    assert by_schema == reach.plot_success(history.success(by="schema_name"))
    assert len(history.plot.bottlenecks(top=3).data[0].x) == 3
    assert len(history.plot.upload_plan(top=3).data[1].x) == 3
    with pytest.raises(TypeError, match="nonsense"):
        history.plot.success(nonsense=1)


def test_every_chart_is_found_by_completion(history):
    assert {*OF_HISTORY, "batch"} <= {*dir(history.plot)}
    assert "success" in repr(history.plot)
    assert "plot_success" in history.plot.success.__doc__


def test_the_life_of_one_batch(history):
    batch = history.batches().query("failed_records > 0")["batch_id"].iloc[0]
    rows = history.observations(batch)
    figure = history.plot.batch(batch)
    named = {trace.name: trace for trace in figure.data}
    good = rows[rows["ok"]]
    assert list(named["failed"].y) == good["failed_records"].tolist()
    assert named["wait"].stackgroup == named["failed"].stackgroup == "all"
    with pytest.raises(reach.errors.UnknownNameError, match="no batch"):
        history.plot.batch("nobody")
    with pytest.raises(ValueError, match="one batch"):
        reach.plot_batch(history.observations())


def running(count: int, **columns) -> pd.DataFrame:
    rows = {"tenant_id": "t", "batch_id": [f"{n:08}-b" for n in range(count)]}
    rows |= {"schema_name": "contacts", "processed_records": 5, "total_records": 10}
    rows |= {"last_observed_at": NOW, "eta": NOW + pd.Timedelta("12min")}
    return tables.ETA.conform(pd.DataFrame(rows | columns))


def test_running_batches_are_coloured_by_what_their_silence_says():
    stuck = tables.STUCK.conform(
        pd.DataFrame({"tenant_id": "t", "batch_id": ["00000001-b"], "verdict": "stuck"}).assign(
            comparable=0, unchanged_observations=3
        )
    )
    figure = reach.plot_running(running(3), stuck=stuck)
    [bars] = figure.data
    assert list(bars.marker.color) == [_theme.BLUE, _theme.VERMILION, _theme.BLUE]
    assert list(bars.text) == ["in 12 min", "stuck", "in 12 min"]
    assert figure.layout.title.text == "3 batches run, 1 of them is stuck"


def test_a_batch_without_a_pace_or_a_total_says_why():
    rows = running(1, eta=pd.NaT, reason="too few observations", total_records=0)
    [bars] = reach.plot_running(rows).data
    assert list(bars.text) == ["too few observations"]
    assert list(bars.x) == [0]


def test_throughput_is_of_what_ran_and_is_thinned_where_there_is_much():
    rows = pd.DataFrame(
        {
            "tenant_id": "t",
            "batch_id": "b",
            "from_at": NOW,
            "to_at": NOW + pd.to_timedelta(range(50_000), "s"),
            "running": True,
            "records": 60,
            "seconds": 30.0,
            "records_per_second": 2.0,
        }
    )
    rest = rows.head(1).assign(running=False, records=10_000)
    figure = reach.plot_throughput(tables.THROUGHPUT.conform(pd.concat([rows, rest])))
    assert figure.layout.title.text == "Batches that run process 2.0 records a second"
    assert len(figure.data[0].x) <= 20_000
    assert "of 50,000" in figure.layout.meta["about"]


def test_a_change_of_success_is_told_with_its_odds():
    batches = tables.BATCHES.conform(
        pd.DataFrame(
            {
                "tenant_id": "t",
                "batch_id": [f"b{n}" for n in range(40)],
                "created_at": pd.date_range(NOW, periods=40, freq="1h"),
                "successful_records": [95] * 20 + [60] * 20,
                "failed_records": [5] * 20 + [40] * 20,
            }
        )
    )
    found = reach.measures.change_point(batches)
    figure = reach.plot_change_point(found, batches=batches)
    points, line = figure.data
    assert list(line.y) == pytest.approx([0.95, 0.95, 0.6, 0.6])
    assert line.line.color == _theme.VERMILION
    assert figure.layout.meta["answer"].startswith("Success went from 95.0% to 60.0% at 2026-03-03")
    assert len(points.x) == 40
    with pytest.raises(TypeError, match="batches="):
        reach.plot_change_point(found)


def test_the_group_that_changed_the_surest_is_drawn(history):
    found = history.change_point(by="schema_name")
    least = found.loc[found["adjusted_p_value"].idxmin(), "schema_name"]
    figure = reach.plot_change_point(found, batches=history.batches())
    settled = history.batches()
    settled = settled[settled["schema_name"] == least]
    count = ((settled["successful_records"] + settled["failed_records"]) > 0).sum()
    assert len(figure.data[0].x) == count


def test_schemas_are_joined_by_lines_as_wide_as_what_waits(history):
    graph = history.schema_graph()
    figure = reach.plot_schema_graph(graph)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    sums = graph.groupby(["missing_schema_name", "schema_name"])["resources"].sum()
    assert len(lines) == len(sums)
    assert lines[-1].line.width == 14
    assert f"{sums.max():,} records" in lines[-1].hovertext[0]


def test_what_was_lost_is_drawn_by_what_it_was_lost_to(history):
    lost = history.lost()
    figure = reach.plot_lost(lost, top=5)
    drawn = sum(sum(trace.x) for trace in figure.data)
    cause = lost["root_schema_name"] + " " + lost["root_external_id"]
    sizes = lost["records"].groupby(cause.fillna(lost["cause"])).sum()
    assert drawn == sizes.sort_values(ascending=False).head(5).sum()
    assert figure.layout.meta["about"].endswith(f"the first 5 of {len(sizes)} causes")


def test_findings_are_counted_by_batch():
    rows = {"tenant_id": "t", "batch_id": list("aab"), "finding": "count_went_back"}
    table = tables.QUALITY.conform(pd.DataFrame(rows | {"evidence": "5, then 4"}))
    figure = reach.plot_quality(table)
    assert list(figure.data[0].x) == [3]
    assert figure.layout.title.text == "2 batches have numbers that do not fit"


def test_tenants_of_which_the_least_is_known_come_first():
    rows = {"tenant_id": list("abc"), "batches_waiting": [4, 4, 4], "batches_covered": [4, 0, 2]}
    rows |= {"batches_stale": [0, 4, 1], "batches_partial": [0, 0, 1]}
    rows |= {"resources_counted": 9, "resources_listed": 9}
    figure = reach.plot_coverage(tables.COVERAGE.conform(pd.DataFrame(rows)))
    assert list(figure.layout.yaxis.ticktext) == ["b", "c", "a"]
    assert figure.layout.title.text == "50.0% of the batches that wait are well known"


@pytest.mark.parametrize("count", [1, 10, 60])
def test_any_number_of_rows_can_be_drawn(count):
    names = [f"a schema with quite a long name, number {n}" for n in range(count)]
    same = {"tenant_id": "t", "missing_schema_name": "contacts", "resources": 7, "keys": 1}
    schemas = tables.SCHEMA_GRAPH.conform(pd.DataFrame(same | {"schema_name": names}))
    choke = {"tenant_id": "t", "external_id": names, "waits": 1, "direct": 2, "missing_count": 1}
    choke |= {"forced_unlock": 3, "in_cycle": False, "schema_definition_id": "s"}
    for figure in (
        reach.plot_schema_graph(schemas),
        reach.plot_running(running(count), top=60),
        reach.plot_choke_points(tables.CHOKE_POINTS.conform(pd.DataFrame(choke)), top=60),
    ):
        assert figure.layout.height < 6000
        labels = figure.layout.yaxis.ticktext or ()
        assert len({*labels}) == len(labels)


def test_foreign_text_is_escaped_in_the_newer_charts():
    rows = {"tenant_id": EVIL, "schema_name": EVIL, "batch_id": EVIL, "external_id": EVIL}
    rows |= {"missing_schema_name": EVIL, "resources": 1, "keys": 1, "finding": EVIL}
    rows |= {"evidence": EVIL, "waits": 1, "direct": 1, "forced_unlock": 1, "missing_count": 1}
    rows |= {"in_cycle": False, "outcome": "expired", "certain": True, "records": 1, "cause": EVIL}
    rows |= {"processed_records": 1, "total_records": 2, "reason": EVIL, "status": EVIL}
    rows |= {"sent_at": NOW, "ok": True, "batches_waiting": 1, "batches_covered": 1}
    rows |= {"batches_stale": 0, "batches_partial": 0, "resources_counted": 1}
    rows |= {"resources_listed": 1, "successful_records": 1, "failed_records": 1, "running": True}
    rows |= {"seconds": 1.0, "records_per_second": 1.0, "to_at": NOW, "from_at": NOW}
    rows |= {"repeats": 1, "scope": "detail", "run_id": EVIL, "received_at": NOW, "complete": True}
    frame = pd.DataFrame([rows])
    for plot, table in (
        (reach.plot_schema_graph, tables.SCHEMA_GRAPH),
        (reach.plot_choke_points, tables.CHOKE_POINTS),
        (reach.plot_running, tables.ETA),
        (reach.plot_throughput, tables.THROUGHPUT),
        (reach.plot_quality, tables.QUALITY),
        (reach.plot_coverage, tables.COVERAGE),
        (reach.plot_lost, tables.LOST),
        (reach.plot_batch, tables.OBSERVATIONS),
    ):
        drawn = plot(table.conform(frame)).to_json()
        assert "<img" not in drawn, plot
        assert "\\u003cimg" not in drawn, plot
        assert "lt;img" in drawn, plot


@pytest.mark.parametrize("name", [*OF_HISTORY, "batch"])
def test_a_wrong_frame_is_refused(name):
    if name == "dependency_graph":
        return
    options = {"batches": tables.BATCHES.empty()} if name == "change_point" else {}
    with pytest.raises(FrameError, match=r"history\."):
        getattr(reach, f"plot_{name}")(pd.DataFrame({"x": [1]}), **options)


def test_shares_are_round_only_where_they_are_all_or_nothing():
    assert [_theme.share(*pair) for pair in ((0, 9), (9, 9), (1, 10**6), (10**6 - 1, 10**6))] == [
        *("0%", "100%", "0.1%", "99.9%")
    ]
    assert _theme.share(0, 0) == "–"


def test_the_looks_can_be_used_by_name():
    assert {"reach", "reach_light", "reach_dark"} <= {*plotly.io.templates}


@pytest.mark.parametrize("top", [1, 15, None])
def test_the_graph_counts_all_that_is_missing_however_much_is_drawn(history, top):
    roots = history.bottlenecks()["is_root"].sum()
    told = f"{len(history.pending())} records wait for {roots} missing dependencies"
    assert history.plot.dependency_graph(top=top).layout.meta["answer"] == told


def test_what_began_and_what_ended_stands_below_the_backlog(history):
    backlog = history.backlog(freq="1h")
    named = {trace.name: trace for trace in reach.plot_backlog(backlog).data}
    assert list(named["began to wait"].y) == backlog["began"].tolist()
    for name, label in (("released", "released"), ("expired", "expired")):
        assert list(named[label].y) == (-backlog[name]).tolist()
        assert named[label].yaxis == "y2"


def test_many_durations_are_drawn_by_their_quartiles():
    spans = pd.to_timedelta(range(1, 20_001), "s")
    rows = {"tenant_id": "t", "batch_id": [f"b{n}" for n in range(20_000)], "schema_name": "s"}
    table = tables.DURATIONS.conform(pd.DataFrame(rows | {"processing_time": spans}))
    [box] = [trace for trace in reach.plot_durations(table).data if trace.name == "processing"]
    assert box.x is None
    scale = 1 if reach.plot_durations(table).layout.xaxis.type == "log" else 3600
    assert box.median[0] * scale == pytest.approx(10_000.5)
    assert len(reach.plot_durations(table).to_json()) < 20_000


def test_of_a_hundred_thousand_batches_the_last_are_charted():
    batches = tables.BATCHES.conform(
        pd.DataFrame(
            {
                "tenant_id": "t",
                "batch_id": [f"b{n:06}" for n in range(10_000)],
                "created_at": pd.date_range(NOW, periods=10_000, freq="1min"),
                "successful_records": 9,
                "failed_records": 1,
                "schema_name": [f"s{n % 100}" for n in range(10_000)],
                "total_records": 10,
                "processed_records": 10,
                "status": "partial_success",
            }
        )
    )
    chart = reach.plot_control_chart(reach.measures.control_chart(batches))
    assert len(chart.data[0].x) == 2_000
    assert "the last 2,000" in chart.layout.meta["about"]
    change = reach.plot_change_point(
        reach.measures.change_point(batches, n_resamples=99), batches=batches
    )
    assert len(change.data[0].x) == 5_000
    for figure in (
        reach.plot_success(reach.measures.success(batches, by="schema_name")),
        reach.plot_status(reach.measures.status(batches, by="schema_name")),
    ):
        assert figure.layout.meta["about"].endswith("the largest 60 of 100 groups")


def test_names_in_titles_are_escaped_once(history):
    found = history.change_point(by="tenant_name")
    found.loc[found["tenant_name"] == "Pine & Co", "adjusted_p_value"] = 0.001
    title = reach.plot_change_point(found, batches=history.batches()).layout.title.text
    assert "Pine &amp; Co" in title.replace("<br>", " ")
    assert "&amp;amp;" not in title


def test_what_is_not_certainly_lost_is_drawn_so():
    rows = {"tenant_id": "t", "outcome": "failed", "records": [3, 4], "certain": [True, False]}
    table = tables.LOST.conform(pd.DataFrame(rows | {"cause": ["a", "b"]}))
    named = {trace.name: sum(trace.x) for trace in reach.plot_lost(table).data}
    assert named == {"failed": 3, "perhaps lost": 4}
    assert reach.plot_lost(table).layout.title.text == "3 records were lost, and perhaps 4 more"


def test_a_single_bucket_is_drawn_with_its_moment():
    rows = {"tenant_id": "t", "batch_id": ["a", "b"], "created_at": NOW, "status": "failure"}
    table = tables.BATCHES.conform(pd.DataFrame(rows))
    figure = reach.plot_status(reach.measures.status(table, freq="1h"))
    assert list(figure.data[0].x) == ["2026-03-02 12:00 UTC"]
    assert figure.layout.xaxis.type == "category"
