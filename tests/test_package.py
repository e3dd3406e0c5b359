"""The package as a whole: its public names, its imports, its documentation."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reach_analytics as reach
from reach_analytics import columns

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", reach.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(reach, name)
    assert value.__doc__
    assert len(value.__doc__) > 20


def test_public_names_are_listed_sorted_and_unknown_ones_are_an_attribute_error():
    assert reach.__all__ == sorted(reach.__all__)
    assert set(reach.__all__) <= set(dir(reach))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        reach.nothing  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, reach_analytics, reach_analytics.cli.commands;"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'pandas', 'pyarrow', 'plotly', 'ibis', 'duckdb', 'deltalake', 'scipy', 'requests'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", reach.measures.__all__)
def test_every_measure_has_a_documented_example(name):
    doc = getattr(reach.measures, name).__doc__
    if name != "DependencyGraph":
        for section in ("Parameters", "Returns", "Raises", "Examples"):
            assert f"{section}\n    ---" in doc, section


def test_every_plot_belongs_to_a_measure():
    plots = importlib.import_module("reach_analytics.plots").__all__
    drawn = {name.removeprefix("plot_") for name in plots} - {"expiry"}
    assert drawn | {"expiring"} <= set(reach.measures.__all__)


def test_the_readme_names_every_column_of_the_four_frames():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for table in columns.FRAMES:
        for column in table.names:
            assert f"`{column}`" in text, f"{table.name}.{column}"


def test_the_readme_s_python_runs(tmp_path, monkeypatch):
    """Every Python block, in order, in one namespace, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 2
    namespace: dict[str, object] = {}
    for block in blocks:
        if "api.embedreach.com" not in block and "REACH_" not in block:
            exec(compile(block, "README.md", "exec"), namespace)


def test_the_store_that_ships_does_not_say_on_which_machine_it_was_made():
    entries = list((ROOT / "data" / "demo").glob("*/_delta_log/*.json"))
    assert len(entries) > 1
    for entry in entries:
        assert "file:/" not in entry.read_text(encoding="utf-8"), entry
