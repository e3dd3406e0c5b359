"""The page and the exports."""

from __future__ import annotations

import json
import os
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.report import report_frames
from reach_analytics.report._files import write_whole
from reach_analytics.report._page.cells import MOST_ROWS, Column, page_table
from reach_analytics.report._page.record import LONGEST_LINE, Entry, Record
from reach_analytics.report.page import record_name
from reach_analytics.report.writing import _file_name
from tests.support.observations import batch, counts, minute, observation

NOW = pd.Timestamp("2026-03-02 12:00", tz="UTC")
SHIPPED = Path(__file__).parents[2] / "data" / "demo"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append(tag)


def test_the_page_holds_everything_it_needs(history, tmp_path):
    page = history.report(tmp_path / "report.html").read_text(encoding="utf-8")
    for heading in (
        "Did it land?",
        "What changed?",
        "What waits, and what was lost?",
        "What to upload next?",
        "Who waits for whom?",
        "What went wrong?",
        "How well do we know?",
        "How is each figure defined?",
    ):
        assert heading in page
    best = history.bottlenecks().query("is_root")["external_id"][0]
    assert f'title="{best}"' in page
    tags = Tags()
    tags.feed(page)
    assert "link" not in tags.seen
    assert " src=" not in page[: page.index("plotly.js (basic")]


def test_the_demo_fits_into_two_and_a_half_megabytes(history, tmp_path):
    assert history.report(tmp_path / "report.html").stat().st_size < 2_500_000


def test_hostile_text_adds_no_element_to_the_page(evil, history, tmp_path):
    def tags(of) -> set[str]:
        parser = Tags()
        parser.feed(of.report(tmp_path / "page.html").read_text(encoding="utf-8"))
        return set(parser.seen)

    assert tags(evil) <= tags(history)


def test_a_page_about_an_empty_history_can_be_written(tmp_path):
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([], minute(0)))
    page = reach.open_history(store).report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No batches yet." in page
    assert "Nothing is missing" in page


def test_a_failed_write_keeps_the_old_file_and_leaves_no_draft(tmp_path):
    path = tmp_path / "page"
    path.write_text("old")

    def fail(draft):
        draft.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page"]


def test_every_column_of_every_table_is_described():
    for table in (*tables.STORED, *tables.FRAMES, *tables.MEASURES):
        shown = tables.describe(table)
        assert shown["column"].is_unique
        assert (shown["meaning"].str.len() > 8).all()
        assert set(table.key) <= set(shown["column"])


def test_every_frame_and_measure_can_be_described_by_name():
    for name in [*reach.measures.__all__, "observations", "departures", "still_missing"]:
        if name not in {"DependencyGraph", "dependency_graph", "changes_in_words"}:
            assert len(tables.describe(name))


def test_one_wrong_date_does_not_widen_the_charts_and_is_mentioned(tmp_path):
    dates = {
        "a": "2026-03-02T05:00:00Z",
        "b": "2026-03-02T05:30:00Z",
        "odd": "1970-01-01T00:00:01Z",
    }
    times = {"progress": counts(10, 8, 2)}
    observations = [observation(batch(name, createdAt=at, **times)) for name, at in dates.items()]
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables(observations, minute(1)))
    history = reach.open_history(store)
    frames = report_frames(history)
    for name in ("success_over_time", "status_over_time"):
        assert frames[name]["bucket"].tolist() == [pd.Timestamp("2026-03-02 05:00", tz="UTC")]
    page = history.report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "1 of the batches" in page
    assert "created at 1970-01-01 00:00 UTC" in page
    assert "Not in the charts" not in str(frames["success"])


def test_numbers_that_add_up_to_more_than_a_float_holds_break_no_page(tmp_path):
    store = reach.Store(tmp_path / "store")
    most = {"errors": {"summary": {"HUGE": 1e308, "USUAL": 3}}}
    seen = [observation(batch(name) | most, batch_id=name) for name in ("a", "b")]
    store.append(*to_tables(seen, minute(1)))
    page = reach.open_history(store).report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "HUGE" in page
    assert "USUAL" in page


