"""Frames as files, for other tools."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reach_analytics.tables import Table

__all__ = ["FORMATS", "Rows", "export", "write_csv", "write_whole"]

FORMATS = ("parquet", "csv")


class Rows(NamedTuple):
    """Rows of a table, some at a time and at least once."""

    table: Table
    parts: Iterable[pa.Table]


def export(
    contents: Mapping[str, pd.DataFrame | Rows], directory: str | os.PathLike[str], format: str
) -> list[Path]:
    """Write each of the contents as ``<name>.<format>``, each file whole or not at all.

    CSV is UTF-8 with a header, times in ISO 8601 with offset, nulls empty; ids are written as they
    are, so that they can be uploaded again. A spreadsheet may run a cell that begins with ``=``,
    ``+``, ``-``, ``@``, a tab or a carriage return as a formula: import its columns as text, or
    write Parquet.

    Parameters
    ----------
    contents : mapping
        File name without ending → frame, or rows, of which only some are in memory at a time.
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
        write_whole(folder / f"{name}.{format}", _writer(content, format))
        for name, content in contents.items()
    ]


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as a CSV file of this name, whole or not at all, as `export` does."""
    return write_whole(path, lambda draft: _write_csv([frame], draft))


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


def _writer(content: pd.DataFrame | Rows, format: str) -> Callable[[Path], object]:
    if isinstance(content, pd.DataFrame):
        if format == "csv":
            return lambda path: _write_csv([content], path)
        return lambda path: content.to_parquet(path, index=False, compression="zstd")
    write = _write_csv_parts if format == "csv" else _write_parquet
    return lambda path: _write_to_the_end(content, path, write)


def _write_to_the_end(rows: Rows, path: Path, write: Callable[[Rows, Path], None]) -> None:
    """Write the rows; whatever happens, whoever provides them is told that no more are wanted."""
    with ExitStack() as stack:
        if isinstance(rows.parts, Generator):
            stack.enter_context(closing(rows.parts))
        write(rows, path)


def _write_csv_parts(rows: Rows, path: Path) -> None:
    _write_csv((rows.table.to_pandas(part) for part in rows.parts), path)


def _write_parquet(rows: Rows, path: Path) -> None:
    """As pandas would, dtypes included."""
    like = pa.Schema.from_pandas(rows.table.empty(), preserve_index=False)
    schema = rows.table.schema.with_metadata(like.metadata)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in rows.parts:
            writer.write_table(part.cast(schema))


def _write_csv(frames: Iterable[pd.DataFrame], path: Path) -> None:
    # All text is quoted: a lone carriage return would otherwise end a row.
    shape: dict[str, Any] = {"index": False, "lineterminator": "\n"}
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, frame in enumerate(frames):
            times = frame.select_dtypes("datetimetz").columns
            # Spelled out, since pandas leaves out zero microseconds row by row otherwise.
            text = {name: _iso(frame[name]) for name in times}
            told = frame.assign(**text)
            told.to_csv(file, header=number == 0, quoting=csv.QUOTE_NONNUMERIC, **shape)


def _iso(times: pd.Series) -> pd.Series:
    """Times as ISO 8601 with microseconds and the offset of their zone."""
    text: pd.Series = times.dt.strftime("%Y-%m-%dT%H:%M:%S.%f%z")
    return text.str.replace(r"(\d\d)(\d\d)$", r"\1:\2", regex=True)
