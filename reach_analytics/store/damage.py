"""Which files of a store cannot be read, and what they held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow.fs import FileType

from reach_analytics.errors import DamagedStoreError
from reach_analytics.store._checksums import differs
from reach_analytics.store._explain import cause
from reach_analytics.store._location import Location
from reach_analytics.tables import Table

__all__ = ["Damage", "damaged", "find_damage", "problem_of", "summary"]

_PIECE = 2**20
_MAX_NAMED = 3  # damages that a message spells out


@dataclass(frozen=True)
class Damage:
    """A file of a stored table that cannot be read.

    Attributes
    ----------
    table : str
        The stored table.
    path : str
        The file, relative to the store.
    day : datetime.date or None
        The day of its rows.
    rows : int or None
        How many rows it held, by the log.
    problem : str
        What is wrong with it.
    """

    table: str
    path: str
    day: date | None
    rows: int | None
    problem: str

    def __str__(self) -> str:
        held = "" if self.rows is None else f"{self.rows:,} rows"
        held += "" if self.day is None else f" of {self.day}"
        return f"{self.path} {self.problem} (it held {held.strip() or 'an unknown number of rows'})"


def find_damage(location: Location, tables: Mapping[Table, DeltaTable]) -> list[Damage]:
    """Every live file that cannot be read from its first byte to its last.

    Raises
    ------
    PermissionError
        If a file may not be read, which says nothing about it.
    """
    found = []
    for table, opened in tables.items():
        files = location.files(table)
        partition = f"partition.{table.partition}"
        for action in pa.table(opened.get_add_actions(flatten=True)).to_pylist():
            path = unquote(action["path"])
            problem = problem_of(files, path, action["size_bytes"])
            if problem is not None:
                full = f"{table.name}/{path}"
                day, rows = action.get(partition), action.get("num_records")
                found.append(Damage(table.name, full, day, rows, problem))
    return sorted(found, key=lambda one: one.path)


def problem_of(files: Any, path: str, size: int | None = None) -> str | None:
    """What is wrong with a Parquet file; None if it can be read."""
    info = files.get_file_info(path)
    if info.type != FileType.File:
        return "is missing"
    if info.size == 0:
        return "is empty"
    if size is not None and info.size != size:
        return f"has {info.size:,} bytes instead of {size:,}"
    try:
        with files.open_input_file(path) as opened:
            if differs(path, iter(lambda: opened.read(_PIECE), b"")):
                return "was changed: its checksum differs"
            opened.seek(0)
            for _ in pq.ParquetFile(opened).iter_batches(batch_size=100_000):
                pass
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read: {cause(error)}"
    return None


def damaged(location: Location, damages: Sequence[Damage]) -> DamagedStoreError:
    """The error for a store with damaged files: which, what they held, and what to do."""
    named = "; ".join(str(one) for one in damages[:_MAX_NAMED])
    more = f"; and {len(damages) - _MAX_NAMED:,} more" if len(damages) > _MAX_NAMED else ""
    files = "a damaged file" if len(damages) == 1 else f"{len(damages):,} damaged files"
    return DamagedStoreError(
        f"the store at {location.root} has {files}: {named}{more}. Restore it and repair, or read "
        'the rest with open_history(..., damaged="skip") or --skip-damaged, or see what '
        f"`reach-analytics repair --store {location.root}` can do. Collecting continues meanwhile",
        damages=tuple(str(one) for one in damages),
    )


def summary(damages: Iterable[Damage]) -> str:
    """What is left out of answers, in a sentence; empty if nothing is."""
    listed = list(damages)
    if not listed:
        return ""
    files = "A damaged file is" if len(listed) == 1 else f"{len(listed):,} damaged files are"
    parts = []
    for name, things in (("observations", "observations"), ("snapshots", "states")):
        own = [one for one in listed if one.table == name]
        if own:
            rows = sum(one.rows or 0 for one in own)
            days = sorted({str(one.day) for one in own if one.day is not None})
            when = "" if not days else f" of {days[0]}" + (f" to {days[-1]}" if days[1:] else "")
            parts.append(f"{rows:,} {things}{when}")
    return f"{files} left out: {' and '.join(parts)} are missing from all that is shown."
