"""The chart of what changed: what it draws, and of how many."""

from __future__ import annotations

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.plots import _theme

EVIL = "<img src=x onerror=alert(1)>"


def changes(*rows: dict) -> pd.DataFrame:
    return tables.CHANGES.conform(pd.DataFrame(rows))


def success(tenant: str | None, before: float, after: float, sure: bool | None) -> dict:
    ends = {"before_low": before - 0.1, "before_high": before + 0.1, "after_low": after - 0.1}
    ends |= {"after_high": after + 0.1, "p_value": 0.2, "beyond_chance": sure}
    own = {"about": "success", "change": "fell", "tenant_id": tenant, "size": after - before}
    return own | {"before": before, "after": after} | ends


def moved(key: str, before: float, after: float) -> dict:
    change = "grew" if after > before else "shrank"
    own = {"about": "bottleneck", "change": change, "tenant_id": "t", "external_id": key}
    return own | {"size": after - before, "before": before, "after": after}


def test_counts_are_added_up_over_tenants():
    rows = [
        {"about": "records", "change": "landed", "tenant_id": tenant, "size": size}
        for tenant, size in (("t", 1000), ("u", 500))
    ]
    [bars] = reach.plot_changes(changes(*rows)).data
    assert list(bars.x) == [1500]
    assert list(bars.y) == ["records landed"]
    assert list(bars.text) == ["1,500"]


def test_success_that_moved_beyond_chance_has_its_colour():
    rows = [
        success(None, 0.9, 0.5, True),
        success("a", 0.9, 0.8, None),
        success("b", 0.9, 0.4, True),
    ]
    before, after = reach.plot_changes(changes(*rows)).data
    assert list(before.x) == [0.9, 0.9, 0.9]
    assert list(after.x) == [0.5, 0.4, 0.8]
    assert list(after.marker.color) == [_theme.VERMILION, _theme.VERMILION, _theme.GREY]
    assert list(after.error_x.array) == pytest.approx([0.1] * 3)
    assert "too few batches to tell" in after.hovertext[2]
    assert "more than chance (p = 0.2)" in after.hovertext[0]


def test_half_of_the_bottlenecks_are_those_that_grew():
    grown = [moved(f"g{n}", 0, 10 - n) for n in range(6)]
    fallen = [moved(f"s{n}", 20 - n, 0) for n in range(6)]
    [bars] = reach.plot_changes(changes(*grown, *fallen), top=4).data
    assert list(bars.y) == ["g0", "g1", "s1", "s0"]
    assert list(bars.x) == [10, 9, -19, -20]


def test_labels_that_are_alike_stay_apart_and_markup_is_text():
    rows = [moved("same", 0, 3), moved("same", 0, 2) | {"tenant_id": "u"}, moved(EVIL, 0, 1)]
    [bars] = reach.plot_changes(changes(*rows)).data
    assert list(bars.y[:2]) == ["same", "same (2)"]
    assert "<img" not in f"{bars.y} {bars.hovertext}"


def test_nothing_changed_is_said():
    figure = reach.plot_changes(tables.CHANGES.empty())
    assert figure.layout.title.text == "Nothing changed"


def test_wrong_arguments_say_so():
    with pytest.raises(FrameError, match=r"history\.changes"):
        reach.plot_changes(pd.DataFrame())
    with pytest.raises(ValueError, match="top must be at least 1"):
        reach.plot_changes(tables.CHANGES.empty(), top=0)
