"""A small part of each study of docs/coverage.md; ``python -m tests.coverage`` runs the whole."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.coverage.study import STUDIES
from tests.support.effort import some

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
TRIED = some(list(STUDIES), 2)


def small(name: str) -> pd.DataFrame:
    if name not in TRIED:
        pytest.skip("some of the studies are tried; all with THOROUGH=1")
    study, _, rounds = STUDIES[name]
    return study(rounds)


def numbers(table: pd.DataFrame, *columns: str) -> pd.Series:
    """All figures of these columns, except descriptive ones."""
    cells = table[list(columns)].stack().astype(str)
    return cells[~cells.isin(["descriptive", "–"])].astype(float)


def test_the_success_interval_has_its_nominal_coverage():
    found = numbers(small("success"), "rho 0", "rho 0.05", "rho 0.1")
    assert len(found) > 20
    assert found.between(88, 100).all()
    assert 93 <= found.mean() <= 97.5


def test_the_release_interval_covers_even_if_many_ends_are_unknown():
    table = small("release_rates")
    found = numbers(table, *table.columns[2:])
    assert found.min() >= 85
    assert found.mean() >= 93


def test_the_survival_band_covers_at_every_age():
    table = small("survival")
    found = numbers(table, *table.columns[2:])
    assert found.mean() >= 85


def test_the_rate_interval_covers_or_is_called_descriptive():
    table = small("rates")
    assert numbers(table, "covers").mean() >= 80
    assert table["called"].tolist()[1:3] == ["descriptive"] * 2
    assert table["called"].tolist()[-1] == "adjusted"


def test_few_batches_in_control_signal():
    table = small("control")
    assert numbers(table, "limits beta-binomial").max() <= 2.5
    assert numbers(table, "limits beta-binomial").mean() <= 0.8


def test_false_alarms_of_change_are_few_or_marked():
    table = small("change").set_index(["batches", "autocorrelation"])
    assert float(table.loc[(60, 0.6), "alarms not marked"]) <= float(table.loc[(60, 0.6), "alarms"])
    assert float(table.loc[(60, 0.0), "alarms"]) <= 40


def test_every_dead_batch_is_found():
    table = small("stuck")
    assert numbers(table, "found").eq(100).all()
    assert numbers(table, "false alarms").mean() <= 3


def test_no_verdict_is_wrong():
    assert small("verdicts")["wrong"].sum() == 0


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_holds_the_table_of_each_study(name):
    text = PAGE.read_text(encoding="utf-8")
    [table] = re.findall(f"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    assert table.count("\n") >= 3
