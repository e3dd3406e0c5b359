"""Every chart, drawn in a real browser as in a notebook: nothing lies on anything, or is cut."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import plots, tables
from tests.support.drawn import CLASHES, CUTS
from tests.support.effort import some

pytestmark = pytest.mark.browser

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
NOW = pd.Timestamp("2026-03-02 12:00", tz="UTC")
LONG = "a schema with quite a long name, number"


def with_rows(count: int) -> dict:
    """Charts of so many groups or rows, with long names."""
    names = [f"{LONG} {n}" for n in range(count)]
    batches = tables.BATCHES.conform(
        pd.DataFrame(
            {
                "tenant_id": "t",
                "batch_id": [f"b{n}" for n in range(2 * count)],
                "created_at": [NOW, NOW + pd.Timedelta("3h")] * count,
                "schema_name": names * 2,
                "status": "partial_success",
                "total_records": 12,
                "processed_records": 12,
                "successful_records": 9,
                "failed_records": 3,
                "pending_records": 0,
            }
        )
    )
    keys = {"tenant_id": "t", "schema_definition_id": "s", "schema_name": LONG}
    choke = keys | {"external_id": names, "waits": 1, "direct": 2, "missing_count": 1}
    choke |= {"forced_unlock": 3, "in_cycle": False}
    schemas = {"tenant_id": "t", "schema_name": names, "resources": 7, "keys": 1}
    schemas |= {"missing_schema_name": "contacts"}
    lost = {"tenant_id": "t", "outcome": "failed", "certain": True, "records": 3, "cause": names}
    return {
        "success": reach.plot_success(reach.measures.success(batches, by="schema_name")),
        "over_time": reach.plot_success(
            reach.measures.success(batches, by="schema_name", freq="1h")
        ),
        "status": reach.plot_status(reach.measures.status(batches, freq="1h")),
        "choke_points": reach.plot_choke_points(tables.CHOKE_POINTS.conform(pd.DataFrame(choke))),
        "schema_graph": reach.plot_schema_graph(tables.SCHEMA_GRAPH.conform(pd.DataFrame(schemas))),
        "lost": reach.plot_lost(tables.LOST.conform(pd.DataFrame(lost))),
    }


def of_the_demo() -> dict:
    history = reach.open_history(SHIPPED)
    names = sorted({name.removeprefix("plot_") for name in plots.__all__} - {"batch"})
    figures = {name: getattr(history.plot, name)() for name in names}
    figures["dependency_graph"] = history.plot.dependency_graph(top=15)
    figures["batch"] = history.plot.batch(history.batches()["batch_id"].iloc[0])
    return figures


def draw(page, figures: dict, path: Path, width: int) -> None:
    from plotly.offline import get_plotlyjs

    drawn = [
        f'<div style="width:{width}px">'
        f"{figure.to_html(full_html=False, include_plotlyjs=False, div_id=name)}</div>"
        for name, figure in figures.items()
    ]
    path.write_text(
        f"<!doctype html><meta charset=utf-8><script>{get_plotlyjs()}</script>"
        f"<body style='margin:0'>{''.join(drawn)}",
        encoding="utf-8",
    )
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_timeout(1500)


WORLDS = [
    (world, width)
    for width in (480, 1600, 960)
    for world in ("demo", "60 rows", "1 row", "10 rows")
]


@pytest.mark.parametrize(("world", "width"), some(WORLDS, 2))
def test_nothing_clashes_or_is_cut(page, tmp_path, world, width):
    figures = of_the_demo() if world == "demo" else with_rows(int(world.split()[0]))
    draw(page, figures, tmp_path / "charts.html", width)
    assert page.complaints == []
    for name in figures:
        place = page.locator(f"#{name}")
        assert place.evaluate(CLASHES) == [], name
        assert place.evaluate(CUTS) == [], name


@pytest.mark.usefixtures("browser")  # kaleido draws with the same one
def test_pictures_for_slides_have_the_look_that_is_asked_for(tmp_path):
    pytest.importorskip("kaleido")
    figure = reach.open_history(SHIPPED).plot.lost().update_layout(template="reach_dark")
    figure.write_image(tmp_path / "lost.svg")
    figure.write_image(tmp_path / "lost.png", width=900, scale=2)
    drawn = (tmp_path / "lost.svg").read_text("utf-8")
    assert "361 records were lost" in drawn
    assert "rgb(18, 22, 28)" in drawn, "the paper of the dark look"
    assert (tmp_path / "lost.png").read_bytes().startswith(b"\x89PNG")