def test_the_report_says_how_near_to_the_best_possible_the_plan_is(history, tmp_path):
    plan = history.upload_plan()
    page = history.report(tmp_path / "report.html").read_text(encoding="utf-8")
    said = f"{len(plan)} uploads free {plan['running_total'].iloc[-1]}"
    assert f'<p class="note ">{said}' in page
    assert "of the best possible" in page or "no plan of as many frees more" in page


@pytest.fixture
def moments():
    """The shipped store, at three moments."""
    return [
        reach.open_history(SHIPPED, as_of=moment)
        for moment in ("2026-03-02 12:00", "2026-03-02 13:00", "2026-03-02 14:00:01")
    ]


def figures(path: Path) -> pd.DataFrame:
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return pd.DataFrame(told["figures"]).set_index("figure")


def test_a_report_is_compared_with_the_one_that_it_replaces(moments, tmp_path):
    path = tmp_path / "report.html"
    for moment in moments:
        moment.report(path, as_json=True)
    _, before, now = (moment.overview().figures.set_index("figure")["value"] for moment in moments)
    found = figures(path)
    assert found["value"].tolist() == now.tolist()
    assert found["before"].tolist() == before.tolist(), (
        "what was lost, too, which no one else knows"
    )
    page = path.read_text(encoding="utf-8")
    assert "Changes are those since 2026-03-02 13:00 UTC." in page
    assert page.count('<svg viewBox="0 0 96 20" class="line"') == len(found)


def test_a_report_of_the_same_moment_is_compared_with_the_one_before(moments, tmp_path):
    path = tmp_path / "report.html"
    for moment in (moments[0], moments[1], moments[1]):
        moment.report(path, as_json=True)
    before = moments[0].overview().figures.set_index("figure")["value"]
    assert figures(path)["before"].tolist() == before.tolist()


def test_a_moment_that_is_said_counts_more_than_the_report_that_is_replaced(moments, tmp_path):
    path = tmp_path / "report.html"
    moments[0].report(path)
    moments[2].report(path, since="2h30min")
    assert "Changes are those since 2026-03-02 11:30 UTC." in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "found",
    [
        "",
        "<html>something else",
        '<script type="application/json" id="reach-record">{"form": 1}</script>',
        '<script type="application/json" id="reach-record">[1, 2</script>',
        '<script type="application/json" id="reach-record">{"form": 1, "of": "{OF}", "reports":'
        ' [{"moment": "2026-03-01T00:00:00Z", "figures": {"batches": "NaN"}}]}</script>',
        '<script type="application/json" id="reach-record">{"form": 1, "of": "{OF}", "reports":'
        ' [{"moment": "2026-03-01", "figures": {"batches": 1}}]}</script>',
        '<script type="application/json" id="reach-record">{"form": 1, "of": "{OF}", "reports":'
        " 7}</script>",
    ],
)
def test_a_file_that_holds_no_record_is_just_replaced(moments, tmp_path, found):
    path = tmp_path / "report.html"
    path.write_text(found.replace("{OF}", record_name(moments[0].location, "")), encoding="utf-8")
    moments[0].report(path)
    assert "Nothing had been observed by 2026-03-01 12:00 UTC" in path.read_text(encoding="utf-8")


def test_the_report_of_another_part_is_not_compared_with(moments, tmp_path):
    path = tmp_path / "report.html"
    moments[1].filter(tenant="Pine & Co").report(path)
    moments[2].report(path)
    assert "Nothing had been observed by" in path.read_text(encoding="utf-8")


def test_a_record_keeps_thirty_reports_and_tells_no_path():
    record = Record("x")
    for minutes in range(40):
        record = record.with_entry(Entry(minute(minutes), {"batches": float(minutes)}))
    assert len(record.entries) == LONGEST_LINE == 30
    assert record.entries[-1].figures == {"batches": 39.0}
    assert "secret" not in record_name("s3://key:secret@bucket", "")


