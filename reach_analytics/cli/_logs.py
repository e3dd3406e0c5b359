"""Logs of a command: plain lines on stderr, above the progress bar, and JSON lines in a file."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path

from tqdm import tqdm

from reach_analytics.cli._output import printable

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A line of JSON for each record: time, level, logger, message, and the fields it came with."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        extra = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {"time": at, "level": record.levelname, "logger": record.name}
        return json.dumps({**told, "message": record.getMessage(), **extra}, default=str)


class Plain(logging.Formatter):
    """A line for a terminal; control characters of foreign text are replaced."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        return printable(super().format(record))


class AboveTheBar(logging.Handler):
    """Writes to stderr without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except OSError:  # a closed stderr is no reason to stop collecting
            self.handleError(record)


@contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """Inside the block, warnings go to stderr, and all events to ``path``, if given."""
    logger = logging.getLogger("reach_analytics")
    shown = AboveTheBar()
    shown.setLevel(logging.WARNING)
    shown.setFormatter(Plain("%(asctime)s %(levelname)s %(message)s"))
    handlers: list[logging.Handler] = [shown]
    if path is not None:
        handlers.append(WatchedFileHandler(path, encoding="utf-8"))
        handlers[-1].setFormatter(JsonLines())
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.level, logger.propagate = before
