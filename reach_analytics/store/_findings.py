"""What is damaged in a store: logs, log entries, files, and duplicate rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from reach_analytics.errors import DamagedStoreError, StoreNotFoundError, StoreVersionError
from reach_analytics.store._delta import require_ours, unfinished
from reach_analytics.store._explain import cause
from reach_analytics.store._location import LOG, Location
from reach_analytics.store.damage import Damage, find_damage, problem_of
from reach_analytics.tables import STORED_OBSERVATIONS, STORED_SNAPSHOTS, Table

TABLES = (STORED_SNAPSHOTS, STORED_OBSERVATIONS)


@dataclass(frozen=True)
class Repair:
    """What is damaged in a store, and what was done about it.

    Attributes
    ----------
    applied : bool
        Whether the repair was done, or only planned.
    interrupted : bool
        Whether an earlier repair was interrupted: it is started again.
    lost_logs : tuple of str
        Tables whose log is gone or unreadable: it is rebuilt from the files.
    bad_entries : tuple of str
        Log entries that cannot be read: they are set aside.
    damaged : tuple of Damage
        Files that cannot be read: they are set aside and removed from the log.
    doubled : dict
        By table, the number of duplicate rows, as when a file was restored after collecting had
        continued without it: the log is rebuilt, with each row once.
    unnamed_files : int
        Files that the log does not name, which are read for missing rows.
    rows_back : dict
        By table, the number of rows recovered from them; None if not applied.
    observations_without_state : int, optional
        Observations whose state is gone; they become failed ones. None if not applied.
    set_aside : str, optional
        Where the removed files are.
    """

    applied: bool
    interrupted: bool = False
    lost_logs: tuple[str, ...] = ()
    bad_entries: tuple[str, ...] = ()
    damaged: tuple[Damage, ...] = ()
    doubled: dict[str, int] = field(default_factory=dict)
    unnamed_files: int = 0
    rows_back: dict[str, int] | None = None
    observations_without_state: int | None = None
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
        lines = ["a repair was interrupted; it is started again"] if self.interrupted else []
        lines += [f"{name}: the log is lost; it is rebuilt" for name in self.lost_logs]
        lines += [f"{name} cannot be read; it is set aside" for name in self.bad_entries]
        lines += [
            f"{name}: {count:,} duplicate rows; each row is kept once"
            for name, count in self.doubled.items()
        ]
        lines += [f"{one}; it is removed from the log" for one in self.damaged]
        if not lines:
            return "nothing is damaged"
        if not self.applied:
            lines.append(
                f"{self.unnamed_files:,} files that the log does not name are read, and missing "
                "rows are recovered from them"
            )
            lines.append("nothing has been changed yet")
            return "\n".join(lines)
        recovered = self.rows_back or {}
        observations = recovered.get(STORED_OBSERVATIONS.name, 0)
        states = recovered.get(STORED_SNAPSHOTS.name, 0)
        lines.append(
            f"recovered {observations:,} observations and {states:,} states from other files"
        )
        if self.observations_without_state:
            lines.append(
                f"{self.observations_without_state:,} observations have lost their state and now "
                "count as failed"
            )
        lines.append(f"set aside in {self.set_aside}; nothing was deleted")
        return "\n".join(lines)


def examine(location: Location) -> Repair:
    """What a repair would find and do."""
    before = unfinished(location)
    doubled: dict[str, int] = {}
    entries, damaged, unnamed, parts = [], [], 0, 0
    lost = list(before or ())
    for table in TABLES:
        files = location.data_files(table)
        bad = _bad_entries(location, table)
        entries += bad
        opened = None if bad else opened_anyhow(location, table)
        parts += bool(files) or opened is not None or bool(bad)
        if opened is not None:
            damaged += find_damage(location, {table: opened})
            if not damaged and (count := _doubled(opened, table)):
                doubled[table.name] = count
        elif bad:  # which files are live is unknown
            damaged += _unreadable(location, table)
        is_lost = opened is None and files and (not bad or _uncovered(location, table, bad))
        if is_lost and table.name not in lost:
            lost.append(table.name)
        live = live_files(opened) if opened is not None else set()
        unnamed += sum(file.path.lstrip("/") not in live for file in files)
    if not parts:
        raise StoreNotFoundError(f"no store at {location.root}, and nothing that is left of one")
    _require_both(location, lost)
    return Repair(
        applied=False,
        interrupted=before is not None,
        lost_logs=tuple(lost),
        bad_entries=tuple(entries),
        damaged=tuple(damaged),
        doubled=doubled,
        unnamed_files=unnamed,
    )


def _unreadable(location: Location, table: Table) -> list[Damage]:
    """The data files that cannot be read, of a table whose log cannot be either."""
    files = location.files(table)
    found = {
        file.path.lstrip("/"): problem_of(files, file.path) for file in location.data_files(table)
    }
    return [
        Damage(table.name, f"{table.name}/{path}", None, None, problem)
        for path, problem in found.items()
        if problem is not None
    ]


def _require_both(location: Location, lost: list[str]) -> None:
    """A table of which nothing is left cannot be rebuilt."""
    for table, other in (TABLES, TABLES[::-1]):
        is_there = table.name in lost or _has_log(location, table)
        if not is_there and not location.data_files(table) and location.data_files(other):
            raise DamagedStoreError(
                f"of the table {table.name} nothing is left at {location.root}, so there is "
                "nothing to repair it from: restore it from a backup, or move the store "
                "elsewhere and start a new one",
                damages=(f"{table.name} is gone",),
            )


def _has_log(location: Location, table: Table) -> bool:
    return bool(DeltaTable.is_deltatable(location.uri(table), location.storage_options))


def opened_anyhow(location: Location, table: Table) -> DeltaTable | None:
    """The table, or None if its log is gone or cannot be read; a foreign one raises."""
    if not _has_log(location, table):
        return None
    try:
        opened = DeltaTable(location.uri(table), storage_options=location.storage_options)
    except DeltaError as error:
        if "nsupported" in str(error):  # an intact log, of a newer delta-rs or another tool
            raise StoreVersionError(
                f"the log of {location.uri(table)} cannot be read by this delta-rs: "
                f"{cause(error)}; upgrade it (pip install -U deltalake)"
            ) from error
        return None
    require_ours(opened, location, table)
    return opened


def _bad_entries(location: Location, table: Table) -> list[str]:
    """The entries of a local log that cannot be read, relative to the store."""
    log = location.log(table)
    if not location.is_local or not log.is_dir():
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
        return True  # delta-rs ignores it
    return (hint.parent / f"{version:020}.checkpoint.parquet").exists()


def _uncovered(location: Location, table: Table, bad: list[str]) -> bool:
    """Whether an unreadable commit is in no checkpoint, so that what it replaced is unknown."""
    names = {Path(name).name for name in bad}
    checkpoints = [
        int(entry.name.partition(".")[0])
        for entry in location.log(table).glob("*.checkpoint.parquet")
        if entry.name not in names
    ]
    commits = [int(name.partition(".")[0]) for name in names if name.endswith(".json")]
    return any(commit > max(checkpoints, default=-1) for commit in commits)


def _doubled(opened: DeltaTable, table: Table) -> int:
    """How many rows are duplicates, as when a file is restored after collecting continued."""
    plain = pa.schema([table.schema.field(name).with_nullable(True) for name in table.key])
    key = pa.table(opened.scan(list(table.key))).cast(plain)  # delta-rs returns string views
    return int(key.num_rows - key.group_by(list(table.key)).aggregate([]).num_rows)


def live_files(opened: DeltaTable) -> set[str]:
    """The live files, relative to the table."""
    return {unquote(path) for path in pa.table(opened.get_add_actions())["path"].to_pylist()}
