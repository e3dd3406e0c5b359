"""The command line, as a separate process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import requests
from typer.testing import CliRunner

import reach_analytics as reach
from reach_analytics.cli import _run
from reach_analytics.cli._output import cell, print_plan, printable
from reach_analytics.cli._run import app
from reach_analytics.cli.commands.answers import _new_directory
from tests.support.effort import THOROUGH
from tests.support.waits import at

SHIPPED = Path(__file__).parents[2] / "data" / "demo"


def run(*arguments: str, cwd=None, env=None, stdin: str | None = None):
    return subprocess.run(
        [sys.executable, "-m", "reach_analytics.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("demo")
    return place, run("demo", cwd=place)


def test_demo_summarises_the_scenario_and_says_where_everything_is(demo_run):
    place, done = demo_run
    assert done.returncode == 0, done.stderr
    for shown in (
        "Harbour Books",
        "Pine & Co",
        "Bottlenecks",
        "itself, waiting",
        "deadlock",
        "LOC-LOOP",
    ):
        assert shown in done.stdout
    out = place / "reach-demo"
    assert (out / "report.html").stat().st_size < 8_000_000
    assert len(list((out / "export").glob("*.csv"))) == 20
    assert len(list((out / "export").glob("*.parquet"))) == 20
    assert "reach.open_history('reach-demo/store')" in done.stdout
    assert done.stderr == ""


def test_demo_runs_the_promised_scenario(demo_run):
    place, _ = demo_run
    batches = pd.read_parquet(place / "reach-demo/export/batches.parquet")
    assert batches["tenant_id"].nunique() == 3
    assert set(batches["schema_name"]) == {"contacts", "locations", "transactions"}
    assert (batches["status"] == "failure").sum() == 1
    assert batches["error_summary"].str.contains("DEPENDENCY_WAIT_EXPIRED").sum() > 5
    observations = pd.read_parquet(place / "reach-demo/export/observations.parquet")
    assert observations["run_id"].nunique() == 24


def test_a_second_demo_takes_a_new_directory(tmp_path):
    made = [_new_directory(tmp_path / "deep" / "reach-demo").name for _ in range(3)]
    assert made == ["reach-demo", "reach-demo-2", "reach-demo-3"]


@pytest.mark.skipif(not THOROUGH, reason="a whole demo; with THOROUGH=1")
def test_a_second_demo_leaves_the_first_alone(demo_run):
    place, _ = demo_run
    first = (place / "reach-demo/report.html").read_bytes()
    again = run("demo", "--seed", "1", cwd=place)
    assert "reach-demo-2/report.html" in again.stdout
    assert (place / "reach-demo/report.html").read_bytes() == first


def test_engine_and_memory_are_checked(demo_run):
    place, _ = demo_run
    for options, told in {
        ("--engine", "oracle"): "is not one of 'duckdb'",
        ("--memory-limit", "much"): "memory_limit must be a size as",
        ("--memory-limit", "500MB"): "",
    }.items():
        done = run("health", "--store", "reach-demo/store", *options, cwd=place)
        assert (done.returncode == 0) == (told == ""), done.stderr
        assert told in " ".join(done.stderr.split()).replace("│ ", "")


def test_demo_into_a_directory_in_use_is_refused(tmp_path):
    (tmp_path / "mine").write_text("")
    done = run("demo", "--out", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not an empty directory" in done.stderr


def test_reading_commands_work_on_the_demo_s_store(demo_run, monkeypatch):
    place, _ = demo_run
    monkeypatch.chdir(place)
    store = ("--store", "reach-demo/store")

    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, *store])
        assert done.exit_code == 0, done.output
        return done.stdout

    health = run("health", *store, cwd=place).stdout
    assert "overdue" in health
    top = told("bottlenecks", "--top", "3")
    plan = told("plan", "--top", "5", "--per-hour", "60", "--csv", "p/next.csv")
    assert "Upload plan (heuristic): the first" in plan
    assert "what other plans could reach at this pace is unknown" in plan
    assert "5 uploads free" in told("plan", "--top", "5")
    listed = pd.read_csv(place / "p/next.csv")
    assert listed["running_total"].is_monotonic_increasing
    assert listed["deliver_at"].notna().all()
    rows = top.partition("In a deadlock")[0]
    assert rows.count("CON-") + rows.count("LOC-") == 3
    assert told("health", "--as-of", "2026-03-01") == "No batch had been seen by then.\n"
    assert told("health", "--as-of", "2026-03-02 07:00") != told("health")
    mine = told("plan", "--top", "5", "--tenant", "pine & co", "--since", "5h")
    assert mine.count("Pine & Co") == 5
    assert "Harbour" not in told("health", "--tenant", "Pine & Co", "--tenant", "northside")
    assert told("report", "page.html") == "page.html\n"
    written = told("export", "files", "--format", "csv").split()
    assert "files/bottlenecks.csv" in written


def test_compact_reports_what_it_did_and_keeps_the_answers(demo_run, monkeypatch):
    place, _ = demo_run
    monkeypatch.chdir(place)
    store = ("--store", "reach-demo/store")
    health = CliRunner().invoke(app, ["health", *store]).stdout
    said = run("compact", *store, cwd=place).stdout
    assert "observations folded, 0 old files deleted" in said
    again = ["compact", *store, "--json", "--retention", "12h"]
    again = json.loads(CliRunner().invoke(app, again).stdout)
    assert again["observations_folded"] == 0
    assert again["files_before"] == again["files_after"] == 2
    assert CliRunner().invoke(app, ["health", *store]).stdout == health
    wrong = run("compact", *store, "--retention", "soon", cwd=place)
    assert (wrong.returncode, "retention must be a length of time" in wrong.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("health", "--store", "nowhere"), "no store at nowhere"),
        (("health", "--store", str(SHIPPED), "--tenant", "Pines"), "'Pines'; did you mean 'PINE'"),
        (("plan", "--store", str(SHIPPED), "--since", "2"), "a number needs a unit"),
        (("collect",), "REACH_TOKEN"),
        (("sandbox", "--scenario", "unheard"), "no scenario 'unheard'"),
        (("sandbox", "--scenario", "unheard.toml"), "cannot be read"),
        (("sandbox", "--host", "0.0.0.0"), "loopback only"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_1(arguments, said, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_collect_uses_the_api_of_the_environment(sandbox, tmp_path):
    first = run("collect", "--store", "s", cwd=tmp_path, env=sandbox.environment)
    assert first.returncode == 0, first.stderr
    told = {tuple(line.split("│")[1:3]) for line in first.stdout.splitlines() if "│" in line}
    told = {name.strip(): value.strip() for name, value in told}
    assert (told["batches"], told["tenants"]) == (f"{len(sandbox.world.batches)}", "3")
    batch = next(iter(sandbox.world.batches.values()))
    one = run(
        *("collect", "-", "--store", "s", "--tenant", batch.tenant_id, "--json"),
        cwd=tmp_path,
        env=sandbox.environment,
        stdin=f"{batch.id}\nnot-there\n",
    )
    summary = json.loads(one.stdout)
    assert (one.returncode, summary["observations"], summary["failed_observations"]) == (1, 2, 1)
    assert summary["ok"] is False
    token = sandbox.environment["REACH_TOKEN"]
    assert token not in first.stdout + first.stderr + one.stdout + one.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_sandbox_runs_until_it_is_stopped(tmp_path, stop):
    process = subprocess.Popen(
        [sys.executable, "-m", "reach_analytics.cli", "sandbox", "--speed", "3600"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    exports = {}
    for line in process.stdout:
        if line.strip().startswith("export "):
            name, _, value = line.strip().removeprefix("export ").partition("=")
            exports[name] = value
        if "Ctrl-C" in line:
            break
    clock = requests.get(exports["REACH_CLOCK_URL"], timeout=5).json()["data"]
    assert (clock["scenario"], clock["speed"]) == ("demo", 3600)
    if stop == signal.SIGINT:
        done = run("collect", "--store", "s", cwd=tmp_path, env=exports)
        assert done.returncode == 0
    process.send_signal(stop)
    assert "stopped" in process.communicate(timeout=20)[0]
    assert process.returncode == 0


def test_observations_of_a_sandbox_in_another_process_have_its_clocks_times(sandbox, tmp_path):
    """Its deadlines are in its own time; by the system's clock all of them would be overdue."""
    run("collect", "--store", "s", cwd=tmp_path, env=sandbox.environment)
    history = reach.open_history(tmp_path / "s")
    assert abs((history.moment - sandbox.world.time).total_seconds()) < 60
    assert history.health()["expiring_soon"].sum() > 0
    assert history.health()["overdue"].sum() == 0


