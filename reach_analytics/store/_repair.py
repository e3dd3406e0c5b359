"""Repair: damaged files removed from the log, a lost log rebuilt, and missing rows recovered.

Nothing is deleted. What is removed is set aside in the store's own directory. A recovered row is
added like any other, so no row is stored twice.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from deltalake.exceptions import CommitFailedError
from pyarrow.fs import FileSelector, FileType

from reach_analytics.errors import StoreError
from reach_analytics.store._append import Appender, create
from reach_analytics.store._delta import marked_unfinished, only_one, open_table
from reach_analytics.store._findings import TABLES, Repair, examine, live_files, opened_anyhow
from reach_analytics.store._location import ASIDE, LOG, Location
from reach_analytics.store._salvage import fail_day, observations_without_state, read_again
from reach_analytics.store._write import Writer, sync
from reach_analytics.store.damage import find_damage
from reach_analytics.tables import STORED_OBSERVATIONS, Table

T = TypeVar("T")

_ATTEMPTS = 10


def repair(writer: Writer, *, now: datetime, apply: bool) -> Repair:
    """See `Store.repair`."""
    found = examine(writer.location)
    if not apply or not found.is_needed:
        return replace(found, applied=apply)
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    aside = f"{ASIDE}/{stamp}"
    rebuilt = tuple({*found.lost_logs, *found.doubled})
    with only_one(writer.location), marked_unfinished(writer.location, rebuilt):
        for name in found.bad_entries:
            _set_aside_entry(writer.location, name, aside)
        for table in TABLES:
            is_rebuilt = found.interrupted and opened_anyhow(writer.location, table) is not None
            if (table.name in rebuilt and not is_rebuilt) or opened_anyhow(
                writer.location, table
            ) is None:
                _recreate(writer, table, aside)
        for table in TABLES:
            _retry(partial(_set_aside_damaged, writer, table, aside))
        concerned = [t for t in TABLES if found.interrupted or t.name in found.concerns]
        recovered = {table.name: _recover(writer, table, aside, rebuilt) for table in concerned}
        lost = _fail_observations_without_state(writer)
    location = f"{writer.location.root}/{aside}"
    return replace(
        found,
        applied=True,
        rows_back=recovered,
        observations_without_state=lost,
        set_aside=location,
    )


# -- setting aside --------------------------------------------------------------------------------


def _set_aside_entry(location: Location, name: str, aside: str) -> None:
    """Set a log entry aside; an empty commit replaces a commit."""
    entry = Path(location.root) / name
    kept = Path(location.root) / aside / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(entry, kept)
    if not entry.name.endswith(".json"):
        entry.unlink()
        (entry.parent / "_last_checkpoint").unlink(missing_ok=True)
    else:
        nothing = entry.with_name(f".{entry.name}.tmp")
        nothing.write_text('{"commitInfo":{"operation":"REPAIR"}}\n', encoding="utf-8")
        sync(nothing)
        os.replace(nothing, entry)
    sync(entry.parent)


def _recreate(writer: Writer, table: Table, aside: str) -> None:
    """Set an unreadable log aside, and create an empty table in its place."""
    selected = FileSelector(LOG, allow_not_found=True, recursive=True)
    for entry in writer.location.files(table).get_file_info(selected):
        if entry.type == FileType.File:
            _move(writer.location, f"{table.name}/{entry.path.lstrip('/')}", aside)
    create(writer, table)


def _set_aside_damaged(writer: Writer, table: Table, aside: str) -> None:
    """Set damaged files aside, and remove missing ones from the log."""
    location = writer.location
    opened = open_table(location, table)
    if opened is None:
        return
    damaged = find_damage(location, {table: opened})
    for one in damaged:
        if one.problem != "is missing":
            _move(location, one.path, aside)
    if damaged:
        opened.repair()
        newest = open_table(location, table)
        if newest is not None:
            writer.sync_log(table, range(opened.version(), newest.version() + 1))


def _move(location: Location, path: str, aside: str) -> None:
    files, kept = location.all_files(), f"{aside}/{path}"
    files.create_dir(kept.rpartition("/")[0], recursive=True)
    files.move(path, kept)


# -- recovering -----------------------------------------------------------------------------------


def _retry(step: Callable[[], T]) -> T:
    """Do a step, and retry it if others commit first."""
    for attempt in range(_ATTEMPTS):
        try:
            return step()
        except CommitFailedError as error:
            reason = error
            time.sleep(random.uniform(0, min(1.0, 0.05 * 2**attempt)))
    raise StoreError(
        f"others kept writing to the store while it was repaired ({reason}); start it again"
    )


def _recover(writer: Writer, table: Table, aside: str, rebuilt: Collection[str]) -> int:
    """Add the rows that only files outside the log hold; return how many were added."""
    opened = open_table(writer.location, table)
    if opened is None:
        return 0
    live = live_files(opened)
    left = [file for file in writer.location.data_files(table) if file.path.lstrip("/") not in live]
    appender, added = Appender(writer), 0
    # Folded rows go first: they show which of the others are folded into them.
    for rows in read_again(writer.location, table, left):
        added += appender.add(table, rows)
    if table.name in rebuilt:
        for file in left:  # no longer read
            _move(writer.location, f"{table.name}/{file.path.lstrip('/')}", aside)
    return added


def _fail_observations_without_state(writer: Writer) -> int:
    """Turn observations whose state is lost into failed ones; return how many."""
    lost = observations_without_state(writer.location)
    days = sorted(lost[str(STORED_OBSERVATIONS.partition)].unique().to_pylist())
    return sum(_retry(partial(fail_day, writer, day, lost)) for day in days)
