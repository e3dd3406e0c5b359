"""Compacting the store when a collector has left many small files."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from reach_analytics.errors import StoreError
from reach_analytics.store import Store

logger = logging.getLogger("reach_analytics.collector")

_PATIENCE_S = 1.0


def compact_if_due(store: Store, now: datetime, stop: threading.Event | None = None) -> bool:
    """Compact the store if that is worth it; return whether it was done.

    What was collected is already safe, so failing to compact only logs a warning.
    """
    try:
        if not store.exists() or not store.wants_compaction():
            return False
        done = store.compact(now=now, stop=stop)
    except StoreError as error:
        logger.warning("the store was not compacted: %s", error)
        return False
    logger.info("compacted the store: %s", done)
    return True


class BackgroundCompaction:
    """Compacts a store in the background, one compaction at a time.

    A compaction is a series of commits, each of which leaves the store whole, so a caller that
    exits need not wait for the one that is running.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, now: datetime) -> bool:
        """Start a compaction unless one is running; return whether it was started."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=self._run, args=(now,), daemon=True)
        self._thread.start()
        return True

    def end(self) -> None:
        """Start no more, and wait briefly for the one that is running."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def _run(self, now: datetime) -> None:
        try:
            compact_if_due(self._store, now, self._stop)
        except Exception:  # a bug here must not end a watch that runs for weeks
            logger.exception("the store was not compacted")