def test_the_version_is_printed_and_the_package_runs_as_a_module():
    assert run("--version").stdout.strip() == reach.__version__
    done = subprocess.run(
        [sys.executable, "-m", "reach_analytics", "--version"], capture_output=True, text=True
    )
    assert done.stdout.strip() == reach.__version__


def test_help_names_every_command():
    shown = CliRunner().invoke(app, ["--help"]).output
    for command in (
        "demo",
        "sandbox",
        "collect",
        "watch",
        "health",
        "bottlenecks",
        "plan",
        "report",
        "export",
        "compact",
    ):
        assert command in shown


def test_terminals_are_safe_from_foreign_text():
    assert printable("a\x1b]0;evil\x07b\nc") == "a\ufffd]0;evil\ufffdb\nc"
    assert cell("[red]x[/red]").plain == "[red]x[/red]"
    assert cell(float("nan")).plain == cell(at(0)).plain == "–"


@pytest.mark.parametrize(
    "command",
    [
        ["watch", "--until", "30"],
        ["watch", "--every", "5"],
        ["compact", "--retention", "7"],
    ],
)
def test_a_bare_number_as_a_duration_is_refused(command, tmp_path):
    """As nanoseconds, a watch until 30 would end at once with exit code 0."""
    done = run(*command, "--store", str(tmp_path / "s"), env={"REACH_TOKEN": "x.y.z"})
    assert done.returncode == 1
    assert "needs a unit" in done.stderr
    assert "Traceback" not in done.stderr


