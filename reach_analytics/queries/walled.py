"""A DuckDB from which nothing can be reached but the rows that it was given."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from reach_analytics.errors import QueryError
from reach_analytics.queries.engine import arrow_reader, half_of_the_memory
from reach_analytics.queries.statement import ALLOWED

__all__ = ["Walled", "walled"]

# Of these a query may fail through no fault of its own.
_NOT_ITS_FAULT = (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.InterruptException)
_SIZE = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class Walled:
    """A database in memory with a connection, ``con``, that can be asked one query.

    No file, no network, no extension, no variable of Python and no setting can be reached from it,
    however a query is written; its own spilled rows are all that it may touch on disk.

    Parameters
    ----------
    memory_limit : str, optional
        As in `engine.connect`.
    threads : int, optional
        As there.
    spill_directory : str
        A directory of its own; with an empty one nothing is spilled.
    """

    def __init__(self, memory_limit: str | None, threads: int | None, spill_directory: str) -> None:
        self.con: Any = duckdb.connect(
            ":memory:",
            config={
                "allow_community_extensions": "false",
                "allow_persistent_secrets": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
                "python_scan_all_frames": "false",
            },
        )
        settings = {
            "memory_limit": memory_limit or half_of_the_memory(self.con),
            "threads": threads,
            "temp_directory": spill_directory,
            "enable_progress_bar": True,
            "enable_progress_bar_print": False,
            "TimeZone": "UTC",
            "enable_external_access": False,
            "lock_configuration": True,  # the last
        }
        for name, value in settings.items():
            if value is not None:
                literal = str(value).replace("'", "''")
                self.con.execute(f"SET {name} = '{literal}'")

    def parse(self, query: str) -> tuple[str, str]:
        """The only statement of a query, and its syntax tree as JSON.

        Raises
        ------
        QueryError
            If it is not one SELECT.
        """
        with _its_fault():
            statements = self.con.extract_statements(query)
        kinds = [_kind(statement) for statement in statements]
        if len(kinds) != 1:
            found = f"{len(kinds)} statements" if kinds else "none"
            raise QueryError(f"{ALLOWED}; found {found}")
        if kinds != ["SELECT"]:
            pivot = "PIVOT without its values; name them: PIVOT … ON … IN (…)"
            raise QueryError(f"{ALLOWED}; found {pivot if kinds == ['MULTI'] else kinds[0]}")
        text = statements[0].query
        serialize = (
            "SELECT json_serialize_sql(CAST(? AS VARCHAR), skip_null := true, skip_empty := true)"
        )
        with _its_fault():
            [[tree]] = self.con.execute(serialize, [text]).fetchall()
        return text, tree

    def hold(self, name: str, rows: pa.Table, *, add: bool = False) -> None:
        """A table with these rows, instead of one of its name; or the rows added to it."""
        self.con.register("incoming", rows)
        try:
            begin = f'INSERT INTO "{name}"' if add else f'CREATE OR REPLACE TABLE "{name}" AS'
            self.con.execute(f"{begin} SELECT * FROM incoming")
        finally:
            self.con.unregister("incoming")

    def shape(self, query: str) -> tuple[list[str], list[str]]:
        """The names and types of what a query gives, of which nothing is computed."""
        with _its_fault():
            relation = self.con.sql(query)
            return list(relation.columns), [str(kind) for kind in relation.types]

    def answer(self, query: str) -> pa.Table:
        """The rows that a query gives."""
        with _its_fault():
            return arrow_reader(self.con.sql(query)).read_all()


def _kind(statement: Any) -> str:
    try:
        return str(statement.type.name)
    except ValueError:  # DuckDB has no name for some
        return "something else"


@contextmanager
def walled(beside: Any) -> Iterator[Walled]:
    """A new one, as long as the block lasts.

    If ``beside``, the backend that the rows come from, is DuckDB, both share its memory, half and
    half, and it has as many threads and spills into the same directory.
    """
    connection = getattr(beside, "con", None) if beside.name == "duckdb" else None
    if connection is None:
        with _spill(None) as directory, _closed(Walled(None, None, directory)) as made:
            yield made
        return
    asked = connection.cursor()  # which disturbs no stream that is being read
    names = ("memory_limit", "threads", "temp_directory")
    query = f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}"
    [[limit, threads, temporary]] = asked.execute(query).fetchall()
    with (
        _lowered(asked, limit) as half,
        _spill(temporary) as directory,
        _closed(Walled(half, int(threads), directory)) as made,
    ):
        yield made


@contextmanager
def _closed(made: Walled) -> Iterator[Walled]:
    try:
        yield made
    finally:
        made.con.close()


@contextmanager
def _lowered(connection: Any, limit: str) -> Iterator[str]:
    """Half of a limit like ``"18.8 GiB"``, to which that of the connection is lowered meanwhile;
    unless it holds more than that and cannot spill it."""
    number, unit = limit.split()
    size = int((float(number) + 0.05) * _SIZE[unit])  # which DuckDB tells cut to a tenth
    half = f"{size // 2}B"
    with suppress(duckdb.Error):
        connection.execute(f"SET memory_limit = '{half}'")
    try:
        yield half
    finally:
        connection.execute(f"SET memory_limit = '{size}B'")


@contextmanager
def _spill(parent: str | None) -> Iterator[str]:
    """A new directory, which goes with the block; empty if there is nowhere to write."""
    made, is_new = "", bool(parent) and not os.path.isdir(str(parent))
    with suppress(OSError):
        if parent:
            os.makedirs(parent, exist_ok=True)
        if parent != "":
            made = tempfile.mkdtemp(prefix="reach-sql-", dir=parent)
    try:
        yield made
    finally:
        if made:
            shutil.rmtree(made, ignore_errors=True)
        if parent and is_new:
            with suppress(OSError):  # somebody else's rows are there by now
                os.rmdir(parent)


@contextmanager
def _its_fault() -> Iterator[None]:
    """What DuckDB says against a query, as a sentence."""
    try:
        yield
    except _NOT_ITS_FAULT:
        raise
    except duckdb.Error as error:
        said = str(error).partition("\nLINE ")[0].partition(" Error: ")
        reason = " ".join((said[2] or said[0]).split())
        raise QueryError(f"cannot run the query: {reason}") from None