def test_every_figure_of_the_page_is_in_its_json(history, tmp_path):
    path = history.report(tmp_path / "report.html", as_json=True)
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    page = unescape(path.read_text(encoding="utf-8"))
    assert " ".join(told["sentences"]) in page
    for chart in told["charts"].values():
        assert chart["answer"] in page
    plan = pd.DataFrame(told["tables"]["upload-plan"]["rows"])
    expected = history.upload_plan()
    assert plan["running_total"].tolist() == expected["running_total"].tolist()
    assert plan["tenant_id"].tolist() == expected["tenant_id"].tolist()
    assert plan["needed_by"].tolist() == [at.isoformat() for at in expected["needed_by"]]
    meanings = told["tables"]["upload-plan"]["columns"]
    assert (
        meanings["frees"]
        == tables.describe("upload_plan").set_index("column").loc["frees", "meaning"]
    )


def test_each_tenant_has_a_page_of_its_own(history, tmp_path):
    index, *pages = history.tenant_reports(tmp_path)
    assert index.name == "index.html"
    assert [page.name for page in pages] == [
        "harbour-books.html",
        "northside-dental.html",
        "pine-co.html",
    ]
    names = history.tenants()["tenant_name"].tolist()
    for page, name in zip(pages, names, strict=True):
        text = unescape(page.read_text(encoding="utf-8"))
        assert [other in text for other in names] == [other == name for other in names]
    links = index.read_text(encoding="utf-8")
    assert all(f'href="{page.name}"' in links for page in pages)


def test_tenants_of_one_name_have_files_of_their_own():
    taken = {"index"}
    found = [_file_name(name, taken) for name in ("A & B", "a-b", "Index", "名前", "x" * 500)]
    assert found == ["a-b", "a-b-2", "index-2", "tenant", "x" * 60]
    assert len({*found}) == len(found)


def test_a_cut_table_says_so():
    rows = pd.DataFrame({"external_id": [f"r{n}" for n in range(MOST_ROWS + 3)]})
    table = page_table("t", "All", rows, [Column("external_id", "Id")], now=NOW, empty="")
    assert len(table.rows) == MOST_ROWS
    assert table.count == MOST_ROWS + 3


def test_cells_show_sort_and_copy_what_a_person_expects():
    frame = pd.DataFrame(
        {
            "count": pd.array([1234, None], dtype="Int64"),
            "share": [0.1234, None],
            "near": [NOW + pd.Timedelta("23min"), pd.NaT],
            "far": [NOW - pd.Timedelta("3D"), pd.NaT],
            "span": [pd.Timedelta("1h 2min 3.5s"), pd.NaT],
            "sure": pd.array([True, None], dtype="boolean"),
            "tenant_id": ["t", None],
        }
    )
    kinds = {"count": "count", "share": "percent", "near": "moment", "far": "moment"}
    kinds |= {"span": "length", "sure": "flag"}
    columns = [Column(name, name, kind) for name, kind in kinds.items()]
    first, second = page_table("t", "", frame, columns, now=NOW, empty="").rows
    assert [cell.shown for cell in first] == [
        *("1,234", "12.3%", "12:23 · in 23 min", "2026-02-27 12:00 · 3 d ago", "1 h 2 min"),
        *("yes", "t"),
    ]
    assert [cell.value for cell in first] == [
        *("1234", "0.1234", "2026-03-02T12:23:00+00:00", "2026-02-27T12:00:00+00:00"),
        *("3723.500000", "yes", "t"),
    ]
    assert {cell.shown for cell in second} == {"–"}
    assert {cell.value for cell in second} == {""}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"form": 1' + "0" * 400 + "}"])
def test_a_record_that_no_one_can_read_is_just_replaced(moments, tmp_path, text):
    path = tmp_path / "report.html"
    tag = f'<script type="application/json" id="reach-record">{text}</script>'
    path.write_text(tag, encoding="utf-8")
    assert moments[0].report(path) == path


def test_ids_are_copied_and_told_as_they_are():
    ids = ["–", "naïve\u200did", "a\tb", "<b>", " x "]
    rows = pd.DataFrame({"external_id": [*ids, None]})
    table = page_table("t", "", rows, [Column("external_id", "Id")], now=NOW, empty="")
    assert [row[0].value for row in table.rows] == [*ids, ""]
    assert "\u200d" not in table.rows[1][0].shown


def test_a_page_is_not_overwritten_by_its_own_figures(moments, tmp_path):
    with pytest.raises(ValueError, match=r"end its name in \.html"):
        moments[0].report(tmp_path / "report.json", as_json=True)
    assert os.listdir(tmp_path) == []
