"""Frames as CSV: for programs, byte for byte what it says; for spreadsheets, made harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

__all__ = ["FOR_PROGRAMS", "Csv", "for_spreadsheets", "write_csv_file"]

# How a cell begins that a spreadsheet may run: after blanks and characters that nobody sees, too,
# and with the wide forms of these signs.
_UNSEEN = r"\s\x00-\x1f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
_FORMULA = re.compile(rf"[{_UNSEEN}]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


class Csv(NamedTuple):
    """How a CSV file is written: its encoding, how times are told, and what becomes of texts."""

    encoding: str
    time: Callable[[pd.Series], pd.Series]
    text: Callable[[pd.Series], pd.Series] | None


def write_csv_file(frames: Iterable[pd.DataFrame], path: Path, form: Csv) -> None:
    """Write frames of the same columns one below the other.

    Texts are quoted, since a lone carriage return would end a row otherwise; numbers and nulls are
    not, so that a reader does not take a column of numbers for one of texts.
    """
    with path.open("w", encoding=form.encoding, newline="") as file:
        for number, frame in enumerate(frames):
            told = [_column(frame.iloc[:, n], form) for n in range(frame.shape[1])]
            if number == 0:
                names = _column(pd.Series([str(name) for name in frame.columns], dtype="str"), form)
                file.write(",".join(map(_quoted, names)) + "\n")
            rows = zip(*map(_cells, told), strict=True)
            file.writelines(",".join(row) + "\n" for row in rows)


def _cells(values: pd.Series) -> list[str]:
    """Each value as it stands in the file."""
    return [
        "" if null else _quoted(value) if isinstance(value, str) else _plain(value)
        for value, null in zip(values.astype(object).tolist(), values.isna(), strict=True)
    ]


def _plain(value: object) -> str:
    """A number or a flag as it is, anything else as a text."""
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return str(value)
    return _quoted(str(value))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _column(values: pd.Series, form: Csv) -> pd.Series:
    """A column with each cell as what a person, or another program, expects."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return form.time(values)
    if values.dtype.kind == "m":
        return _lengths(values)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values
    if values.dtype == object and values.map(_is_several).any():
        values = values.map(_as_json)
    return values if form.text is None else form.text(values)


def iso(times: pd.Series) -> pd.Series:
    """Times as ISO 8601 with microseconds and the offset of their zone."""
    # Spelled out, since pandas leaves out zero microseconds row by row otherwise.
    text: pd.Series = times.dt.strftime("%Y-%m-%dT%H:%M:%S.%f%z")
    return text.str.replace(r"(\d\d)(\d\d)$", r"\1:\2", regex=True)


FOR_PROGRAMS = Csv("utf-8", iso, None)


def for_spreadsheets(timezone: str) -> Csv:
    """With a byte order mark, times by the clocks of a zone, and an apostrophe before texts that
    would run as formulas."""

    def local(times: pd.Series) -> pd.Series:
        text: pd.Series = times.dt.tz_convert(timezone).dt.strftime("%Y-%m-%d %H:%M:%S")
        return text

    return Csv("utf-8-sig", local, _harmless)


def _harmless(values: pd.Series) -> pd.Series:
    """Texts, none of which runs; anything else as it is."""
    return values.astype(object).map(
        lambda one: f"'{one}" if isinstance(one, str) and _FORMULA.match(one) else one
    )


def _lengths(spans: pd.Series) -> pd.Series:
    """Lengths of time as hours, minutes and seconds: 0:46:11.430294, or 30:00:00."""

    def told(span: Any) -> str | None:
        if pd.isna(span):
            return None
        whole, rest = divmod(abs(span) // pd.Timedelta("1us"), 1_000_000)
        minutes, seconds = divmod(whole, 60)
        sign = "-" if span < pd.Timedelta(0) else ""
        parts = f".{rest:06}" if rest else ""
        return f"{sign}{minutes // 60}:{minutes % 60:02}:{seconds:02}{parts}"

    return spans.map(told).astype("str")


def _is_several(value: object) -> bool:
    return isinstance(value, list | tuple | dict | np.ndarray)


def _as_json(value: object) -> Any:
    """Several values as JSON; a single one as it is."""
    if not _is_several(value):
        return value
    plain = value.tolist() if isinstance(value, np.ndarray) else value
    return json.dumps(plain, ensure_ascii=False, default=str)
