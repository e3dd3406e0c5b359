"""Files and directories that are put in place whole, or not at all."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

__all__ = ["put_in_place", "slug", "write_folder", "write_whole"]

_HERE = -100  # of a path that is relative to nothing in particular
_EXCHANGE = 2


def slug(name: object, otherwise: str, longest: int = 40) -> str:
    """A foreign name as part of the name of a file; ``otherwise`` where nothing of it can be."""
    text = unicodedata.normalize("NFKD", name) if isinstance(name, str) else ""
    plain = re.sub(r"[^a-z0-9]+", "-", text.encode("ascii", "ignore").decode().lower())
    return plain.strip("-")[:longest].strip("-") or otherwise


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Have ``write`` fill a new file that replaces ``path`` only when it is complete, with the
    rights that the old one had. Where a link leads is what is replaced, and not the link."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the name of a file")
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{place.name[:100]}.", dir=place.parent)
    os.close(handle)
    draft = Path(name)
    try:
        write(draft)
        draft.chmod(_rights(place, 0o666))  # mkstemp makes files that only the owner may read
        draft.replace(place)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path


def write_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` fill a new directory that takes the place of ``folder`` when it is complete;
    nothing is left of what was there.

    A directory that cannot be replaced, since it is the current one, or something is mounted there,
    or what it is in may not be written, gets the files one by one, the last one written last.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    apart = _can_be_replaced(folder)
    around = folder.parent if apart else folder
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name[:100]}.", dir=around))
    try:
        write(draft)
        if apart:
            draft.chmod(_rights(folder, 0o777))  # mkdtemp makes them for the owner alone
            put_in_place(draft, folder)
        else:
            _move_in(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _can_be_replaced(folder: Path) -> bool:
    if not folder.exists():
        return True
    here = Path.cwd()
    inside = here == folder or folder in here.parents
    return not inside and not folder.is_mount() and os.access(folder.parent, os.W_OK)


def _move_in(draft: Path, folder: Path) -> None:
    """Put the files of the draft into the folder, in the order in which they were written, and
    delete those that were there and are none of them."""
    written = sorted(draft.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    names = {path.name for path in written}
    for path in written:
        path.replace(folder / path.name)
    draft.rmdir()
    for path in folder.iterdir():
        if path.is_file() and path.name not in names:
            path.unlink()


def _rights(old: Path, otherwise: int) -> int:
    """The rights of what is replaced, or those that a new one would have."""
    return stat.S_IMODE(old.stat().st_mode) if old.exists() else otherwise & ~_umask()


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
