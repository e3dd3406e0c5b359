"""Files and directories that are put in place whole, or not at all."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["put_in_place", "write_folder", "write_whole"]

_HERE = -100  # of a path that is relative to nothing in particular
_EXCHANGE = 2


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Have ``write`` fill a new file that replaces ``path`` only when it is complete."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        write(draft)
        draft.chmod(0o666 & ~_umask())  # mkstemp makes files that only the owner may read
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path


def write_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` fill a new directory that takes the place of ``folder`` when it is complete;
    nothing is left of what was there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write(draft)
        draft.chmod(0o777 & ~_umask())  # mkdtemp makes directories that only the owner may read
        put_in_place(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def put_in_place(draft: Path, folder: Path) -> None:
    """Have the draft take the place of the folder, of which nothing is left.

    Where the system can exchange two directories, there is no moment without one of them.
    """
    if not folder.exists():
        draft.rename(folder)
    elif _exchange(draft, folder):
        shutil.rmtree(draft, ignore_errors=True)
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        folder.rename(old / "old")
        try:
            draft.rename(folder)
        except BaseException:
            (old / "old").rename(folder)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories at once; false where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another system than Linux
        return False
    done = rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    return bool(done == 0)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
