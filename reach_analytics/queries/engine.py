"""What runs the queries: DuckDB in this process, usable again whatever went wrong, or Spark."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import duckdb
import ibis
import ibis.expr.operations as ops
import pyarrow as pa
from ibis.backends import BaseBackend
from ibis.backends.duckdb import Backend

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from reach_analytics.tables import Table

__all__ = [
    "CHUNK",
    "MEMORY_FRACTION",
    "PLAIN",
    "Engine",
    "Runner",
    "arrow_reader",
    "as_backend",
    "chunks",
    "connect",
    "half_of_the_memory",
    "in_order",
    "kept",
    "numbered",
    "stream_of",
]

T = TypeVar("T")

_SIZE = re.compile(r"\d+(\.\d+)?\s*[kmgt]i?b", re.IGNORECASE)

CHUNK = 100_000
"""How many rows are in memory at once where rows are passed on."""

_MOST_WRITTEN = 1000
_DUCKDB_FRACTION = 0.8
MEMORY_FRACTION = 0.5
"""How much of the memory queries may take; frames made of their answers need the rest."""


class Runner(Protocol):
    """How queries over some tables are run."""

    def read(self, table: ibis.Table) -> pa.Table:
        """The rows of a lazy table."""
        ...

    def stream(self, table: ibis.Table) -> Iterator[pa.Table]:
        """The rows of a lazy table, some at a time and at least once."""
        ...

    def keep(self, table: ibis.Table) -> ibis.Table:
        """The table, computed once and held by the engine for as long as it is in use."""
        ...

    def ask(self, engine: Any, work: Callable[[], T]) -> T:
        """What comes of ``work``, which has another engine, as its ``con``, do something."""
        ...


class _Plain:
    """Runs queries as they are."""

    def read(self, table: ibis.Table) -> pa.Table:
        return table.to_pyarrow()

    def stream(self, table: ibis.Table) -> Iterator[pa.Table]:
        return chunks(stream_of(table))

    def keep(self, table: ibis.Table) -> ibis.Table:
        return kept(table)

    def ask(self, engine: Any, work: Callable[[], T]) -> T:
        return work()


PLAIN: Runner = _Plain()


class Engine(Backend):  # type: ignore[misc]  # Ibis has no types
    """Ibis' DuckDB backend, which lets go of a result that will not be read to its end, and writes
    the same query only once.

    Otherwise DuckDB 2 refuses all that comes after it: what a failed or interrupted expression
    left, and what Ibis 12 leaves when it fetches record batches by a method that is gone.
    """

    _written: ClassVar[OrderedDict[int, str]] = OrderedDict()
    _named = 0

    def new_name(self, kind: str) -> str:
        """A new name for a table; the same for the same steps in another engine."""
        self._named += 1
        return f"{kind}_{self._named}"

    def compile(
        self,
        expr: ir.Expr,
        /,
        *,
        limit: int | str | None = None,
        params: Mapping[ir.Scalar, Any] | None = None,
        pretty: bool = False,
    ) -> str:
        """The SQL of an expression, which takes Ibis longer than a small store takes DuckDB.

        Of an expression that has been written before, by its hash of 64 bits: neither it nor its
        tables are held.
        """
        if limit is not None or params is not None or pretty:
            return str(super().compile(expr, limit=limit, params=params, pretty=pretty))
        key, written = hash(expr.op()), self._written
        sql = written.pop(key, None)
        if sql is None:
            sql = str(super().compile(expr))
        written[key] = sql  # the newest last
        if len(written) > _MOST_WRITTEN:
            written.popitem(last=False)
        return sql

    def hold(self, table: ibis.Table, name: str) -> ibis.Table:
        """A new table with these rows."""
        schema = table.schema()
        columns = ", ".join(
            column.sql(self.dialect) for column in schema.to_sqlglot_column_defs(self.dialect)
        )
        self._run_pre_execute_hooks(table)
        self.raw_sql(f'CREATE TABLE "{name}" ({columns})')
        self.raw_sql(f'INSERT INTO "{name}" {self.compile(table)}')
        return ops.DatabaseTable(name, schema=schema, source=self).to_expr()

    def raw_sql(self, query: Any, **options: Any) -> Any:
        """Run SQL."""
        self._let_go()
        return super().raw_sql(query, **options)

    def _to_duckdb_relation(self, expr: ir.Expr, /, **options: Any) -> Any:
        self._let_go()
        return super()._to_duckdb_relation(expr, **options)

    def to_pyarrow_batches(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        chunk_size: int = 1_000_000,
        **options: Any,
    ) -> pa.RecordBatchReader:
        """The rows as a stream, which ends when the connection is asked for something else."""
        relation = self._to_duckdb_relation(expr.as_table(), params=params, limit=limit, **options)
        return arrow_reader(relation, chunk_size).cast(expr.as_table().schema().to_pyarrow())

    def _let_go(self) -> None:
        abort = getattr(self.con, "abort", None)  # DuckDB 1 does so by itself
        if abort is not None:
            abort()


def kept(table: ibis.Table) -> ibis.Table:
    """The table, computed now and held by its engine until nothing refers to it.

    DuckDB takes the joins as they are written, so that nothing is held in memory of what stands on
    the left: it knows nothing of how many rows an unnested list has, and would often hold these.

    Ibis' own ``cache`` does the same, but with sqlglot 30 Ibis 12 cannot drop a table of DuckDB's.
    """
    backend = table.get_backend()
    if backend.name == "pyspark":
        return _checkpointed(table, backend)
    if not isinstance(backend, Backend):
        return table.cache()
    # Ours has a database in memory, in which another connection may drop what is not temporary, and
    # disturbs no stream that is being read. Anybody else's gets temporary tables.
    is_ours = isinstance(backend, Engine)
    connection = backend.con.cursor() if is_ours else backend.con
    name = backend.new_name("kept") if is_ours else f"kept_{uuid.uuid4().hex}"
    try:
        with _as_written(backend):
            if is_ours:
                held = backend.hold(table, name)
            else:
                held = backend.create_table(name, table, temp=True)
    except BaseException:  # an interrupt leaves the rows there were so far
        with suppress(duckdb.Error):
            _drop(connection, name)
        raise
    weakref.finalize(held.op(), _drop, connection, name).atexit = False  # it ends with the process
    return held


def _checkpointed(table: ibis.Table, backend: Any) -> ibis.Table:
    """The table as a view of rows that Spark holds, with a plan of its own: one that is merely
    cached keeps the plans of all steps before it, which Spark reads anew at each."""
    name = f"kept_{uuid.uuid4().hex}"
    session = backend._session
    backend._run_pre_execute_hooks(table)
    rows = session.sql(backend.compile(table)).localCheckpoint(eager=True)
    rows.createOrReplaceTempView(name)
    held = backend.table(name)
    # At exit the session may be gone already.
    weakref.finalize(held.op(), session.catalog.dropTempView, name).atexit = False
    return held


def numbered(table: ibis.Table, name: str, run: Runner) -> ibis.Table:
    """The table, kept, with a number for each row in a new column.

    DuckDB numbers the rows of what it holds by itself; to count them takes one thread seconds.
    """
    if isinstance(table.get_backend(), Backend):
        held = run.keep(table)
        return held.mutate(**{name: held.rowid()})
    return run.keep(table.mutate(**{name: ibis.row_number()}))


def arrow_reader(relation: Any, chunk_size: int = CHUNK) -> pa.RecordBatchReader:
    """The rows of a relation of DuckDB's, some at a time."""
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    reader: pa.RecordBatchReader = read(chunk_size)
    return reader


