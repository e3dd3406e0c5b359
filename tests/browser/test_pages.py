"""The report in a real browser."""

from __future__ import annotations

import pytest

from tests.support.evil import EVIL

pytestmark = pytest.mark.browser


def open_page(page, path):
    page.goto(path.as_uri())
    page.wait_for_selector(".main-svg")
    page.wait_for_timeout(500)


def test_the_report_draws_all_charts_without_errors_or_requests(page, history, tmp_path):
    path = history.report(tmp_path / "report.html")
    open_page(page, path)
    assert page.locator(".plotly-graph-div").count() == 7
    assert page.locator(".plotly-graph-div .main-svg .point, .barlayer path").count() > 30
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


def test_charts_have_a_size_and_nothing_overflows_the_page(page, history, tmp_path):
    open_page(page, history.report(tmp_path / "report.html"))
    for chart in page.locator(".plotly-graph-div").all():
        box = chart.bounding_box()
        assert box["width"] > 600
        assert box["height"] > 200
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for table in page.locator(".scroll").all():
        assert table.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_the_report_fits_a_narrow_screen(page, history, tmp_path):
    page.set_viewport_size({"width": 420, "height": 800})
    open_page(page, history.report(tmp_path / "report.html"))
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_hostile_text_is_shown_as_text_and_never_runs(page, evil, tmp_path):
    path = evil.report(tmp_path / "evil.html")
    open_page(page, path)
    assert page.title().startswith("Reach uploads")
    assert page.complaints == []
    assert page.asked[0] == path.as_uri()
    assert len([url for url in page.asked if not url.startswith(("data:", "blob:"))]) == 1
    assert page.get_by_title(EVIL, exact=True).count() > 0
    for chart in page.locator(".plotly-graph-div").all():
        chart.hover()
    assert page.locator("img").count() == 0
    assert page.title().startswith("Reach uploads")
