"""The report in a real browser."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from tests.support.drawn import CLASHES, CUTS
from tests.support.effort import some
from tests.support.evil import EVIL
from tests.support.observations import batch, minute, observation

pytestmark = pytest.mark.browser

CHARTS = ["status", "success", "changes", "expiry", "backlog", "release-rates", "lost", "plan"]
CHARTS += ["bottlenecks", "dependency-graph"]

# Elements that reach beyond the window and are not within something that scrolls.
SPILLS = """() => [...document.body.querySelectorAll("*")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width && box.height && box.right > innerWidth + 1 && box.left < innerWidth &&
    !one.closest(".scroll, .wide, .dt-layout-table, .skip");
}).map((one) => one.outerHTML.slice(0, 120))"""


def open_page(page, path):
    """Open the page and scroll through it, so that all of it is drawn."""
    page.goto(path.as_uri())
    for place in page.locator(".plot, table.data").all():
        place.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => document.querySelectorAll('.plot').length ==="
        " document.querySelectorAll('.plot .main-svg:first-child').length"
    )
    page.wait_for_timeout(300)


def requests(page):
    return [url for url in page.asked if not url.startswith(("data:", "blob:"))]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of the demo, with the figures of two reports before it."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    for moment in ("2026-03-02 12:00", "2026-03-02 13:00", None):
        reach.open_history("data/demo", as_of=moment).report(path)
    return path


def test_the_report_draws_all_charts_without_errors_or_requests(page, report):
    open_page(page, report)
    drawn = [place.get_attribute("data-figure") for place in page.locator(".plot").all()]
    assert sorted(drawn) == sorted(f"figure-{name}" for name in CHARTS)
    assert page.locator(".plot .main-svg .point, .barlayer path").count() > 30
    assert page.complaints == []
    assert requests(page) == [report.as_uri()]


def test_nothing_is_drawn_before_it_comes_near(page, report):
    page.goto(report.as_uri())
    page.wait_for_selector(".plot .main-svg")
    page.wait_for_timeout(500)
    assert 0 < page.locator(".plot:has(.main-svg)").count() < len(CHARTS) / 2


SCREENS = [(width, scheme) for scheme in ("light", "dark") for width in (390, 1280, 768, 1920)]


def assert_nothing_spills_clashes_or_is_cut(page, width):
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(SPILLS) == []
    for place in page.locator(".plot").all():
        assert place.bounding_box()["height"] > 100
        assert place.evaluate(CLASHES) == [], place.get_attribute("data-figure")
        assert place.evaluate(CUTS) == [], place.get_attribute("data-figure")


@pytest.mark.parametrize(("width", "scheme"), some(SCREENS, 2))
def test_nothing_spills_over_clashes_or_is_cut(page, report, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, report)
    assert_nothing_spills_clashes_or_is_cut(page, width)


@pytest.mark.parametrize("width", some([390, 1280], 1))
def test_no_font_but_dejavu_is_needed(plain_page, report, width):
    plain_page.set_viewport_size({"width": width, "height": 900})
    open_page(plain_page, report)
    assert_nothing_spills_clashes_or_is_cut(plain_page, width)


@pytest.mark.parametrize("width", some([390, 1280], 1))
def test_the_page_can_be_read_from_right_to_left(page, report, width):
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, report)
    page.evaluate("document.documentElement.dir = 'rtl'")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    beyond = page.evaluate(
        SPILLS.replace(
            "box.right > innerWidth + 1 && box.left < innerWidth", "box.left < -1 && box.right > 0"
        )
    )
    assert beyond == []


def test_figures_follow_the_readers_setting_while_the_page_is_open(page, report):
    page.emulate_media(color_scheme="light")
    open_page(page, report)
    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ink), page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(500)
    dark = page.evaluate(ink), page.evaluate(ground)
    assert light == ("rgb(86, 96, 109)", "rgb(255, 255, 255)")
    assert dark == ("rgb(170, 178, 189)", "rgb(18, 22, 28)")


def test_a_table_sorts_by_value_and_not_by_text(page, report):
    open_page(page, report)
    table = page.locator("#bottlenecks-table table")
    head = table.locator("th", has_text="Holds up")
    head.click()  # numbers sort by the largest first
    assert head.get_attribute("aria-sort") == "descending"
    column = head.evaluate("head => head.cellIndex")
    shown = [
        int(cell.inner_text()) for cell in table.locator(f"tr td:nth-child({column + 1})").all()
    ]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] >= 10, "of all rows, not of those on the first page"


def test_a_table_can_be_searched_by_the_id_that_it_does_not_show(page, report, history):
    tenant = history.tenants().set_index("tenant_name").loc["Pine & Co", "tenant_id"]
    open_page(page, report)
    block = page.locator("#lost-records")
    block.locator("input").fill(tenant)
    rows = block.locator("tbody tr").all()
    assert rows
    assert all("Pine & Co" in row.inner_text() for row in rows)


def test_a_table_is_downloaded_with_ids_and_exact_values(page, report, history):
    open_page(page, report)
    block = page.locator("#upload-plan")
    with page.expect_download() as waiting:
        block.get_by_role("button", name="CSV").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert waiting.value.suggested_filename == "upload-plan.csv"
    found = [*csv.DictReader(io.StringIO(text))]
    plan = history.upload_plan()
    assert [row["Upload"] for row in found] == plan["external_id"].tolist()
    assert [row["tenant_id"] for row in found] == plan["tenant_id"].tolist()
    assert [int(row["Frees"]) for row in found] == plan["frees"].tolist()
    assert found[0]["Needed by"] == plan["needed_by"][0].isoformat()


def test_a_table_is_copied_whole(page, report, history):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(page, report)
    page.locator("#bottlenecks-table").get_by_role("button", name="Copy").click()
    page.wait_for_selector(".dt-button-info")
    copied = page.evaluate("navigator.clipboard.readText()").rstrip().splitlines()
    roots = history.bottlenecks().query("is_root")
    assert copied[0].startswith("Missing\tSchema\tTenant")
    assert [line.split("\t")[0] for line in copied[1:]] == roots["external_id"].tolist()


def test_neither_copy_nor_download_holds_a_formula(page, tmp_path):
    waits = {"=1+1": ["@SUM(1)"], "+1": ["-2+3+cmd|y"], "fine": ["\u202e=1"]}
    seen = observation(batch("b", waits, created=0, expires=90), tenant_id="=t")
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([seen], minute(1)))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(page, reach.open_history(store).report(tmp_path / "report.html"))
    block = page.locator("#bottlenecks-table")
    with page.expect_download() as waiting:
        block.get_by_role("button", name="CSV").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    block.get_by_role("button", name="Copy").click()
    page.wait_for_selector(".dt-button-info")
    copied = page.evaluate("navigator.clipboard.readText()")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    cells += [cell for line in copied.splitlines() for cell in line.split("\t")]
    assert {"'@SUM(1)", "'-2+3+cmd|y", "'\u202e=1", "'=t"} <= {*cells}
    assert not [cell for cell in cells if cell.lstrip("\u202e").startswith(("=", "+", "-", "@"))]


def test_contents_follow_the_scroll(page, report):
    open_page(page, report)
    page.locator("#upload h2").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('upload').scrollIntoView({behavior: 'instant'})")
    page.wait_for_function(
        "() => document.querySelector('nav a[aria-current]')?.hash === '#upload'"
    )


def test_on_paper_all_charts_are_drawn_in_light_and_fit(page, report):
    page.emulate_media(color_scheme="dark")
    page.goto(report.as_uri())
    page.wait_for_selector(".plot .main-svg")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 within margins
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(500)
    assert page.locator(".plot:has(.main-svg)").count() == len(CHARTS)
    for place in page.locator(".plot").all():
        assert place.evaluate("one => one.querySelector('.main-svg').clientWidth") <= 718
    ink = page.evaluate("getComputedStyle(document.querySelector('.plot .xtick text')).fill")
    assert ink == "rgb(86, 96, 109)"
    assert page.evaluate(SPILLS) == []
    lost = page.locator("#lost-records")
    assert lost.locator("tbody tr").count() == 50, "and the page says of how many"
    assert "1–50 of" in lost.inner_text()


def test_without_javascript_the_words_and_tables_are_there(browser, report, history):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert "139 records wait, 73 of them die within the hour" in page.inner_text(".verdict")
    assert page.locator("#upload-plan tbody tr").count() == len(history.upload_plan())
    assert page.locator("td.id").first.is_hidden()
    context.close()


def test_a_screen_reader_finds_nothing_serious(page, report):
    axe = os.environ.get("AXE")
    if not axe:
        if os.environ.get("CI"):
            pytest.fail("CI must have axe-core: its axe.min.js as AXE")
        pytest.skip("no axe-core (npm install axe-core, AXE=…/axe.min.js)")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        open_page(page, report)
        page.evaluate(Path(axe).read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [
            (one["id"], [node["html"][:160] for node in one["nodes"]][:3])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert grave == []


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_text_is_shown_as_text_breaks_nothing_and_never_runs(page, evil, tmp_path, width):
    path = evil.report(tmp_path / "evil.html")
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, path)
    assert page.complaints == []
    assert requests(page) == [path.as_uri()]
    assert page.get_by_title(EVIL, exact=True).count() > 0
    for chart in page.locator(".plot").all():
        chart.hover()
    assert page.locator("img").count() == 0
    assert page.title().startswith("Reach uploads")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_index_leads_to_the_page_of_each_tenant(page, tmp_path, history):
    index, *_ = history.tenant_reports(tmp_path)
    page.goto(index.as_uri())
    names = [link.inner_text() for link in page.locator("h2 a").all()]
    assert sorted(names) == sorted(history.tenants()["tenant_name"])
    page.get_by_role("link", name="Pine & Co").click()
    page.wait_for_selector(".plot .main-svg")
    assert "Pine & Co" in page.inner_text("h1")
    assert "Harbour" not in page.inner_text("main")
    assert page.complaints == []
