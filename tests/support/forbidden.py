"""As another user: the errors of a store with missing permissions, as JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from tests.support.observations import batch, minute, observation

NOBODY = 65534


def load_everything(location: str, rows) -> None:
    """Read and write a copy, so that user ``nobody`` need not import anything.

    The libraries import parts of themselves when they are first used, and other users may
    not be allowed to read where they are installed.
    """
    with tempfile.TemporaryDirectory() as directory:
        copied = Path(shutil.copytree(location, Path(directory, "store")))
        reach.Store(copied).append(*rows)
        reach.open_history(copied).observations()
        (copied / "observations" / "_delta_log").rename(copied / "gone")
        try:
            reach.open_history(copied).observations()
        except reach.errors.DamagedStoreError:
            return
    raise AssertionError("a store without its log was read")


def said(act) -> tuple[str, str]:
    """What it raises when user ``nobody`` does it."""
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
    file = Path(reach.Store(location).files(reach.tables.STORED_OBSERVATIONS)[0])
    table = file.parent.parent
    parts = {
        "store": Path(location),
        "table": table,
        "log": table / "_delta_log",
        "day": file.parent,
        "file": file,
    }
    told = {}
    rows = to_tables([observation(batch("b"))], minute(9))
    load_everything(location, rows)
    for name, path in parts.items():
        mode = path.stat().st_mode
        path.chmod(0o700 if path.is_dir() else 0)
        told[f"read {name}"] = said(lambda: len(reach.open_history(location).observations()))
        path.chmod(0o755 if path.is_dir() else 0o644)
        if name in ("store", "log"):
            told[f"write {name}"] = said(lambda: reach.Store(location).append(*rows))
        path.chmod(mode)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