class Panic(BaseException):
    """As delta-rs raises if Rust code panics."""


@pytest.mark.parametrize("error", [Panic("it gave up\nat x.rs"), KeyError("x"), RuntimeError("y")])
def test_no_exception_of_a_library_reaches_the_terminal_as_a_traceback(error, monkeypatch, capsys):
    def fails() -> None:
        raise error

    monkeypatch.setattr(_run, "app", fails)
    with pytest.raises(SystemExit) as ended:
        _run.run()
    assert ended.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"reach-analytics: an unexpected {type(error).__name__}")
    assert "x.rs" not in line
    monkeypatch.setenv("REACH_TRACEBACK", "1")
    with pytest.raises(type(error)):
        _run.run()


def test_a_query_that_a_signal_ended_is_an_interrupt(monkeypatch):
    def fails() -> None:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(_run, "app", fails)
    with pytest.raises(KeyboardInterrupt):
        _run.run()


@pytest.mark.parametrize(
    ("totals", "said"),
    [
        ((5, 5), "One upload frees 5: no plan of as many frees more."),
        ((93, 100), "One upload frees 93, at least 93 % of the best possible."),
        ((999, 1000), "One upload frees 999, at least 99 % of the best possible."),
        ((5, None), "One upload frees 5; what other plans could reach at this pace is unknown."),
    ],
)
def test_a_plan_says_how_near_to_the_best_it_is(totals, said, capsys):
    like = reach.tables.UPLOAD_PLAN
    row = {"position": 1, "block": 1, "tenant_id": "t", "frees": totals[0], "block_frees": 1}
    row |= {"running_total": totals[0], "max_running_total": totals[1], "guarantee": "heuristic"}
    print_plan(like.conform(pd.DataFrame([row])).assign(tenant_name="Pine"))
    assert said in capsys.readouterr().out


