"""Which rows a stored table already holds, without reading its files again and again.

For each live file the keys of its rows are kept as 64-bit hashes. A row whose hash is in no file is
certainly new, and most are. For the others the files that have the hash are read and compared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from reach_analytics.store._checksums import unsound
from reach_analytics.store._explain import ENGINE_ERRORS
from reach_analytics.store._location import Location
from reach_analytics.store.damage import problem_of
from reach_analytics.tables import Table

logger = logging.getLogger("reach_analytics.store")

# A folded observation has lost its run_id, and nothing else that identifies it.
_FOLDED = ["tenant_id", "batch_id", "scope", "state_hash"]
_GROUP = 256  # files read at once


class Keys:
    """The keys in a stored table's files, updated when asked.

    A file that cannot be read counts as empty: collecting must continue.
    """

    def __init__(self, location: Location, table: Table) -> None:
        self._location, self._table = location, table
        self._of_file: dict[str, np.ndarray[Any, Any]] = {}
        self._unreadable: dict[str, tuple[Any, ...]] = {}  # and their `_mark` then

    def not_in(self, paths: Iterable[str], rows: pa.Table) -> pa.Table:
        """The rows that these files do not hold, by their key or folded into another row."""
        if rows.num_rows == 0:
            return rows
        live = self._concerned({unquote(path) for path in paths}, rows)
        self._follow(live)
        mine = rows.append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
        hashes = self._hashes(mine)
        hit = [
            path
            for path in sorted(live)
            if np.isin(hashes, self._of_file.get(path, _NONE), kind="sort").any()
        ]
        if not hit:
            return rows
        stored = _held(mine, self._read(hit), self._table)
        return rows.filter(pc.invert(pc.is_in(mine["_row"], value_set=stored)))

    def _concerned(self, live: set[str], rows: pa.Table) -> set[str]:
        """The files that can hold the rows' keys: all, unless the key determines the day."""
        if self._table.partition is None or not self._table.partition_follows_key:
            return live
        days = {
            f"{self._table.partition}={day}"
            for day in pc.unique(rows[self._table.partition]).to_pylist()
        }
        return {path for path in live if path.partition("/")[0] in days}

    def _follow(self, live: set[str]) -> None:
        """Forget files that are gone, and read new ones."""
        for gone in self._of_file.keys() - live:
            del self._of_file[gone]
        self._unreadable = {
            path: mark
            for path, mark in self._unreadable.items()
            if path in live and mark == self._mark(path)  # it may have been restored
        }
        new = sorted(live - self._of_file.keys() - self._unreadable.keys())
        new = self._sound(new)
        for start in range(0, len(new), _GROUP):
            self._learn(new[start : start + _GROUP])

    def _sound(self, paths: list[str]) -> list[str]:
        """The files whose content is what was written; reading the keys alone would not show it."""
        if not self._location.is_local:
            return paths
        full = {f"{self._location.uri(self._table)}/{path}": path for path in paths}
        changed = {full[path] for path in unsound(full)}
        for path in sorted(changed):
            self._leave_out(path)
        return [path for path in paths if path not in changed]

    def _leave_out(self, path: str) -> None:
        problem = problem_of(self._location.files(self._table), path)
        logger.warning("%s/%s %s; continuing without it", self._table.name, path, problem)
        self._unreadable[path] = self._mark(path)

    def _learn(self, paths: list[str]) -> None:
        try:
            rows = self._read(paths)
        except ENGINE_ERRORS:
            if len(paths) > 1:
                for path in paths:
                    self._learn([path])
                return
            if problem_of(self._location.files(self._table), paths[0]) is None:
                raise
            self._leave_out(paths[0])
            return
        names = rows["_file"].to_numpy(zero_copy_only=False)
        hashes = self._hashes(rows)
        folded, of_row = self._folded_hashes(rows)
        order = np.concatenate([names, names[of_row]])
        found = np.concatenate([hashes, folded])
        for path in paths:
            self._of_file[path] = np.unique(found[order == path])

    def _mark(self, path: str) -> tuple[Any, ...]:
        found = self._location.files(self._table).get_file_info(path)
        return found.type, found.size, found.mtime_ns

    def _read(self, paths: list[str]) -> pa.Table:
        """The keys in these files, and in ``_file`` which one each is from."""
        files = self._location.files(self._table)
        names = [*self._table.key, *([*_FOLDED, "repeats"] if self._folds else [])]
        source = ds.dataset(paths, self._inner_schema(), format="parquet", filesystem=files)
        found = source.to_table(columns=[*dict.fromkeys(names), "__filename"])
        return found.rename_columns([*found.column_names[:-1], "_file"])

    def _inner_schema(self) -> pa.Schema:
        inside = [field for field in self._table.schema if field.name != self._table.partition]
        return pa.schema([field.with_nullable(True) for field in inside])

    @property
    def _folds(self) -> bool:
        return "repeats" in self._table.names

    def _hashes(self, rows: pa.Table) -> np.ndarray[Any, Any]:
        """A hash of each row's key; without run_id, which a folded observation has lost."""
        key = [name for name in self._table.key if name != "run_id"]
        return _hashed(rows.select(key))

    def _folded_hashes(self, rows: pa.Table) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Hashes of the observations that are folded into rows, and which rows."""
        if not self._folds:
            return _NONE, np.empty(0, np.int64)
        lists = rows["repeats"].combine_chunks()
        parents = pc.list_parent_indices(lists)
        own = rows.select(["tenant_id", "batch_id", "scope"]).take(parents)
        observations = own.append_column("sent_at", pc.list_flatten(lists))
        key = [name for name in self._table.key if name != "run_id"]
        return _hashed(observations.select(key)), parents.to_numpy(zero_copy_only=False)


_NONE: np.ndarray[Any, Any] = np.empty(0, np.uint64)


def _hashed(rows: pa.Table) -> np.ndarray[Any, Any]:
    """A 64-bit hash of each row."""
    total = np.zeros(rows.num_rows, np.uint64)
    for column in rows.columns:
        if pa.types.is_timestamp(column.type):
            values = column.cast(pa.int64()).to_numpy()
        else:
            values = column.to_numpy(zero_copy_only=False).astype(object)
        own = pd.util.hash_array(values, categorize=False)
        total = total * np.uint64(0x9E3779B97F4A7C15) + own  # an odd number: no bit is lost
    return total


def _held(mine: pa.Table, stored: pa.Table, table: Table) -> pa.ChunkedArray:
    """Which of my rows (``_row``) are stored."""
    queries = [f"SELECT _row FROM mine SEMI JOIN stored USING ({', '.join(table.key)})"]
    if "repeats" in table.names:
        observations = f"SELECT {', '.join(_FOLDED)}, unnest(repeats) AS sent_at FROM stored"
        same = ", ".join([*_FOLDED, "sent_at"])
        queries.append(f"SELECT _row FROM mine SEMI JOIN ({observations}) USING ({same})")
    with duckdb.connect() as connection:
        connection.register("mine", mine)
        connection.register("stored", stored)
        return connection.sql(" UNION ".join(queries)).to_arrow_table()["_row"]
