"""Frames as files, for other tools."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["FORMATS", "export", "write_whole"]

FORMATS = ("parquet", "csv")


def export(
    frames: Mapping[str, pd.DataFrame], directory: str | os.PathLike[str], format: str
) -> list[Path]:
    """Write each frame as ``<name>.<format>``, each file whole or not at all.

    CSV is UTF-8 with a header, times in ISO 8601 with offset, nulls empty; ids are written as they
    are, so that they can be uploaded again. A spreadsheet may run a cell that begins with ``=``,
    ``+``, ``-``, ``@``, a tab or a carriage return as a formula: import its columns as text, or
    write Parquet.

    Parameters
    ----------
    frames : mapping
        File name without ending → frame.
    directory : str or path
        Created if needed. Files of the same names are replaced.
    format : {"parquet", "csv"}

    Returns
    -------
    list of pathlib.Path
        The files, in the order given.

    Raises
    ------
    ValueError
        If the format is another one.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     [path] = export({"ids": pd.DataFrame({"id": ["a"]})}, directory, "csv")
    ...     path.read_text()
    '"id"\\n"a"\\n'
    """
    if format not in FORMATS:
        raise ValueError(f"format must be 'parquet' or 'csv', found {format!r}")
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_whole(folder / f"{name}.{format}", _writer(frame, format))
        for name, frame in frames.items()
    ]


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
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)  # mkstemp makes files that only the owner may read
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path


def _writer(frame: pd.DataFrame, format: str) -> Callable[[Path], object]:
    if format == "parquet":
        return lambda path: frame.to_parquet(path, index=False, compression="zstd")
    times = frame.select_dtypes("datetimetz").columns
    # Spelled out, since pandas leaves out zero microseconds row by row otherwise.
    text = {name: frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00") for name in times}
    # All text is quoted: a lone carriage return would otherwise end a row.
    shape: dict[str, Any] = {"index": False, "lineterminator": "\n"}
    return lambda path: frame.assign(**text).to_csv(path, quoting=csv.QUOTE_NONNUMERIC, **shape)
