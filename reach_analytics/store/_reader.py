"""Running queries over a store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from reach_analytics._interrupts import run_interruptibly
from reach_analytics._progress import SlowBar
from reach_analytics.store._explain import explained

if TYPE_CHECKING:
    from reach_analytics.queries.tables import LazyTable
    from reach_analytics.store._location import Location

T = TypeVar("T")


class Reader:
    """Runs queries over a store's tables, one at a time, and explains why one fails.

    Parameters
    ----------
    location : Location
        Where the store is.
    what_is_wrong : callable
        Maps an engine's error to the one to raise.
    bar : SlowBar, optional
        Is told how far a query has come.
    """

    def __init__(
        self,
        location: Location,
        what_is_wrong: Callable[[Exception], Exception],
        bar: SlowBar | None = None,
    ) -> None:
        self._location, self._what_is_wrong = location, what_is_wrong
        self._bar = SlowBar(shown=False) if bar is None else bar
        self._lock = threading.Lock()  # a connection runs one query at a time

    def read(self, table: LazyTable) -> pa.Table:
        """The rows of a lazy table.

        Raises
        ------
        StoreError
            If files cannot be read; a `DamagedStoreError` if they are damaged.
        """
        return self._run(table, table.to_pyarrow)

    def stream(self, table: LazyTable) -> Iterator[pa.Table]:
        """The rows of a lazy table, some at a time and at least once.

        No other query runs until all have been taken.

        Raises
        ------
        StoreError
            As `read` does.
        """
        from reach_analytics.queries.engine import chunks, stream_of

        with self._lock, explained(self._location, "read", self._what_is_wrong):
            backend = table.get_backend()
            reader = self._interruptibly(backend, lambda: stream_of(table))
            rows = chunks(reader)
            while (some := self._interruptibly(backend, lambda: next(rows, None))) is not None:
                yield some

    def keep(self, table: LazyTable) -> LazyTable:
        """The table, computed once and held by the engine for as long as it is in use.

        Raises
        ------
        StoreError
            As `read` does.
        """
        from reach_analytics.queries.engine import kept

        return self._run(table, lambda: kept(table))

    def ask(self, engine: Any, work: Callable[[], T]) -> T:
        """What comes of ``work``, which has another engine, as its ``con``, do something.

        Raises
        ------
        StoreError
            If that takes too much memory, or the disk is full.
        """
        with explained(self._location, "query", self._what_is_wrong):
            return self._interruptibly(engine, work)

    def _run(self, table: LazyTable, answer: Callable[[], T]) -> T:
        def alone() -> T:
            with self._lock:
                return answer()

        with explained(self._location, "read", self._what_is_wrong):
            return self._interruptibly(table.get_backend(), alone)

    def _interruptibly(self, backend: Any, work: Callable[[], T]) -> T:
        connection = getattr(backend, "con", None)
        interrupt = getattr(connection, "interrupt", None)
        if interrupt is None or threading.current_thread() is not threading.main_thread():
            return work()
        progress = getattr(connection, "query_progress", lambda: 0.0)
        self._bar.step()
        return run_interruptibly(work, interrupt, lambda: self._bar.tick(progress()))
