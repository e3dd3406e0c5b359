"""Frames as files, for other tools, with what their columns mean and a list of what there is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reach_analytics.report._csv import FOR_PROGRAMS, Csv, for_spreadsheets, write_csv_file
from reach_analytics.report._dictionary import column_rows, dictionary_page
from reach_analytics.report._files import write_folder, write_whole
from reach_analytics.tables import Table

__all__ = ["FORMATS", "Rows", "export", "write_csv"]

FORMATS = ("parquet", "csv")
MANIFEST, COLUMNS, DICTIONARY = "manifest.json", "columns.json", "columns.md"
_MADE_BY = "reach_analytics"


class Rows(NamedTuple):
    """Rows of a table, some at a time and at least once."""

    table: Table
    parts: Iterable[pa.Table]


class _Written(NamedTuple):
    """A file, its columns, and how many rows it has."""

    name: str
    columns: list[str]
    rows: int


def export(
    contents: Mapping[str, pd.DataFrame | Callable[[], Rows]],
    directory: str | os.PathLike[str],
    formats: str | Sequence[str] = "parquet",
    *,
    about: Mapping[str, Any] | None = None,
    spreadsheet_timezone: str | None = None,
) -> list[Path]:
    """Write each of the contents as ``<name>.<format>``, with ``columns.json`` and ``columns.md``,
    which say what each column means, and ``manifest.json``, which lists the files with their rows
    and SHA-256. All of them are put in place together.

    CSV is UTF-8 with a header, times in ISO 8601 with offset, lengths of time as ``0:46:11.43``,
    nulls empty; ids are written as they are, so that they can be uploaded again. A spreadsheet may
    run a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return as a formula:
    for one, say ``spreadsheet_timezone``.

    Parameters
    ----------
    contents : mapping
        File name without ending → frame, or what gives rows, of which only some are in memory at a
        time; asked once for each format.
    directory : str or path
        One that exists must be empty or an earlier export, which is replaced.
    formats : {"parquet", "csv"} or both
    about : mapping, optional
        What the manifest says of the whole.
    spreadsheet_timezone : str, optional
        Write CSV for a spreadsheet: with a byte order mark, times by the clocks of this zone
        without offset, and an apostrophe before what would run as a formula.

    Returns
    -------
    list of pathlib.Path
        The files, in the order given, format by format; then the three about them.

    Raises
    ------
    ValueError
        If a format is another one, a spreadsheet is to read Parquet, or the directory holds
        something that no export wrote.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path, *_ = export({"ids": pd.DataFrame({"id": ["a"]})}, directory + "/out", "csv")
    ...     path.read_text()
    '"id"\\n"a"\\n'
    """
    wanted = (formats,) if isinstance(formats, str) else tuple(dict.fromkeys(formats))
    _check_formats(wanted, spreadsheet_timezone)
    form = FOR_PROGRAMS if spreadsheet_timezone is None else for_spreadsheets(spreadsheet_timezone)
    folder = Path(directory)
    place = folder.resolve()  # where a link leads, and not the link, is what is replaced
    _check_folder(place)
    names: list[str] = []

    def write(draft: Path) -> None:
        files = [
            _write(draft, name, content, format, form)
            for format in wanted
            for name, content in contents.items()
        ]
        names.extend([file.name for file in files])
        _describe(draft, files, dict(about or {}), spreadsheet_timezone)

    write_folder(place, write)
    return [folder / name for name in (*names, COLUMNS, DICTIONARY, MANIFEST)]


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as a CSV file of this name, whole or not at all, as `export` does."""
    return write_whole(path, lambda draft: write_csv_file([frame], draft, FOR_PROGRAMS))


def _check_formats(formats: Sequence[str], spreadsheet_timezone: str | None) -> None:
    for format in formats:
        if format not in FORMATS:
            raise ValueError(f"format must be 'parquet' or 'csv', or both, found {format!r}")
    if not formats:
        raise ValueError("format must be 'parquet' or 'csv', or both, found none")
    if spreadsheet_timezone is not None and "parquet" in formats:
        raise ValueError("a spreadsheet reads CSV: say format='csv'")


def _check_folder(folder: Path) -> None:
    """A `ValueError` if there is something that the export there, if any, did not write."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is no directory; choose another")
    there = sorted(folder.iterdir()) if folder.exists() else []
    known = _files_of(folder)
    foreign = [path.name for path in there if path.name not in known or not path.is_file()]
    if foreign:
        raise ValueError(
            f"{folder} holds {foreign[0]!r}, which no export wrote; choose an empty directory"
        )


def _files_of(folder: Path) -> set[str]:
    """The files that the manifest in a directory tells of; none if there is none of an export."""
    try:
        told = json.loads((folder / MANIFEST).read_text("utf-8"))
        if told["made_by"] != _MADE_BY:
            return set()
        return {str(file["name"]) for file in told["files"]} | {MANIFEST, COLUMNS, DICTIONARY}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()


def _write(
    folder: Path,
    name: str,
    content: pd.DataFrame | Callable[[], Rows],
    format: str,
    form: Csv,
) -> _Written:
    path = folder / f"{name}.{format}"
    if isinstance(content, pd.DataFrame):
        if format == "csv":
            write_csv_file([content], path, form)
        else:
            content.to_parquet(path, index=False, compression="zstd")
        return _Written(path.name, [*map(str, content.columns)], len(content))
    rows = content()
    with ExitStack() as stack:
        if isinstance(rows.parts, Generator):  # told, whatever happens, that no more are wanted
            stack.enter_context(closing(rows.parts))
        counted = _Counted(rows.parts)
        if format == "csv":
            write_csv_file((rows.table.to_pandas(part) for part in counted), path, form)
        else:
            _write_parquet(rows.table, counted, path)
    return _Written(path.name, rows.table.names, counted.rows)


class _Counted:
    """Parts of a table, whose rows are counted as they pass."""

    def __init__(self, parts: Iterable[pa.Table]) -> None:
        self._parts = parts
        self.rows = 0

    def __iter__(self) -> Generator[pa.Table, None, None]:
        for part in self._parts:
            self.rows += part.num_rows
            yield part
            del part  # none is held while the next one is made


def _write_parquet(table: Table, parts: Iterable[pa.Table], path: Path) -> None:
    """As pandas would, dtypes included."""
    like = pa.Schema.from_pandas(table.empty(), preserve_index=False)
    schema = table.schema.with_metadata(like.metadata)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part.cast(schema))
            del part


def _describe(
    folder: Path, files: list[_Written], about: dict[str, Any], spreadsheet_timezone: str | None
) -> None:
    """Write what the columns mean, and what there is."""
    zone = spreadsheet_timezone or "UTC"
    named = {Path(file.name).stem: file.columns for file in files}
    described = {name: column_rows(name, columns, zone) for name, columns in named.items()}
    _dump(folder / COLUMNS, described)
    (folder / DICTIONARY).write_text(dictionary_page(described), encoding="utf-8")
    listed = [
        {
            "name": file.name,
            "rows": file.rows,
            "bytes": (folder / file.name).stat().st_size,
            "sha256": _digest(folder / file.name),
        }
        for file in files
    ]
    head = {"made_by": _MADE_BY, **about, "times": zone}
    if spreadsheet_timezone is not None:
        head["for"] = "spreadsheets: an apostrophe stands before what would run as a formula"
    _dump(folder / MANIFEST, {**head, "files": listed})


def _dump(path: Path, content: object) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
