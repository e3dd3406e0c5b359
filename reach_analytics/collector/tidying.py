"""Compacting the store when a collector has left many small files."""

from __future__ import annotations

import logging
from datetime import datetime

from reach_analytics.errors import StoreError
from reach_analytics.store import Store

logger = logging.getLogger("reach_analytics.collector")


def tidy(store: Store, now: datetime) -> bool:
    """Compact the store if that is worth it; whether it was done.

    What was collected is safe already, so a store that cannot be compacted is a warning.
    """
    try:
        if not store.exists() or not store.wants_compaction():
            return False
        done = store.compact(now=now)
    except StoreError as error:
        logger.warning("the store was not compacted: %s", error)
        return False
    logger.info("compacted the store: %s", done)
    return True
