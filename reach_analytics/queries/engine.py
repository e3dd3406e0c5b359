"""DuckDB in this process, as Ibis drives it, usable again after whatever went wrong before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from ibis.backends.duckdb import Backend

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["Engine", "connect"]


class Engine(Backend):  # type: ignore[misc]  # Ibis has no types
    """Ibis' DuckDB backend, which lets go of a result that will not be read to its end.

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
