"""DuckDB in this process, as Ibis drives it, usable again after whatever went wrong before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend

from reach_analytics._interrupts import run_interruptibly
from reach_analytics.store.explaining import explained

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from reach_analytics.store.place import Place


class Engine(Backend):  # type: ignore[misc]  # Ibis has no types
    """Ibis' DuckDB backend, which lets go of a result that nobody will read to its end.

    Otherwise DuckDB 2 refuses all that comes after it: what a failed or interrupted expression
    left, and what Ibis 12 leaves when it fetches record batches by a method that is gone.
    """

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
        read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
        reader: pa.RecordBatchReader = read(chunk_size)
        return reader.cast(expr.as_table().schema().to_pyarrow())

    def _let_go(self) -> None:
        abort = getattr(self.con, "abort", None)  # DuckDB 1 does so by itself
        if abort is not None:
            abort()


def connect() -> Engine:
    """A new DuckDB of its own."""
    engine: Engine = Engine().connect()
    return engine


class Reader:
    """Runs queries over a store's tables, one at a time, and says what is wrong where one fails.

    Parameters
    ----------
    place : Place
        Where the store is.
    what_is_wrong : callable
        What to say instead of an engine's error.
    """

    def __init__(self, place: Place, what_is_wrong: Callable[[Exception], Exception]) -> None:
        self._place, self._what_is_wrong = place, what_is_wrong
        self._lock = threading.Lock()  # one connection answers one question at a time

    def __call__(self, table: ibis.Table) -> pa.Table:
        """The rows of a lazy table.

        Raises
        ------
        StoreError
            If files cannot be read; a `DamagedStoreError` if they are damaged.
        """
        with explained(self._place, "read", self._what_is_wrong):
            backend = table.get_backend()
            interrupt = getattr(getattr(backend, "con", None), "interrupt", None)
            if interrupt is None or threading.current_thread() is not threading.main_thread():
                return self._answer(table)
            return run_interruptibly(lambda: self._answer(table), interrupt)

    def _answer(self, table: ibis.Table) -> pa.Table:
        with self._lock:
            return table.to_pyarrow()
