"""Pictures to look at: all charts in both looks on one sheet, and those of the README.

``pytest tests/browser/test_pictures.py --screenshots docs/pictures`` makes them anew.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import pytest

import reach_analytics as reach
from reach_analytics.plots import _theme

pytestmark = pytest.mark.browser

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
MOST_BYTES = 200_000
CHARTS = {
    "success": {"by": "schema_name", "freq": "1h"},
    "status": {"freq": "1h"},
    "control_chart": {},
    "change_point": {},
    "durations": {},
    "backlog": {"freq": "10min"},
    "expiring": {},
    "release_rates": {"by": "schema_name"},
    "survival": {"by": "schema_name", "min_clusters": 3},
    "lost": {},
    "bottlenecks": {},
    "choke_points": {},
    "dependency_graph": {"top": 15},
    "schema_graph": {},
    "upload_plan": {},
    "changes": {"since": "3h"},
    "coverage": {},
    "collection_health": {"by": "tenant_name"},
}


@pytest.fixture
def pictures(request):
    where = request.config.getoption("--screenshots")
    if where is None:
        pytest.skip("pictures are made with --screenshots DIR")
    folder = Path(where)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_the_pictures_of_the_readme(page, pictures, tmp_path):
    path = tmp_path / "report.html"
    for moment in ("2026-03-02 12:00", "2026-03-02 13:00", None):
        reach.open_history(SHIPPED, as_of=moment).report(path)
    page.set_viewport_size({"width": 1180, "height": 760})
    page.goto(path.as_uri())
    page.wait_for_selector(".plot .main-svg")
    page.evaluate("document.getElementById('old').textContent = ''")  # the same on any day
    page.wait_for_timeout(500)
    page.screenshot(path=pictures / "report.png")
    graph = page.locator("#chart-dependency-graph")
    graph.scroll_into_view_if_needed()
    page.wait_for_selector("#chart-dependency-graph .main-svg")
    page.wait_for_timeout(800)
    graph.screenshot(path=pictures / "graph.png")
    for name in ("report", "graph"):
        assert (pictures / f"{name}.png").stat().st_size <= MOST_BYTES


def test_a_sheet_of_all_charts(page, pictures, tmp_path):
    """Each chart in a light and in a dark page, as it is drawn in a notebook."""
    width = 480
    from plotly.offline import get_plotlyjs

    history = reach.open_history(SHIPPED)
    parts = []
    for name, options in CHARTS.items():
        figure = getattr(history.plot, name)(**options)
        figure.update_layout(template=_theme.TEMPLATE)
        for ground in ("white", "#111"):
            place = f"{name}-{ground.removeprefix('#')}"
            shape = {"full_html": False, "include_plotlyjs": False, "div_id": place}
            drawn = figure.to_html(**shape, config={"displayModeBar": False})
            parts.append(f'<div style="width:{width}px;background:{ground}">{drawn}</div>')
    sheet = tmp_path / "sheet.html"
    sheet.write_text(
        f"<!doctype html><meta charset=utf-8><title>{escape('Charts')}</title>"
        f"<script>{get_plotlyjs()}</script>"
        f'<body style="margin:0;display:grid;grid-template-columns:repeat(2,{width}px);gap:6px">'
        f"{''.join(parts)}",
        encoding="utf-8",
    )
    page.set_viewport_size({"width": 2 * width + 6, "height": 900})
    page.goto(sheet.as_uri())
    page.wait_for_timeout(2500)
    assert page.locator(".main-svg").count() >= 2 * len(CHARTS)
    assert page.complaints == []
    page.screenshot(path=pictures / f"charts-{width}.jpg", full_page=True, type="jpeg", quality=60)
