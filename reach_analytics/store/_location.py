"""Where a store is: a directory of this machine or an object store, and whether it is ours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileInfo, FileSelector, LocalFileSystem, PyFileSystem, SubTreeFileSystem

from reach_analytics.errors import ForeignStoreError, StoreError
from reach_analytics.tables import STORED, STORED_OBSERVATIONS, Table

_UNWRITABLE = frozenset("[]^|")
LOG = "_delta_log"
ASIDE = ".set-aside"
"""Where a repair puts what it removes from a store, in the store's own directory."""


@dataclass(frozen=True)
class Location:
    """Where a store is, and access to its files."""

    root: str
    options: Mapping[str, str] | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this machine."""
        return "://" not in self.root

    @property
    def storage_options(self) -> dict[str, str] | None:
        """The options, as delta-rs takes them."""
        return None if self.options is None else dict(self.options)

    def uri(self, table: Table) -> str:
        """Where a stored table is."""
        return f"{self.root}/{table.name}"

    def log(self, table: Table) -> Path:
        """A local table's log."""
        return Path(self.uri(table)) / LOG

    def files(self, table: Table) -> Any:
        """The table's directory as a pyarrow file system."""
        return self._system(self.uri(table))

    def all_files(self) -> Any:
        """The whole store as a pyarrow file system."""
        return self._system(self.root)

    def data_files(self, table: Table) -> list[FileInfo]:
        """Every Parquet file below the table's directory, whether a log names it or not."""
        found = self.files(table).get_file_info(
            FileSelector("", allow_not_found=True, recursive=True)
        )
        return sorted(
            (
                file
                for file in found
                if file.path.endswith(".parquet") and not file.path.lstrip("/").startswith(LOG)
            ),
            key=lambda file: str(file.path),
        )

    def _system(self, uri: str) -> Any:
        if self.is_local:
            return SubTreeFileSystem(os.path.abspath(uri), LocalFileSystem())
        return PyFileSystem(DeltaStorageHandler(uri, self.storage_options))


def refuse_foreign(location: Path) -> None:
    """Raise a `ForeignStoreError` if something else is here."""
    if location.exists() and not location.is_dir():
        raise ForeignStoreError(f"{location} is a file; a store is a directory")
    ours = {table.name for table in STORED}
    others = sorted(p.name for p in location.iterdir()) if location.is_dir() else []
    others = [name for name in others if name not in ours and not name.startswith(".")]
    if others:
        below = [name for name in others if (location / name / STORED_OBSERVATIONS.name).is_dir()]
        raise ForeignStoreError(
            f"{location} holds no store but other things, such as {others[0]!r}; "
            + (
                f"did you mean {location / below[0]}?"
                if below
                else "to write one, choose an empty or new directory"
            )
        )


def require_writable(location: Path) -> None:
    """Raise before delta-rs does, with a backtrace, if a directory cannot be written."""
    if _UNWRITABLE.intersection(str(location.absolute())):
        raise StoreError(
            f"delta-rs cannot write to {location.absolute()}: the path of a store that is written "
            "must not have any of [ ] ^ | in it; rename the directory"
        )
    nearest = next((p for p in (location, *location.absolute().parents) if p.exists()), location)
    inside = [location / table.name for table in STORED]
    inside = [path for part in inside for path in (part, part / LOG) if path.is_dir()]
    for path in (nearest, *inside):
        if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
            raise StoreError(f"no permission to write to {path}; {_who_may(path)}")


def require_readable(location: Path, named: Path | None = None) -> None:
    """Raise for a part of a store, or a named file, that may not be read."""
    inside = [location / table.name for table in STORED]
    paths = [location, *(path for part in inside for path in (part, part / LOG))]
    for path in [*paths, *([*reversed(named.parents), named] if named else [])]:
        try:
            needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
            if path.exists() and not os.access(path, needed):
                raise StoreError(f"no permission to read {path}; {_who_may(path)}")
        except PermissionError:  # of a directory above
            raise StoreError(f"no permission to read {path}; {_who_may(path.parent)}") from None


def _who_may(path: Path) -> str:
    """What to do about a path that we may not use."""
    try:
        owner = path.owner()
    except (OSError, KeyError, NotImplementedError):
        owner = "its owner"
    return f"run this as {owner}, or let {owner} grant it (chmod, chown)"
