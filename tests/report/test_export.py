"""Exports: whole or not at all, equal in every reader, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.report import _csv, _files
from reach_analytics.report.export import Rows, export

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
FILES = [
    *("batches", "observations", "pending", "dependencies", "wait_outcomes", "key_figures"),
    *("actions", "health", "success", "errors", "changes", "reconciliation", "lost"),
    *("release_rates", "expiring", "bottlenecks", "choke_points", "deadlocks", "upload_plan"),
    "coverage",
]
ABOUT = ["columns.json", "columns.md", "manifest.json"]


def test_an_export_holds_every_frame_in_both_formats(history, tmp_path):
    paths = history.export(tmp_path / "out", format=("parquet", "csv"))
    names = [f"{name}.{end}" for end in ("parquet", "csv") for name in FILES]
    assert [path.name for path in paths] == [*names, *ABOUT]
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*names, *ABOUT])


@pytest.mark.parametrize("name", ["batches", "pending", "dependencies", "bottlenecks", "lost"])
def test_parquet_reads_back_as_the_frame(history, tmp_path, name):
    history.export(tmp_path / "out")
    back = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
    pd.testing.assert_frame_equal(back, getattr(history, name)(), check_dtype=True)


def cells(frame: pd.DataFrame) -> list[list[str]]:
    """What each cell says, whoever read it: numbers as numbers, times as times."""

    def told(value) -> str:
        if value is None or value is pd.NaT or value is pd.NA or value != value:
            return ""
        if isinstance(value, bool | np.bool_):
            return str(bool(value))
        if isinstance(value, int | float | np.number):
            return f"{float(value):.9g}"
        if isinstance(value, pd.Timedelta):
            return f"{value.total_seconds():.6f}"
        if hasattr(value, "isoformat"):
            return pd.Timestamp(value).tz_convert("UTC").isoformat()
        return str(value)

    return [[told(value) for value in row] for row in frame.astype(object).itertuples(index=False)]


@pytest.mark.parametrize("reader", ["pandas", "duckdb", "polars"])
def test_other_tools_read_the_same_cells(history, tmp_path, reader):
    history.export(tmp_path / "out", format=("csv", "parquet"))
    for name in ("health", "upload_plan", "bottlenecks", "expiring", "changes"):
        expected = pd.read_parquet(tmp_path / "out" / f"{name}.parquet")
        path = tmp_path / "out" / f"{name}.csv"
        if reader == "pandas":
            back = pd.read_csv(path)
        elif reader == "duckdb":
            back = duckdb.sql(f"FROM read_csv('{path}', header=true)").df()
        else:
            polars = pytest.importorskip("polars")
            read = polars.read_csv(path, infer_schema_length=None).to_dict()
            back = pd.DataFrame({one: values.to_list() for one, values in read.items()})
        times = expected.select_dtypes("datetimetz").columns
        spans = expected.select_dtypes("timedelta").columns
        back = back.assign(
            **{one: pd.to_datetime(back[one], utc=True, format="ISO8601") for one in times},
            **{one: pd.to_timedelta(back[one].astype("str")) for one in spans},
        )
        assert cells(back) == cells(expected), name


def test_lengths_of_time_and_lists_are_told_as_a_person_expects(tmp_path):
    spans = ["46min 11.430294s", "30h", "-5s", None, "0s"]
    frame = pd.DataFrame(
        {"span": pd.to_timedelta(spans), "names": [["a", "ü"], [], None, ["b"], ["c"]]}
    )
    export({"spans": frame}, tmp_path / "out", "csv")
    lines = (tmp_path / "out" / "spans.csv").read_text("utf-8").splitlines()
    assert lines[1:] == [
        '"0:46:11.430294","[""a"", ""ü""]"',
        '"30:00:00","[]"',
        '"-0:00:05",',
        ',"[""b""]"',
        '"0:00:00","[""c""]"',
    ]


def test_awkward_text_survives_csv(tmp_path):
    ids = ['a"b', "a,b", "a\nb", "a\rb", "=1+1", "ü", " x ", "00123"]
    path, *_ = export({"ids": pd.DataFrame({"id": ids})}, tmp_path / "out", "csv")
    assert pd.read_csv(path, dtype=str, keep_default_na=False)["id"].tolist() == ids


RUNS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]


def test_for_a_spreadsheet_nothing_runs_and_times_are_local(tmp_path):
    frame = pd.DataFrame(
        {"id": [*RUNS, "fine"], "number": -5, "at": pd.Timestamp("2026-07-01 12:00", tz="UTC")}
    )
    path, *_ = export({"ids": frame}, tmp_path / "out", "csv", spreadsheet_timezone="Europe/Berlin")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    back = pd.read_csv(path, keep_default_na=False)
    assert back["id"].tolist() == [*(f"'{one}" for one in RUNS), "fine"]
    assert set(back["number"]) == {-5}, "a number stays one"
    assert set(back["at"]) == {"2026-07-01 14:00:00"}
    assert "apostrophe" in (tmp_path / "out" / "manifest.json").read_text("utf-8")


def test_plain_csv_is_byte_true(tmp_path):
    path, *_ = export({"ids": pd.DataFrame({"id": RUNS})}, tmp_path / "out", "csv")
    assert pd.read_csv(path, keep_default_na=False)["id"].tolist() == RUNS


def office() -> str:
    found = shutil.which("soffice") or shutil.which("libreoffice")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have LibreOffice: apt-get install libreoffice-calc")
        pytest.skip("no LibreOffice on this machine (apt-get install libreoffice-calc)")
    return found


@pytest.mark.timeout(180)
def test_libreoffice_shows_the_same_cells_and_runs_nothing(history, tmp_path):
    """Opened, recalculated and saved as text again by the spreadsheet itself."""
    plan = history.upload_plan(top=None)
    hostile = pd.DataFrame({"id": RUNS[:4] + RUNS[-1:], "count": range(5)})
    export(
        {"upload_plan": plan, "hostile": hostile},
        tmp_path / "out",
        "csv",
        spreadsheet_timezone="Europe/Berlin",
    )
    subprocess.run(
        [
            office(),
            "--headless",
            f"-env:UserInstallation=file://{tmp_path}/profile",
            *("--convert-to", "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true"),
            *("--infilter=CSV:44,34,76,1", "--outdir", str(tmp_path / "back")),
            *(str(tmp_path / "out" / f"{name}.csv") for name in ("upload_plan", "hostile")),
        ],
        check=True,
        timeout=150,
        capture_output=True,
    )
    back = pd.read_csv(tmp_path / "back" / "upload_plan.csv")
    assert back["external_id"].tolist() == plan["external_id"].tolist()
    assert back["running_total"].tolist() == plan["running_total"].tolist()
    local = plan["needed_by"].dt.tz_convert("Europe/Berlin").dt.tz_localize(None).dt.floor("s")
    assert pd.to_datetime(back["needed_by"]).tolist() == local.tolist()
    shown = pd.read_csv(tmp_path / "back" / "hostile.csv", keep_default_na=False)["id"]
    assert [one.lstrip("'") for one in shown] == hostile["id"].tolist()


def test_what_columns_mean_stands_beside_them(history, tmp_path):
    history.export(tmp_path / "out")
    told = json.loads((tmp_path / "out" / "columns.json").read_text("utf-8"))
    assert list(told) == FILES
    for name in FILES:
        file = pq.read_schema(tmp_path / "out" / f"{name}.parquet").names
        assert [row["column"] for row in told[name]] == file
        assert all(row["meaning"] for row in told[name]), name
    [unlock] = [row for row in told["bottlenecks"] if row["column"] == "unlock"]
    assert unlock["unit"] == "count"
    page = (tmp_path / "out" / "columns.md").read_text("utf-8")
    assert "## upload_plan" in page
    assert f"| `unlock` | count | {unlock['meaning']} |" in page


def test_the_manifest_lists_every_file_with_its_rows_and_digest(history, tmp_path):
    history.filter(tenant="Pine & Co").export(tmp_path / "out", format=("csv", "parquet"))
    told = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert told["moment"] == history.moment.isoformat()
    assert told["part"] == "tenant Pine & Co"
    assert told["version"] == reach.__version__
    assert set(told["store_versions"]) == {"snapshots", "observations"}
    assert {file["name"] for file in told["files"]} == {*os.listdir(tmp_path / "out")} - {*ABOUT}
    for file in told["files"]:
        path = tmp_path / "out" / file["name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
        assert path.stat().st_size == file["bytes"]
        read = pd.read_parquet if path.suffix == ".parquet" else pd.read_csv
        assert len(read(path)) == file["rows"]


def test_an_earlier_export_is_replaced_and_nothing_of_it_stays(history, tmp_path):
    history.export(tmp_path / "out", format="csv")
    history.export(tmp_path / "out", format="parquet")
    assert not [*(tmp_path / "out").glob("*.csv")]
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["notes.txt", "mine.csv", "data"])
def test_what_no_export_wrote_is_left_alone(tmp_path, name):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).mkdir() if name == "data" else (folder / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds '{name}', which no export wrote"):
        export({"ids": pd.DataFrame({"id": ["a"]})}, folder)
    assert os.listdir(folder) == [name]


def test_where_directories_cannot_be_exchanged_they_are_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "_exchange", lambda *_: False)
    for key in ("a", "b"):
        export({"ids": pd.DataFrame({"id": [key]})}, tmp_path / "out", "csv")
    assert (tmp_path / "out" / "ids.csv").read_text() == '"id"\n"b"\n'
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("after", [0.2, 0.6, 1.2])
def test_an_export_that_is_killed_leaves_the_old_one(tmp_path, after):
    folder = tmp_path / "out"
    export({"ids": pd.DataFrame({"id": ["before"]})}, folder, "csv")
    code = (
        "import pandas as pd, sys\n"
        "from reach_analytics.report.export import export\n"
        "print('begun', flush=True)\n"
        "frame = pd.DataFrame({'id': ['x' * 50] * 400_000})\n"
        "while True:\n"
        f"    export({{'more': frame, 'ids': frame.head(1)}}, {str(folder)!r}, 'csv')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"begun\n"
        time.sleep(after)
        running.send_signal(signal.SIGKILL)
        running.wait()
    found = json.loads((folder / "manifest.json").read_text("utf-8"))
    for file in found["files"]:
        digest = hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest()
        assert digest == file["sha256"], "one export or the other, never a part"


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_rows_are_exported_a_part_at_a_time(tmp_path, format):
    """No part is held while the next one is made; without rows there is a header."""
    table = tables.PENDING
    frame = table.conform(
        pd.DataFrame({"tenant_id": "t", "batch_id": list("abc"), "missing_count": 0})
    )
    seen: list[weakref.ref] = []

    def parts(count):
        for number in range(count):
            part = table.to_arrow(frame.assign(missing_count=number))
            seen.append(weakref.ref(part))
            yield part
            del part
            assert sum(one() is not None for one in seen) <= 1

    contents = {
        "three": lambda: Rows(table, parts(3)),
        "none": lambda: Rows(table, [table.schema.empty_table()]),
    }
    three, none, *_ = export(contents, tmp_path / "out", format)
    read = pd.read_parquet if format == "parquet" else pd.read_csv
    assert read(three)["missing_count"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert read(none).columns.tolist() == table.names
    if format == "parquet":
        pd.testing.assert_frame_equal(read(none), table.empty())


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_rows_that_end_in_an_error_leave_the_export_as_it_was(tmp_path, format):
    def parts():
        yield tables.PENDING.to_arrow(tables.PENDING.empty())
        raise OSError("the rest is lost")

    folder = tmp_path / "out"
    export({"pending": pd.DataFrame({"id": ["before"]})}, folder, format)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OSError, match="the rest is lost"):
        export({"pending": lambda: Rows(tables.PENDING, parts())}, folder, format)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_a_history_answers_on_after_an_export_that_failed(tmp_path, monkeypatch, format):
    history = reach.open_history(SHIPPED)

    def is_full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", is_full)
    monkeypatch.setattr(_csv, "_cells", is_full)
    with pytest.raises(OSError, match="no space left") as failure:
        history.export(tmp_path / "out", format=format)
    answered = threading.Thread(target=history.pending, daemon=True)
    answered.start()
    answered.join(60)
    assert not answered.is_alive(), f"still waits for the export that ended in {failure.value}"


@pytest.mark.parametrize(
    ("formats", "zone", "message"),
    [
        ("xlsx", None, "'parquet' or 'csv', or both, found 'xlsx'"),
        ((), None, "found none"),
        (("csv", "parquet"), "UTC", "a spreadsheet reads CSV"),
    ],
)
def test_unknown_formats_are_refused(tmp_path, formats, zone, message):
    with pytest.raises(ValueError, match=message):
        export({}, tmp_path / "out", formats, spreadsheet_timezone=zone)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["my_notes.csv", "results.parquet", "folder.csv"])
def test_files_beside_an_earlier_export_are_left_alone(tmp_path, name):
    folder, frame = tmp_path / "out", pd.DataFrame({"id": ["a"]})
    export({"ids": frame}, folder, "csv")
    (folder / name).mkdir() if name == "folder.csv" else (folder / name).write_text("mine")
    with pytest.raises(ValueError, match=f"holds '{name}', which no export wrote"):
        export({"ids": frame}, folder, "csv")
    assert (folder / name).exists()


def test_where_a_link_leads_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    for key in ("a", "b"):
        path, *_ = export({"ids": pd.DataFrame({"id": [key]})}, tmp_path / "link", "csv")
    assert path.read_text() == '"id"\n"b"\n'
    assert (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "there"]


def test_the_current_directory_keeps_being_it(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for key, format in (("a", ("csv", "parquet")), ("b", "csv")):
        path, *_ = export({"ids": pd.DataFrame({"id": [key]})}, ".", format)
    assert Path(path).read_text() == '"id"\n"b"\n'
    assert sorted(os.listdir()) == ["columns.json", "columns.md", "ids.csv", "manifest.json"]


def test_the_rights_of_what_is_replaced_are_kept(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir(mode=0o700)
    export({"ids": pd.DataFrame({"id": ["a"]})}, folder, "csv")
    assert folder.stat().st_mode & 0o777 == 0o700
    path = tmp_path / "page"
    path.write_text("old")
    path.chmod(0o600)
    _files.write_whole(path, lambda draft: draft.write_text("new"))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["\n=1", " =1+1", "\uff1d1", "\u202e=1", "\ufeff+1", "\x00=1"])
def test_disguised_formulas_are_made_harmless_too(tmp_path, text):
    frame = pd.DataFrame({text: [text, "fine"], "several": [["a"], text]})
    export({"ids": frame}, tmp_path / "out", "csv", spreadsheet_timezone="UTC")
    with (tmp_path / "out" / "ids.csv").open(encoding="utf-8-sig", newline="") as file:
        back = [*csv.reader(file)]
    harmless = f"'{text}"
    assert back == [[harmless, "several"], [harmless, '["a"]'], ["fine", harmless]]
