"""Errors of libraries that read or write a store, reworded, with their cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError

from reach_analytics._interrupts import interruptible
from reach_analytics.errors import StoreError
from reach_analytics.store._location import Location, require_readable

ENGINE_ERRORS = (DeltaError, OSError, pa.ArrowException, duckdb.Error)
"""What delta-rs, Arrow, DuckDB and the system raise for files that are not as expected."""

_NO_MEMORY = duckdb.OutOfMemoryException
_DISK_FULL = "No space left on device"
_FORBIDDEN = "Permission denied"
_PATH = re.compile(r"""['"](/[^'"]+)['"]""")
_REFUSAL = re.compile(r"<Code>([^<]+)</Code>\s*<Message>([^<]*)</Message>")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ARROW = re.compile(r"^\s*(↳|Caused by:?|\d+:)\s*")
_BACKTRACE = re.compile(r"^\s*(\d+: |at |stack backtrace|note: |LINE \d|.*\^\s*$)")


def is_disk_full(error: Exception) -> bool:
    """Whether an error says that the disk is full."""
    return _DISK_FULL in str(error)


def cause(error: Exception) -> str:
    """What went wrong: an error's first line and its last, which has the underlying cause.

    The backtraces that delta-rs appends, and the query that DuckDB repeats, are left out.
    """
    if refused := _REFUSAL.search(str(error)):
        return f"{refused[1]}: {refused[2]}"  # the rest of an object store's answer may name keys
    lines = [line for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    useful = [
        _ARROW.sub("", line).strip() for line in lines if "↳" in line or not _BACKTRACE.match(line)
    ]
    if not useful:
        return type(error).__name__
    first, last = useful[0].removeprefix("Kernel error -> ").rstrip(":"), useful[-1]
    return first if last in first else f"{first}: {last}"


def explain(error: Exception, location: Location, doing: str) -> StoreError:
    """Why the store cannot be read, or written, and what to do about it."""
    if isinstance(error, StoreError):
        return error
    if is_disk_full(error):
        return StoreError(
            f"the disk of the store at {location.root} is full; make room and write the same "
            "rows again: what is already stored is not added twice"
        )
    if isinstance(error, _NO_MEMORY):
        return StoreError(
            f"reading the store at {location.root} needs more memory than it may take "
            f"({cause(error)}); raise memory_limit of open_history, or lower threads, or give it a "
            "spill_directory with more room"
        )
    if location.is_local and _FORBIDDEN in str(error):
        named = _PATH.search(str(error))
        try:
            require_readable(Path(location.root), Path(named[1]) if named else None)
        except StoreError as forbidden:
            return forbidden
    hint = "" if location.is_local else "; check the address, the bucket and storage_options"
    return StoreError(f"cannot {doing} the store at {location.root}: {cause(error)}{hint}")


@contextmanager
def explained(
    location: Location, doing: str, what_is_wrong: Callable[[Exception], Exception] | None = None
) -> Iterator[None]:
    """Turn what libraries raise into a `StoreError`; a lost race for a commit passes through.

    ``what_is_wrong`` may find a better reason than the error itself gives.
    """
    try:
        with interruptible():
            yield
    except ENGINE_ERRORS as error:
        if isinstance(error, CommitFailedError) and not is_disk_full(error):
            raise
        plain = explain(error, location, doing)
        if what_is_wrong is None or is_disk_full(error) or isinstance(error, _NO_MEMORY):
            raise plain from error
        raise what_is_wrong(error) from error
