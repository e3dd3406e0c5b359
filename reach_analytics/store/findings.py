"""What is damaged in a store: its logs, their entries, its files, and rows that are there twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from reach_analytics.columns import OBSERVATIONS, SNAPSHOTS, Table
from reach_analytics.errors import DamagedStoreError, StoreNotFoundError, StoreVersionError
from reach_analytics.store.damage import Damage, find_damage, problem_of
from reach_analytics.store.delta import require_ours, unfinished
from reach_analytics.store.explaining import cause
from reach_analytics.store.place import LOG, Place

TABLES = (SNAPSHOTS, OBSERVATIONS)


@dataclass(frozen=True)
class Repair:
    """What is damaged in a store, and what was done about it.

    Attributes
    ----------
    applied : bool
        Whether it was done, or only looked at.
    interrupted : bool
        Whether a repair before this one was interrupted: it is begun again.
    lost_logs : tuple of str
        Tables whose log is gone or cannot be read: it is made anew from the files.
    bad_entries : tuple of str
        Log entries that cannot be read: they are set aside.
    damaged : tuple of Damage
        Files that cannot be read: they are set aside and taken out of the log.
    doubled : dict
        By table, rows that are there twice, as when a file was restored after collecting had gone
        on without it: the log is made anew, with each row once.
    unnamed_files : int
        Files that no version of the log needs now, to be read for rows that are missing.
    rows_back : dict
        By table, rows that were found in them; None if it was not done.
    looks_without_state : int, optional
        Looks whose state is gone; they count as failed looks. None if it was not done.
    set_aside : str, optional
        Where what was taken out lies.
    """

    applied: bool
    interrupted: bool = False
    lost_logs: tuple[str, ...] = ()
    bad_entries: tuple[str, ...] = ()
    damaged: tuple[Damage, ...] = ()
    doubled: dict[str, int] = field(default_factory=dict)
    unnamed_files: int = 0
    rows_back: dict[str, int] | None = None
    looks_without_state: int | None = None
    set_aside: str | None = None

    @property
    def is_needed(self) -> bool:
        """Whether anything is damaged."""
        return bool(self.interrupted or self.doubled or self.concerns)

    @property
    def concerns(self) -> set[str]:
        """The tables that something is wrong with."""
        named = (one.partition("/")[0] for one in (*self.lost_logs, *self.bad_entries))
        return {*named, *self.doubled, *(one.table for one in self.damaged)}

    def __str__(self) -> str:
        lines = ["a repair was interrupted; it is begun again"] if self.interrupted else []
        lines += [f"{name}: the log is lost; it is made anew" for name in self.lost_logs]
        lines += [f"{name} cannot be read; it is set aside" for name in self.bad_entries]
        lines += [
            f"{name}: {count:,} rows are there twice; each is kept once"
            for name, count in self.doubled.items()
        ]
        lines += [f"{one}; it is taken out of the log" for one in self.damaged]
        if not lines:
            return "nothing is damaged"
        if not self.applied:
            lines.append(
                f"{self.unnamed_files:,} files that the log does not name are read, and what is "
                "missing is brought back from them"
            )
            lines.append("nothing has been changed yet")
            return "\n".join(lines)
        back = self.rows_back or {}
        looks, states = back.get(OBSERVATIONS.name, 0), back.get(SNAPSHOTS.name, 0)
        lines.append(f"brought back {looks:,} looks and {states:,} states from other files")
        if self.looks_without_state:
            lines.append(
                f"{self.looks_without_state:,} looks have lost what they saw: failed looks now"
            )
        lines.append(f"set aside in {self.set_aside}; nothing was deleted")
        return "\n".join(lines)


def examine(place: Place) -> Repair:
    """What a repair would find, and do."""
    before = unfinished(place)
    doubled: dict[str, int] = {}
    entries, damaged, unnamed, there = [], [], 0, 0
    lost = list(before or ())
    for table in TABLES:
        files = place.data_files(table)
        bad = _bad_entries(place, table)
        entries += bad
        opened = None if bad else opened_anyhow(place, table)
        there += bool(files) or opened is not None or bool(bad)
        if opened is not None:
            damaged += find_damage(place, {table: opened})
            if not damaged and (count := _doubled(opened, table)):
                doubled[table.name] = count
        elif bad:  # the log does not tell which of the files count
            damaged += _unreadable(place, table)
        is_lost = opened is None and files and (not bad or _uncovered(place, table, bad))
        if is_lost and table.name not in lost:
            lost.append(table.name)
        live = live_files(opened) if opened is not None else set()
        unnamed += sum(file.path.lstrip("/") not in live for file in files)
    if not there:
        raise StoreNotFoundError(f"no store at {place.location}, and nothing that is left of one")
    _require_both(place, lost)
    return Repair(
        applied=False,
        interrupted=before is not None,
        lost_logs=tuple(lost),
        bad_entries=tuple(entries),
        damaged=tuple(damaged),
        doubled=doubled,
        unnamed_files=unnamed,
    )


def _unreadable(place: Place, table: Table) -> list[Damage]:
    """The data files that cannot be read, of a table whose log cannot be either."""
    files = place.files(table)
    found = {
        file.path.lstrip("/"): problem_of(files, file.path) for file in place.data_files(table)
    }
    return [
        Damage(table.name, f"{table.name}/{path}", None, None, problem)
        for path, problem in found.items()
        if problem is not None
    ]


def _require_both(place: Place, lost: list[str]) -> None:
    """A table of which nothing is left cannot be made anew."""
    for table, other in (TABLES, TABLES[::-1]):
        is_there = table.name in lost or _has_log(place, table)
        if not is_there and not place.data_files(table) and place.data_files(other):
            raise DamagedStoreError(
                f"of the table {table.name} nothing is left at {place.location}, so there is "
                "nothing to repair it from: restore it from a backup, or move the store "
                "elsewhere and begin anew",
                damages=(f"{table.name} is gone",),
            )


def _has_log(place: Place, table: Table) -> bool:
    return bool(DeltaTable.is_deltatable(place.uri(table), place.storage_options))


def opened_anyhow(place: Place, table: Table) -> DeltaTable | None:
    """The table, or None if its log is gone or cannot be read; a foreign one raises."""
    if not _has_log(place, table):
        return None
    try:
        opened = DeltaTable(place.uri(table), storage_options=place.storage_options)
    except DeltaError as error:
        if "nsupported" in str(error):  # a sound log, of a newer delta-rs or another tool
            raise StoreVersionError(
                f"the log of {place.uri(table)} cannot be read by this delta-rs: {cause(error)}; "
                "upgrade it (pip install -U deltalake)"
            ) from error
        return None
    require_ours(opened, place, table)
    return opened


def _bad_entries(place: Place, table: Table) -> list[str]:
    """The entries of a local log that cannot be read, relative to the store."""
    log = place.log(table)
    if not place.is_local or not log.is_dir():
        return []
    return [
        f"{table.name}/{LOG}/{entry.name}"
        for entry in sorted(log.iterdir())
        if not _can_be_read(entry)
    ]


def _can_be_read(entry: Path) -> bool:
    if entry.name.endswith(".checkpoint.parquet"):
        try:
            pq.read_table(entry)
        except (pa.ArrowException, OSError):
            return False
        return True
    if entry.name == "_last_checkpoint":
        return _names_a_checkpoint(entry)
    if entry.suffix != ".json" or not entry.stem.isdigit():
        return True
    try:
        lines = [line for line in entry.read_bytes().split(b"\n") if line.strip()]
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
    except ValueError:
        return False


def _names_a_checkpoint(hint: Path) -> bool:
    try:
        version = int(json.loads(hint.read_bytes())["version"])
    except (ValueError, KeyError, TypeError):
        return True  # delta-rs passes over it
    return (hint.parent / f"{version:020}.checkpoint.parquet").exists()


def _uncovered(place: Place, table: Table, bad: list[str]) -> bool:
    """Whether a commit that cannot be read is in no checkpoint: what it replaced is not known."""
    names = {Path(name).name for name in bad}
    checkpoints = [
        int(entry.name.partition(".")[0])
        for entry in place.log(table).glob("*.checkpoint.parquet")
        if entry.name not in names
    ]
    commits = [int(name.partition(".")[0]) for name in names if name.endswith(".json")]
    return any(commit > max(checkpoints, default=-1) for commit in commits)


def _doubled(opened: DeltaTable, table: Table) -> int:
    """How many rows are there a second time, as when a file is restored after others went on."""
    plain = pa.schema([table.schema.field(name).with_nullable(True) for name in table.key])
    key = pa.table(opened.scan(list(table.key))).cast(plain)  # delta-rs gives views of texts
    return int(key.num_rows - key.group_by(list(table.key)).aggregate([]).num_rows)


def live_files(opened: DeltaTable) -> set[str]:
    """The live files, relative to the table."""
    return {unquote(path) for path in pa.table(opened.get_add_actions())["path"].to_pylist()}
