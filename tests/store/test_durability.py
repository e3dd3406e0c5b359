"""Power cuts: what was acknowledged is there afterwards, whatever else the disk forgot.

The simulated disk keeps only what was synced. Its state after a power cut at any moment is
reconstructed: names without a sync of their directory are there or not, contents without a sync
are whole, half or empty, as an adversary chooses.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import DamagedStoreError, StoreError
from reach_analytics.store import _write
from tests.support.effort import THOROUGH
from tests.support.observations import batch, minute, observation

CUTS = int(os.environ.get("CUTS", "24" if THOROUGH else "12"))  # power cuts per adversary
Tree = dict[str, bytes | None]  # contents by path; None for a directory


def tree(root: Path) -> Tree:
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
    }


@dataclass
class Disk:
    """What was synced to a disk, and the contents of the directory at each moment."""

    root: Path
    names: dict[str, set[str]] = field(default_factory=dict)  # of each directory, that will stay
    contents: Tree = field(default_factory=dict)  # of each file, that will stay
    moments: list[tuple[Tree, dict[str, set[str]], Tree, int]] = field(default_factory=list)
    acknowledged: int = 0

    def sync(self, path: Path) -> None:
        if not path.exists() or not path.is_relative_to(self.root):
            return
        self.moment()  # a cut before this sync
        own = str(path.relative_to(self.root))
        if path.is_dir():
            self.names[own] = {child.name for child in path.iterdir()}
        else:
            self.contents[own] = path.read_bytes()
        self.moment()

    def moment(self) -> None:
        names = {folder: set(kept) for folder, kept in self.names.items()}
        self.moments.append((tree(self.root), names, dict(self.contents), self.acknowledged))


def after_a_cut(now: Tree, names: dict[str, set[str]], contents: Tree, adversary: str) -> Tree:
    """What a disk holds that kept what was synced, and of the rest what the adversary chooses."""
    left: Tree = {}
    for path in sorted(now):
        folder, _, name = path.rpartition("/")
        if folder and folder not in left:
            continue
        kept = name in names.get(folder or ".", set())
        if adversary == "names are lost" and not kept:
            continue
        content = now[path]
        if content is not None and contents.get(path) != content:
            before = contents.get(path)
            if before is not None:
                content = before  # synced under another file: replaced in place
            elif adversary in ("contents are empty", "names are lost"):
                content = b""
            elif adversary == "contents are cut":
                content = content[: len(content) // 2]
        left[path] = content
    return left


def cuts(disk: Disk, adversary: str) -> list[tuple[Tree, int]]:
    """Different states of the disk after a cut, spread over all moments."""
    found: list[tuple[Tree, int]] = []
    for now, names, contents, acknowledged in disk.moments:
        left = after_a_cut(now, names, contents, adversary)
        if not found or found[-1] != (left, acknowledged):
            found.append((left, acknowledged))
    return found[:: max(1, len(found) // CUTS)]


def written(left: Tree, root: Path) -> reach.Store:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for path, content in left.items():
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)
    return reach.Store(root / "store")


def one(number: int):
    return to_tables([observation(batch(f"b{number}", {"A": "x"}), number)], minute(99))


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk to which four observations and a compaction were written."""
    disk = Disk(tmp_path / "disk")
    disk.root.mkdir()
    monkeypatch.setattr(_write, "sync", disk.sync)
    monkeypatch.setattr("reach_analytics.store._delta.sync", disk.sync)
    store = reach.Store(disk.root / "store")
    for number in range(4):
        store.append(*one(number))
        disk.acknowledged = number + 1
        disk.moment()
    store.compact(now=minute(99_999))
    disk.moment()
    monkeypatch.undo()
    return disk


@pytest.mark.parametrize(
    "adversary", ["names are lost", "contents are empty", "contents are cut", "nothing is lost"]
)
def test_what_was_acknowledged_survives_a_power_cut_at_any_moment(adversary, disk, tmp_path):
    seen: Counter[str] = Counter()
    for left, acknowledged in cuts(disk, adversary):
        store = written(left, tmp_path / "after")
        try:
            there = store.exists()
        except StoreError:
            seen["repaired"] += 1
            assert adversary in ("contents are empty", "contents are cut")
            store.repair(apply=True)
            there = True
        if not there:
            assert acknowledged == 0
            continue
        assert store.damages() == []  # no log names a file that is not on the disk
        found = set(reach.open_history(store).batches()["batch_id"])
        assert found >= {f"b{number}" for number in range(acknowledged)}
        assert store.append(*one(acknowledged)).observations in (0, 1)
        seen["read"] += 1
    assert seen["read"] > 10, seen
    assert seen["repaired"] == 0 or adversary.startswith("contents")


def test_a_disk_without_syncs_may_forget_everything(tmp_path, monkeypatch):
    """As with syncs turned off: the test above would notice."""
    disk = Disk(tmp_path / "disk")
    disk.root.mkdir()
    monkeypatch.setattr(_write, "sync", disk.sync)
    store = reach.Store(disk.root / "store", durable=False)
    store.append(*one(0))
    assert disk.moments == []
    disk.moment()
    [(now, names, contents, _)] = disk.moments
    assert after_a_cut(now, names, contents, "names are lost") == {}
    empty = written(after_a_cut(now, names, contents, "contents are empty"), tmp_path / "after")
    with pytest.raises(DamagedStoreError, match="empty log entry"):
        empty.exists()
