"""Querying the store without being stopped by damaged files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from reach_analytics.errors import DamagedStoreError
from reach_analytics.queries.tables import Tables
from reach_analytics.store import Store

logger = logging.getLogger("reach_analytics.collector")

T = TypeVar("T")


def _warn(error: DamagedStoreError) -> None:
    logger.warning("%s", error, extra={"event": "damaged", "files": len(error.damages)})


def ask(
    store: Store,
    question: Callable[[Tables], T],
    otherwise: T,
    on_damage: Callable[[DamagedStoreError], object] = _warn,
) -> T:
    """The answer to a question about what is stored, or ``otherwise`` if there is no store.

    Damaged files are left out and reported, so that collecting goes on. What leaves nothing to
    read, such as a store that has lost its log, raises.
    """
    if not store.exists():
        return otherwise
    try:
        return question(Tables(*store.tables(), run=store.reader()))
    except DamagedStoreError as error:
        damages = store.damages()
        if not damages:
            raise
        on_damage(error)
    return question(Tables(*store.tables(without=damages), run=store.reader()))
