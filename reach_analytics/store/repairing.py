"""Repair: damaged files out of the log, a lost log made anew, and whatever is left read again.

Nothing is deleted. What is taken out is set aside in the store's own directory. A row that is read
again is added like any other, so what is there already is not there twice.
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

from reach_analytics.columns import OBSERVATIONS, Table
from reach_analytics.errors import StoreError
from reach_analytics.store.appending import Appender, create
from reach_analytics.store.damage import find_damage
from reach_analytics.store.delta import marked_unfinished, only_one, open_table
from reach_analytics.store.findings import TABLES, Repair, examine, live_files, opened_anyhow
from reach_analytics.store.place import ASIDE, LOG, Place
from reach_analytics.store.salvage import fail_day, looks_without_state, read_again
from reach_analytics.store.writing import Writer, sync

T = TypeVar("T")

_ATTEMPTS = 10


def repair(writer: Writer, *, now: datetime, apply: bool) -> Repair:
    """See `Store.repair`."""
    found = examine(writer.place)
    if not apply or not found.is_needed:
        return replace(found, applied=apply)
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    aside = f"{ASIDE}/{stamp}"
    anew = tuple({*found.lost_logs, *found.doubled})
    with only_one(writer.place), marked_unfinished(writer.place, anew):
        for name in found.bad_entries:
            _take_out_entry(writer.place, name, aside)
        for table in TABLES:
            is_begun = found.interrupted and opened_anyhow(writer.place, table) is not None
            if (table.name in anew and not is_begun) or opened_anyhow(writer.place, table) is None:
                _begin_anew(writer, table, aside)
        for table in TABLES:
            _again(partial(_take_out_damaged, writer, table, aside))
        concerned = [t for t in TABLES if found.interrupted or t.name in found.concerns]
        back = {table.name: _bring_back(writer, table, aside, anew) for table in concerned}
        lost = _fail_looks_without_state(writer)
    place = f"{writer.place.location}/{aside}"
    return replace(found, applied=True, rows_back=back, looks_without_state=lost, set_aside=place)


# -- taking out -----------------------------------------------------------------------------------


def _take_out_entry(place: Place, name: str, aside: str) -> None:
    """Set a log entry aside; in the place of a commit stands one that says nothing."""
    entry = Path(place.location) / name
    kept = Path(place.location) / aside / name
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


def _begin_anew(writer: Writer, table: Table, aside: str) -> None:
    """Set a log aside that cannot be read, and make an empty table in its place."""
    selected = FileSelector(LOG, allow_not_found=True, recursive=True)
    for entry in writer.place.files(table).get_file_info(selected):
        if entry.type == FileType.File:
            _move(writer.place, f"{table.name}/{entry.path.lstrip('/')}", aside)
    create(writer, table)


def _take_out_damaged(writer: Writer, table: Table, aside: str) -> None:
    """Set damaged files aside, and take out of the log what is not there."""
    place = writer.place
    opened = open_table(place, table)
    if opened is None:
        return
    damaged = find_damage(place, {table: opened})
    for one in damaged:
        if one.problem != "is missing":
            _move(place, one.path, aside)
    if damaged:
        opened.repair()
        newest = open_table(place, table)
        if newest is not None:
            writer.sync_log(table, range(opened.version(), newest.version() + 1))


def _move(place: Place, path: str, aside: str) -> None:
    files, kept = place.all_files(), f"{aside}/{path}"
    files.create_dir(kept.rpartition("/")[0], recursive=True)
    files.move(path, kept)


# -- bringing back --------------------------------------------------------------------------------


def _again(step: Callable[[], T]) -> T:
    """Do a step, and again where others commit first."""
    for attempt in range(_ATTEMPTS):
        try:
            return step()
        except CommitFailedError as error:
            reason = error
            time.sleep(random.uniform(0, min(1.0, 0.05 * 2**attempt)))
    raise StoreError(
        f"others kept writing to the store while it was repaired ({reason}); begin it again"
    )


def _bring_back(writer: Writer, table: Table, aside: str, anew: Collection[str]) -> int:
    """Add the rows that only files hold which the log does not name; how many that were."""
    opened = open_table(writer.place, table)
    if opened is None:
        return 0
    live = live_files(opened)
    left = [file for file in writer.place.data_files(table) if file.path.lstrip("/") not in live]
    appender, added = Appender(writer), 0
    # What was folded goes first: it tells which of the others are in it.
    for rows in read_again(writer.place, table, left):
        added += appender.add(table, rows)
    if table.name in anew:
        for file in left:  # nobody reads these any more
            _move(writer.place, f"{table.name}/{file.path.lstrip('/')}", aside)
    return added


def _fail_looks_without_state(writer: Writer) -> int:
    """Looks whose state is nowhere any more become failed looks; how many that were."""
    lost = looks_without_state(writer.place)
    days = sorted(lost[str(OBSERVATIONS.partition)].unique().to_pylist())
    return sum(_again(partial(fail_day, writer, day, lost)) for day in days)
