"""As another user: what a store says whose parts may not be read or written, as JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import reach_analytics as reach
from reach_analytics.collector.observe import to_tables
from tests.looks import batch, look, minute

NOBODY = 65534


def load_everything(location: str, rows) -> None:
    """Read and write a copy, so that nobody in particular need import a thing.

    The libraries import parts of themselves when they are first used, and the
    place where they are installed may be closed to other users.
    """
    with tempfile.TemporaryDirectory() as directory:
        copied = Path(shutil.copytree(location, Path(directory, "store")))
        reach.Store(copied).append(*rows)
        reach.open_history(copied).looks()
        (copied / "observations" / "_delta_log").rename(copied / "gone")
        try:
            reach.open_history(copied).looks()
        except reach.errors.DamagedStoreError:
            return
    raise AssertionError("a store without its log was read")


def said(act) -> tuple[str, str]:
    """What it raises when nobody in particular does it."""
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        act()
    except BaseException as error:
        return type(error).__name__, str(error)
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
    return "nothing", ""


def main(location: str) -> None:
    file = Path(reach.Store(location).files(reach.columns.OBSERVATIONS)[0])
    table = file.parent.parent
    parts = {
        "store": Path(location),
        "table": table,
        "log": table / "_delta_log",
        "day": file.parent,
        "file": file,
    }
    told = {}
    rows = to_tables([look(batch("b"))], minute(9))
    load_everything(location, rows)
    for name, path in parts.items():
        mode = path.stat().st_mode
        path.chmod(0o700 if path.is_dir() else 0)
        told[f"read {name}"] = said(lambda: len(reach.open_history(location).looks()))
        path.chmod(0o755 if path.is_dir() else 0o644)
        if name in ("store", "log"):
            told[f"write {name}"] = said(lambda: reach.Store(location).append(*rows))
        path.chmod(mode)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
