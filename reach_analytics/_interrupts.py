"""Ctrl-C while a query runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

_DUCKDB_SAYS = "Query interrupted"
_BETWEEN_TRIES_S = 0.05

T = TypeVar("T")


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, a query that a signal ends raises what the signal's handler would have.

    DuckDB makes a ``RuntimeError`` of a signal that arrives while one of its queries runs, and an
    ``InterruptException`` of one that it notices itself.
    """
    try:
        yield
    except Exception as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        raise


def is_interrupt(error: BaseException) -> bool:
    """Whether an error of a library is a Ctrl-C in disguise."""
    if type(error).__name__ == "InterruptException":
        return True
    return isinstance(error, RuntimeError) and _DUCKDB_SAYS in str(error)


def run_interruptibly(work: Callable[[], T], interrupt: Callable[[], None]) -> T:
    """Do ``work`` in a thread; what a signal's handler raises here interrupts it and comes out.

    A library may swallow an exception that is raised inside it, or notice it only after minutes.
    Here the main thread waits in a place of our own. The work is interrupted again and again until
    it ends, since it may not have begun what ``interrupt`` can end.
    """
    job = _Job(work)
    try:
        job.start()
        while not job.done.wait(_BETWEEN_TRIES_S):
            pass  # not one long wait, which not every kind of interrupt ends on every system
    except BaseException:
        job.is_wanted = False  # it may be about to begin
        while job.ident is not None and not job.done.wait(_BETWEEN_TRIES_S):
            interrupt()
        raise
    return job.result()


class _Job(threading.Thread, Generic[T]):
    """A thread whose result, or exception, is kept."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.is_wanted = True
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            if self.is_wanted:
                self._results.append(self._work())
        except BaseException as error:
            self._error = error
        finally:
            self.done.set()

    def result(self) -> T:
        """What the work gave, once it is done; what it raised is raised."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # a traceback that holds its own error is garbage for long
        return self._results[0]