def stream_of(table: ibis.Table) -> pa.RecordBatchReader:
    """The rows of a lazy table, some at a time, also of an Ibis' own DuckDB: see `Engine`."""
    backend = table.get_backend()
    if isinstance(backend, Backend):
        return Engine.to_pyarrow_batches(backend, table, chunk_size=CHUNK)
    return table.to_pyarrow_batches(chunk_size=CHUNK)


def chunks(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The batches of a stream as tables; an empty one where there is none."""
    found = False
    for batch in reader:
        found = True
        yield pa.Table.from_batches([batch])
    if not found:
        yield reader.schema.empty_table()


def in_order(rows: ibis.Table, like: Table) -> ibis.Table:
    """The rows in the order of a table."""
    by = []
    for name in like.order:
        column = rows[name.removeprefix("-")]
        falls = name.startswith("-")
        by.append(column.desc(nulls_first=False) if falls else column.asc(nulls_first=False))
    return rows.order_by(by)


@contextmanager
def _as_written(backend: Backend) -> Iterator[None]:
    query = "SELECT current_setting('disabled_optimizers')"
    [before] = backend.con.execute(query).fetchone()
    backend.con.execute("SET disabled_optimizers = 'build_side_probe_side'")
    try:
        yield
    finally:
        _set(backend, "disabled_optimizers", before)


def _drop(connection: Any, name: str) -> None:
    connection.execute(f'DROP TABLE IF EXISTS "{name}"')


def as_backend(engine: Any) -> Any:
    """An Ibis backend: the given one, or one for a SparkSession, classic or Connect.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(engine, BaseBackend):
        return engine
    if type(engine).__module__.startswith("pyspark.sql.") and hasattr(engine, "createDataFrame"):
        return ibis.pyspark.connect(engine)
    raise TypeError(
        f"engine must be a SparkSession or an Ibis backend, found {type(engine).__name__}; "
        "leave it out for DuckDB in this process"
    )


def connect(
    memory_limit: str | None = None,
    threads: int | None = None,
    spill_directory: str | os.PathLike[str] | None = None,
) -> Engine:
    """A new DuckDB of its own.

    Parameters
    ----------
    memory_limit : str, optional
        The most memory that queries may take, as ``"2GB"``; by default `MEMORY_FRACTION` of the
        machine's memory, or of the container's where that is less.
    threads : int, optional
        How many threads run a query; one per processor by default.
    spill_directory : str or path, optional
        Where rows go that do not fit in memory; by default a new directory among the system's
        temporary files, which is removed with the engine.

    Raises
    ------
    ValueError
        If one of them cannot be used.
    """
    if memory_limit is not None and not _SIZE.fullmatch(memory_limit):
        raise ValueError(f'memory_limit must be a size as "2GB", found {memory_limit!r}')
    engine: Engine = Engine().connect()
    settings = {
        "memory_limit": memory_limit or half_of_the_memory(engine.con),
        "threads": threads,
        "enable_progress_bar": True,  # which counts, so that it can be asked for, but prints none
        "enable_progress_bar_print": False,
        "temp_directory": _spill(engine) if spill_directory is None else os.fspath(spill_directory),
    }
    for name, value in settings.items():
        if value is not None:
            _set(engine, name, value)
    return engine


def half_of_the_memory(connection: Any) -> str:
    """Half of the memory, from DuckDB's own default, which heeds a container's limit: four fifths,
    as in ``18.8 GiB``."""
    [[default]] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = default.split()
    return f"{float(number) * MEMORY_FRACTION / _DUCKDB_FRACTION:.2f} {unit}"


def _spill(engine: Engine) -> str:
    """A directory that goes with the engine; DuckDB's own default is the current directory."""
    try:
        made = tempfile.mkdtemp(prefix="reach-spill-")
    except OSError:  # nowhere to write: then nothing can be spilled, which matters to few queries
        return ""
    weakref.finalize(engine, shutil.rmtree, made, ignore_errors=True)
    return made


def _set(engine: Backend, setting: str, value: str | int) -> None:
    literal = str(value).replace("'", "''")
    try:
        engine.con.execute(f"SET {setting} = '{literal}'")
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{setting} cannot be {value!r}: {reason}") from error
