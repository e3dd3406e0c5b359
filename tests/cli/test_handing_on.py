"""The commands that hand on what is known: overview, report, export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import reach_analytics as reach
from reach_analytics.cli._run import app

SHIPPED = str(Path(__file__).parents[2] / "data" / "demo")


def run(*arguments: str, ends: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments, "--store", SHIPPED])
    assert done.exit_code == ends, done.output
    return done.output


def test_an_overview_is_told_as_python_tells_it():
    history = reach.open_history(SHIPPED, as_of="2026-03-02 14:00:01")
    arguments = ("overview", "--as-of", "2026-03-02 14:00:01", "--changes-since", "3h")
    expected = history.overview(since="3h")
    assert run(*arguments) == f"{expected}\n"
    assert json.loads(run(*arguments, "--json")) == json.loads(json.dumps(expected.to_dict()))


def test_an_overview_of_long_ago_says_so():
    assert "ago: what waited or ran then may be over." in " ".join(run("overview").split())


def test_a_report_and_its_figures(tmp_path):
    page = tmp_path / "page.html"
    assert run("report", str(page), "--json", "--changes-since", "3h").split() == [str(page)]
    told = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["since"].startswith("2026-03-02T11:00")
    assert told["severity"] == "critical"


def test_a_report_for_each_tenant_of_a_part(tmp_path):
    arguments = ("report", "--per-tenant", str(tmp_path), "--tenant", "Pine & Co")
    assert run(*arguments).split() == [str(tmp_path / "index.html")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "pine-co.html"]


def test_an_export_for_a_spreadsheet(tmp_path):
    out = tmp_path / "out"
    written = run("export", str(out), "--for", "spreadsheet", "--timezone", "Europe/Berlin")
    assert str(out / "upload_plan.csv") in written.split()
    assert (out / "upload_plan.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert json.loads((out / "manifest.json").read_text("utf-8"))["times"] == "Europe/Berlin"


def test_an_export_in_both_formats(tmp_path):
    out = tmp_path / "out"
    run("export", str(out), "--format", "csv, parquet")
    assert (out / "lost.csv").exists()
    assert (out / "lost.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "ends", "said"),
    [
        (("--for", "printer"), 2, "must be spreadsheet, found printer"),
        (("--format", "xlsx"), 1, "found 'xlsx'"),
        (("--for", "spreadsheet", "--format", "parquet"), 1, "a spreadsheet reads CSV"),
    ],
)
def test_an_export_that_cannot_be_says_why(tmp_path, arguments, ends, said):
    place = ["export", str(tmp_path / "out"), "--store", SHIPPED]
    done = CliRunner().invoke(app, [*place, *arguments])
    assert done.exit_code == ends
    assert said in " ".join(f"{done.output} {done.exception}".split())
    assert not (tmp_path / "out").exists()
