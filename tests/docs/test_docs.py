"""What README and docs promise: code runs, links lead somewhere, nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reach_analytics as reach
from reach_analytics import tables

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "data").glob("*.md")],
    key=lambda page: page.name,
)
RUN = ["README.md", "docs/quickstart.md", "docs/measures.md", "docs/sandbox.md"]
RUN += [
    "docs/store-format.md",
    "docs/engines.md",
    "docs/sql.md",
]  # after quickstart, which makes the store


def test_the_python_in_readme_and_docs_runs(tmp_path, monkeypatch):
    """Every block, in order, in one namespace a page, in one empty directory."""
    monkeypatch.chdir(tmp_path)
    for page in RUN:
        text = (ROOT / page).read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert blocks, page
        namespace: dict[str, object] = {"reach": reach}
        for block in blocks:
            if "api.embedreach.com" not in block:
                exec(compile(block, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    if page.name == "CHANGELOG.md":
        return  # of names that were
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:reach_analytics|tests|docs|notebooks)/[\w/.-]*\.\w+", text):
        assert (ROOT / name).exists(), name


def test_the_readme_is_short_and_names_every_measure():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    for name in reach.measures.__all__:
        assert name == "DependencyGraph" or f"`{name}`" in text, name


def test_the_reference_has_every_public_name():
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs/reference").glob("*.md"))
    names = {f"reach_analytics.{name}" for name in reach.__all__}
    names -= {f"reach_analytics.{module}" for module in ("measures", "plots", "sandbox", "tables")}
    names -= {"reach_analytics.ReachError"}  # in the module of errors
    names |= {f"reach_analytics.measures.{name}" for name in reach.measures.__all__}
    documented = set(re.findall(r":: ([\w.]+)", pages))
    assert names - documented == set()


def test_every_table_says_what_a_row_and_a_column_is():
    for table in (*tables.STORED, *tables.FRAMES, *tables.MEASURES, *tables.OTHERS):
        assert table.row
        assert all(column.doc for column in table.columns), table.name