READING = ["health", "success", "expiring", "lost", "changes", "bottlenecks", "plan"]


@pytest.mark.parametrize("command", READING)
def test_what_is_printed_is_to_be_had_as_json_and_csv(command, tmp_path):
    asked = [command, "--store", str(SHIPPED), "--tenant", "Pine & Co"]
    done = CliRunner().invoke(app, [*asked, "--json", "--csv", str(tmp_path / "told.csv")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    history = reach.open_history(SHIPPED).filter(tenant="Pine & Co")
    name, options = {"plan": ("upload_plan", {"top": 20})}.get(command, (command, {}))
    expected = getattr(history, name)(**options)
    assert [list(row) for row in found] == [list(expected.columns)] * len(expected)
    written = pd.read_csv(tmp_path / "told.csv")
    assert written.columns.tolist() == expected.columns.tolist()
    for column in expected.select_dtypes("number", exclude="timedelta").columns:
        values = [None if pd.isna(one) else one for one in expected[column]]
        assert [row[column] for row in found] == pytest.approx(values), column
    for column in expected.select_dtypes("datetimetz").columns:
        told = pd.to_datetime(pd.Series([row[column] for row in found]), utc=True)
        assert told.dt.as_unit("us").tolist() == expected[column].tolist(), column
    for column in expected.select_dtypes("timedelta").columns:
        told = [row[column] for row in found]
        assert told == pytest.approx(expected[column].dt.total_seconds().tolist()), column


def test_a_csv_file_has_the_name_that_was_given(tmp_path):
    path = tmp_path / "new" / "told.txt"
    done = CliRunner().invoke(app, ["health", "--store", str(SHIPPED), "--csv", str(path)])
    assert done.exit_code == 0, done.output
    assert [one.name for one in path.parent.iterdir()] == ["told.txt"]
    assert len(pd.read_csv(path)) == 3


def test_changes_and_losses_are_told_in_words():
    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--store", str(SHIPPED)])
        assert done.exit_code == 0, done.output
        return done.stdout

    said = told("changes", "--since", "2h", "--tenant", "Pine & Co")
    assert said.startswith("Batches: 9 new and 9 settled.\n")
    assert "1 deadlock new: with contacts CON-LOOP of Pine & Co." in said
    assert "Lost: 151 records" in told("lost", "--tenant", "Harbour Books")
    assert told("lost", "--until", "2026-03-02 06:01") == "Nothing is known to be lost.\n"


def test_explain_tells_a_story_in_words_and_as_json():
    def told(*arguments: str):
        return CliRunner().invoke(app, ["explain", *arguments, "--store", str(SHIPPED)])

    assert "contacts CON-LOOP and locations LOC-LOOP wait for each other" in told("CON-LOOP").stdout
    [story] = json.loads(told("CON-LOOP", "--json").stdout)["stories"]
    assert story["tenant_name"] == "Pine & Co"
    assert told("CON-LOOP", "--tenant", "Harbour Books").exit_code == 1
    assert "nothing that was observed is called 'nope'" in str(told("nope").exception)


def test_success_and_expiring_have_tables_of_their_own():
    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--store", str(SHIPPED)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert told("success", "--by", "tenant_name, schema_name").count("Pine & Co") == 3
    assert "2026-03-02 08:00" in told("success", "--freq", "2h")
    by_id = told("success", "--by", "schema_definition_id,batch_type")
    assert "│ all " not in by_id
    assert by_id.count("PARTNER") == 3
    assert told("expiring", "--within", "1h", "--top", "3").count("TX-") == 3
    assert told("expiring", "--within", "1s") == "Nothing waits that expires by then.\n"
    assert told("success", "--as-of", "2026-03-01") == "No batch had been seen by then.\n"
    failed = CliRunner().invoke(app, ["success", "--by", "tenant", "--store", str(SHIPPED)])
    assert failed.exit_code == 1
