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
    """Inside the block, a query that a signal ends raises ``KeyboardInterrupt``.

    DuckDB turns a signal that arrives while one of its queries runs into a ``RuntimeError``, and
    one that it notices itself into an ``InterruptException``.
    """
    try:
        yield
    except Exception as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        raise


def is_interrupt(error: BaseException) -> bool:
    """Whether a library's error is a Ctrl-C in disguise."""
    if type(error).__name__ == "InterruptException":
        return True
    return isinstance(error, RuntimeError) and _DUCKDB_SAYS in str(error)


def run_interruptibly(
    work: Callable[[], T],
    interrupt: Callable[[], None],
    tick: Callable[[], None] = lambda: None,
) -> T:
    """Do ``work`` in a thread; what a signal handler raises here interrupts it and is raised.

    While it goes on, ``tick`` is called several times a second.

    A library may swallow an exception that is raised inside it, or notice it only after minutes, so
    the main thread waits outside it. The work is interrupted repeatedly until it ends, since it may
    not yet have started what ``interrupt`` can end.
    """
    job = _Job(work)
    try:
        job.start()
        while not job.done.wait(_BETWEEN_TRIES_S):
            tick()  # one long wait cannot be interrupted on every system
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
        """The result of the work, once it is done; what it raised is raised."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # avoid a reference cycle of the error and its traceback
        return self._results[0]
