"""A directory of this machine as a place for a store: whether it is ours, and can be written."""

from __future__ import annotations

import os
from pathlib import Path

from reach_analytics.columns import OBSERVATIONS, SNAPSHOTS
from reach_analytics.errors import ForeignStoreError, StoreError

_UNWRITABLE = frozenset("[]^|")


def refuse_foreign(place: Path) -> None:
    """Raise a `ForeignStoreError` if something else is here."""
    if place.exists() and not place.is_dir():
        raise ForeignStoreError(f"{place} is a file; a store is a directory")
    ours = {table.name for table in (SNAPSHOTS, OBSERVATIONS)}
    strangers = sorted(p.name for p in place.iterdir()) if place.is_dir() else []
    strangers = [name for name in strangers if name not in ours and not name.startswith(".")]
    if strangers:
        below = [name for name in strangers if (place / name / OBSERVATIONS.name).is_dir()]
        raise ForeignStoreError(
            f"{place} holds no store but other things, as {strangers[0]!r}; "
            + (
                f"did you mean {place / below[0]}?"
                if below
                else "to write one, choose an empty or new directory"
            )
        )


def require_writable(place: Path) -> None:
    """Say so before delta-rs does, with a backtrace, if a directory cannot be written."""
    if _UNWRITABLE.intersection(str(place.absolute())):
        raise StoreError(
            f"delta-rs cannot write to {place.absolute()}: the path of a store that is written "
            "must not have any of [ ] ^ | in it; rename the directory"
        )
    nearest = next((p for p in (place, *place.absolute().parents) if p.exists()), place)
    if nearest.is_dir() and not os.access(nearest, os.W_OK):
        raise StoreError(f"no permission to write to {nearest}")
