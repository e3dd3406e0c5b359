"""Compacting the store when a collector has left many small files."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from reach_analytics.errors import StoreError
from reach_analytics.store import Store

logger = logging.getLogger("reach_analytics.collector")

_PATIENCE_S = 1.0


def tidy(store: Store, now: datetime, stop: threading.Event | None = None) -> bool:
    """Compact the store if that is worth it; whether it was done.

    What was collected is safe already, so a store that cannot be compacted is a warning.
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


class Tidying:
    """Compacts a store in the background, one time after another.

    A compaction is a series of commits, each of which leaves the store whole. So whoever wants to
    leave need not wait for the one that is under way.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, now: datetime) -> bool:
        """Compact, unless that is under way; whether it was begun."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=self._run, args=(now,), daemon=True)
        self._thread.start()
        return True

    def end(self) -> None:
        """Begin nothing more, and wait a moment for what is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def _run(self, now: datetime) -> None:
        try:
            tidy(self._store, now, self._stop)
        except Exception:  # a fault of ours must not end a watch that runs for weeks
            logger.exception("the store was not compacted")
