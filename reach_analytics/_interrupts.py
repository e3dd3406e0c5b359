"""Ctrl-C while a query runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_DUCKDB_SAYS = "Query interrupted"


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
