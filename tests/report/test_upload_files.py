"""A plan as files: what is in which, in which order, and what is never half there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.report import upload_files

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
EVIL = "../../<b>\x1b[2J=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def shipped() -> reach.History:
    return reach.open_history(SHIPPED)


def plan(*rows: dict) -> pd.DataFrame:
    own = {"block": 1, "tenant_id": "t", "schema_definition_id": "s", "schema_name": "contacts"}
    own |= {"frees": 1, "running_total": 1, "block_frees": 1, "guarantee": "optimal"}
    every = [own | {"position": n} | row for n, row in enumerate(rows, 1)]
    return tables.UPLOAD_PLAN.conform(pd.DataFrame(every))


def keys(count: int, **row) -> list[dict]:
    return [{"external_id": f"C-{n}"} | row for n in range(count)]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype="str", keep_default_na=False)


def test_the_files_hold_the_whole_plan_in_its_order(shipped, tmp_path):
    whole = shipped.upload_plan(top=None)
    readme, *files = reach.write_upload_files(whole, tmp_path / "todo")
    tables_ = [path for path in files if path.suffix == ".csv"]
    assert [path.name for path in tables_] == sorted(path.name for path in tables_)
    useful = whole[whole["reason"].isna()]
    written = [key for path in tables_ for key in read(path)["external_id"]]
    by_block = useful.groupby(["block", "tenant_id", "schema_definition_id"], sort=False)[
        "external_id"
    ]
    assert written == [key for _, own in by_block for key in own]
    for path in tables_:
        rows = json.loads(path.with_suffix(".json").read_text("utf-8"))
        told = read(path)
        assert [row["external_id"] for row in rows] == told["external_id"].tolist()
        assert [pd.Timestamp(row["needed_by"]) for row in rows] == [
            pd.Timestamp(at) for at in told["needed_by"]
        ]
        assert path.stem in readme.read_text("utf-8")
    assert len(tables_) == useful.groupby(["block", "tenant_id", "schema_definition_id"]).ngroups


def test_delivered_in_order_the_files_free_what_they_say(shipped, tmp_path):
    part = shipped.filter(tenant="Pine & Co")
    whole = part.upload_plan(top=None)
    _, *files = reach.write_upload_files(whole, tmp_path / "todo")
    total = whole.loc[whole["reason"].isna(), "running_total"].iloc[-1]
    delivered = [
        (path.stem.rsplit("-", 1)[1], key)
        for path in files
        if path.suffix == ".csv"
        for key in read(path)["external_id"]
    ]
    assert (part.what_if(delivered)["outcome"] == "released").sum() == total


def test_a_file_has_at_most_a_thousand_rows(tmp_path):
    _, *files = reach.write_upload_files(plan(*keys(2500)), tmp_path / "todo")
    found = [read(path) for path in files if path.suffix == ".csv"]
    assert [len(rows) for rows in found] == [1000, 1000, 500]
    assert pd.concat(found)["external_id"].tolist() == [f"C-{n}" for n in range(2500)]


def test_each_block_tenant_and_schema_has_files_of_its_own(tmp_path):
    rows = [
        {"external_id": "A", "block": 1},
        {"external_id": "B", "block": 1, "schema_definition_id": "l", "schema_name": "locations"},
        {"external_id": "C", "block": 1},
        {"external_id": "D", "block": 2, "tenant_id": "u"},
        {"external_id": "E", "block": 3, "reason": "deadlock", "frees": 0},
    ]
    readme, *files = reach.write_upload_files(plan(*rows), tmp_path / "todo")
    assert {path.name: read(path)["external_id"].tolist() for path in files[::2]} == {
        "001-t-contacts.csv": ["A", "C"],
        "002-t-locations.csv": ["B"],
        "003-u-contacts.csv": ["D"],
    }
    assert "In no file, since it waits on a deadlock: E." in readme.read_text("utf-8")


def test_rows_of_one_s_own_are_written_whole_and_in_the_order_of_the_plan(tmp_path):
    mine = pd.DataFrame(
        {
            "id": [7, 5, 5, 1],
            "email": ["=1+1", "b@x", "c@x", "d@x"],
            "at": pd.to_datetime(["2026-01-01"] * 4, utc=True),
        }
    )
    ordered = plan({"external_id": "5"}, {"external_id": "7"}, {"external_id": "9"})
    readme, table, told = reach.write_upload_files(ordered, tmp_path / "todo", source=mine, on="id")
    assert read(table)[["id", "email"]].values.tolist() == [
        ["5", "b@x"],
        ["5", "c@x"],
        ["7", "=1+1"],
    ]
    rows = json.loads(told.read_text("utf-8"))
    assert [row["email"] for row in rows] == ["b@x", "c@x", "=1+1"]
    assert rows[0]["at"] == "2026-01-01T00:00:00.000000Z"
    assert "Not in your own rows, so in no file: 9." in readme.read_text("utf-8")
    assert mine["id"].tolist() == [7, 5, 5, 1]


def test_more_than_a_thousand_own_rows_of_one_file_s_keys_are_split(tmp_path):
    mine = pd.DataFrame({"external_id": ["C-0"] * 1500 + ["C-1"]})
    _, *files = reach.write_upload_files(plan(*keys(2)), tmp_path / "todo", source=mine)
    assert [len(read(path)) for path in files if path.suffix == ".csv"] == [1000, 501]


def test_an_earlier_plan_is_replaced_and_anything_else_is_left_alone(tmp_path):
    folder = tmp_path / "todo"
    reach.write_upload_files(plan(*keys(2500)), folder)
    files = reach.write_upload_files(plan(*keys(1)), folder)
    assert {*folder.iterdir()} == {*files}
    (folder / "mine.csv").write_text("keep")
    with pytest.raises(ValueError, match=r"holds 'mine\.csv'"):
        reach.write_upload_files(plan(*keys(2)), folder)
    assert len(read(files[1])) == 1
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'README\.txt'"):
        reach.write_upload_files(plan(*keys(2)), other)
    assert {path.name for path in tmp_path.iterdir()} == {"todo", "other"}


def test_a_failure_half_way_leaves_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "todo"
    files = reach.write_upload_files(plan(*keys(1)), folder)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(upload_files, "_json", full)
    with pytest.raises(OSError, match="no space left"):
        reach.write_upload_files(plan(*keys(2500)), folder)
    assert {*folder.iterdir()} == {*files}
    assert [path.name for path in tmp_path.iterdir()] == ["todo"]


def test_names_from_outside_stay_in_their_directory_and_on_their_line(tmp_path):
    rows = {"external_id": EVIL, "tenant_id": EVIL, "schema_name": EVIL}
    readme, table, _ = reach.write_upload_files(plan(rows), tmp_path / "todo")
    assert table.name == "001-b-2j-cmd-c-calc-a0-b-2j-cmd-c-calc-a0.csv"
    assert read(table)["external_id"].tolist() == [EVIL]  # it has to be uploaded as it is
    assert "\x1b" not in readme.read_text("utf-8")
    _, table, _ = reach.write_upload_files(
        plan({"external_id": "A", "tenant_id": "日本", "schema_name": None}), tmp_path / "more"
    )
    assert table.name == "001-tenant-schema.csv"


def test_arguments_that_do_not_fit_say_what_would(shipped, tmp_path):
    whole = shipped.upload_plan()
    out = tmp_path / "todo"
    with pytest.raises(ValueError, match="the plan has no tenant 'Pine'; there are: '"):
        reach.write_upload_files(whole, out, tenant="Pine")
    mine = pd.DataFrame({"external_id": ["A"]})
    with pytest.raises(ValueError, match="the plan has 3 tenants: say tenant="):
        reach.write_upload_files(whole, out, source=mine)
    with pytest.raises(ValueError, match="2 schemas: say schema="):
        reach.write_upload_files(whole, out, source=mine, tenant="Pine & Co")
    with pytest.raises(ValueError, match="source has no column 'id'"):
        reach.write_upload_files(whole, out, source=mine, on="id")
    with pytest.raises(ValueError, match=r"whole numbers; found 1\.5"):
        reach.write_upload_files(plan(*keys(1)), out, source=pd.DataFrame({"external_id": [1.5]}))
    with pytest.raises(FrameError, match=r"history\.upload_plan"):
        reach.write_upload_files(mine, out)
    assert not out.exists()


def test_nothing_to_upload_is_said(tmp_path):
    [readme] = reach.write_upload_files(tables.UPLOAD_PLAN.empty(), tmp_path / "todo")
    assert "There is nothing to upload." in readme.read_text("utf-8")


def test_the_command_line_writes_the_files(tmp_path):
    out = tmp_path / "todo"
    asked = ["plan", "--store", str(SHIPPED), "--tenant", "Pine & Co", "--top", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "reach_analytics.cli", *asked, "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("README.txt")
    assert len(list(out.glob("*.csv"))) == 3
