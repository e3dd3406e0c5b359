"""The package as a whole: its public names, its imports, its documentation."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reach_analytics as reach

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", reach.__all__)
def test_every_public_name_exists_and_is_documented(name):
    if name == "sandbox":
        pytest.importorskip("starlette")
    value = getattr(reach, name)
    assert value.__doc__
    assert len(value.__doc__) > 20


def test_public_names_are_sorted_and_unknown_ones_raise_attribute_error():
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


def test_every_plot_belongs_to_a_method_of_a_history():
    plots = importlib.import_module("reach_analytics.plots")
    for name in {*plots.__all__} - {"plot_batch"}:  # of the observations of one
        source = vars(getattr(plots, name))
        for measure in (source["measure"], *source["also"].values()):
            assert hasattr(reach.History, measure), name


def test_the_shipped_store_does_not_name_the_machine_it_was_made_on():
    entries = list((ROOT / "data" / "demo").glob("*/_delta_log/*.json"))
    assert len(entries) > 1
    for entry in entries:
        assert "file:/" not in entry.read_text(encoding="utf-8"), entry


def test_no_file_holds_a_path_of_the_machine_it_was_made_on():
    """Outside of tests, which make such paths up."""
    machine = re.compile(
        rb"file:/+[a-z]|/home/[a-z]+/|/Users/[A-Za-z]+/|/root/|/work/|/tmp/(?!out)"
    )
    found = {
        name: match[0]
        for name in tracked()
        if not name.startswith("tests/") and (match := machine.search((ROOT / name).read_bytes()))
    }
    assert not found


def tracked() -> list[str]:
    """The files of the repository; those of the directory where there is none."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    ours = ("reach_analytics", "docs", "notebooks", "data")
    return [
        path.relative_to(ROOT).as_posix()
        for folder in ours
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


def test_every_public_module_says_what_is_public():
    for path in sorted((ROOT / "reach_analytics").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if any(part.startswith("_") for part in parts if part != "__init__"):
            continue
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        if parts[-1] != "__init__" or len(vars(module).get("__all__", ())):
            assert all(hasattr(module, name) for name in module.__all__), module


def test_no_test_module_imports_another():
    foreign = re.compile(
        r"^from tests\.(?!support|coverage\.study|benchmarks)\S+ import", re.MULTILINE
    )
    found = {
        str(path)
        for path in (ROOT / "tests").rglob("*.py")
        if foreign.search(path.read_text(encoding="utf-8"))
    }
    assert not found
