"""Frames as tables of the page: headings, and cells with what they show, sort by and copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from reach_analytics._time import in_words
from reach_analytics.measures.stories.story import plain
from reach_analytics.plots import _theme
from reach_analytics.tables import Table

__all__ = ["MOST_ROWS", "Cell", "Column", "PageTable", "page_table"]

MOST_ROWS = 500  # of one table: a page with several stays small and quick
_NEAR = pd.Timedelta("1D")  # times so near are told without their date


class Column(NamedTuple):
    """A column of a table: of which column of the frame, its heading, and how it is written."""

    name: str
    heading: str
    kind: str = "text"


class Cell(NamedTuple):
    """What a cell shows, what it says when pointed at, sorts by, and is copied as."""

    shown: str
    title: str
    order: str
    value: str


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes
    ----------
    name : str
        Its anchor, and the name of its CSV file.
    caption : str
        What a row is.
    columns : tuple of Column
    meanings : tuple of str
        What each column means.
    rows : tuple of tuple of Cell
    count : int
        How many rows there are, of which the first are shown.
    empty : str
        What is said without rows.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    meanings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    count: int
    empty: str

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column is one of numbers."""
        return tuple(column.kind in _NUMBERS for column in self.columns)

    @property
    def hidden(self) -> tuple[bool, ...]:
        """Whether each column is only copied and searched."""
        return tuple(column.kind == "id" for column in self.columns)


_NUMBERS = {"count", "range", "percent", "length", "number"}


def page_table(
    name: str,
    caption: str,
    frame: pd.DataFrame,
    columns: Sequence[Column],
    *,
    of: Table | None = None,
    now: pd.Timestamp,
    empty: str,
) -> PageTable:
    """The first rows of a frame as a table, with the ids of the frame as columns that are only
    copied.

    Parameters
    ----------
    name, caption, empty : str
        See `PageTable`.
    frame : pandas.DataFrame
    columns : sequence of Column
        What is shown; columns that the frame lacks are left out.
    of : Table, optional
        What says what the columns mean.
    now : pandas.Timestamp
        The moment that times are told from, in the zone of the page.
    """
    first = frame.head(MOST_ROWS)
    told = {column.name for column in columns}
    ids = [one for one in frame.columns if one.endswith("_id") and one not in told]
    shown = [column for column in columns if column.name in frame.columns]
    every = (*shown, *(Column(one, one, "id") for one in ids))
    cells = [_CELLS[column.kind](first[column.name], now) for column in every]
    meanings = {} if of is None else {column.name: column.doc for column in of.columns}
    return PageTable(
        name=name,
        caption=caption,
        columns=every,
        meanings=tuple(meanings.get(column.name, "") for column in every),
        rows=tuple(zip(*cells, strict=True)) if len(first) else (),
        count=len(frame),
        empty=empty,
    )


def _texts(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    """Foreign text, not yet escaped, which the template does; copied as it is."""
    pairs = ((plain(value), "" if pd.isna(value) else str(value)) for value in values)
    return [Cell(text, text, text, value) for text, value in pairs]


def _numbers(values: pd.Series, shown: Iterable[str]) -> list[Cell]:
    pairs = zip(values, shown, strict=True)
    return [
        Cell(text, "", "-1", "") if pd.isna(value) else Cell(text, "", f"{value}", f"{value}")
        for value, text in pairs
    ]


def _counts(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    whole = [None if pd.isna(value) else int(value) for value in values]
    return [
        Cell("–", "", "-1", "") if count is None else Cell(f"{count:,}", "", f"{count}", f"{count}")
        for count in whole
    ]


def _percents(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    return _numbers(values, _theme.percents(values))


def _decimals(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    return _numbers(values, ["–" if pd.isna(value) else _decimal(value) for value in values])


def _decimal(value: float) -> str:
    """A count, or a fraction with its decimals."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"


def _flags(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    known = ["–" if pd.isna(value) else "yes" if value else "no" for value in values]
    return [Cell(text, "", text, "" if text == "–" else text) for text in known]


def _ranges(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    """Texts like 3–5, which sort by their first number."""
    return [Cell(text, "", _first(text), text) for text in values.astype(str)]


def _first(text: str) -> str:
    number = text.split("–")[0].replace(",", "")
    return number if number.isdigit() else "-1"


def _moments(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    return [_moment(value, now) for value in values]


def _moment(value: Any, now: pd.Timestamp) -> Cell:
    """A time by the clock of the page, and how far off it is."""
    if pd.isna(value):
        return Cell("–", "", "0", "")
    local = value.tz_convert(now.tz)
    off = local - now
    far = f"{in_words(off)}" if off >= pd.Timedelta(0) else f"{in_words(-off)} ago"
    told = f"in {far}" if off > pd.Timedelta(0) else far
    clock = f"{local:%H:%M}" if abs(off) < _NEAR else f"{local:%Y-%m-%d %H:%M}"
    iso = local.isoformat()
    return Cell(f"{clock} · {told}", f"{local:%Y-%m-%d %H:%M:%S %Z}", f"{local.value}", iso)


def _lengths(values: pd.Series, now: pd.Timestamp) -> list[Cell]:
    """Lengths of time in words; copied in seconds."""
    return [
        Cell("–", "", "-1", "")
        if pd.isna(span)
        else Cell(in_words(span), "", f"{span.total_seconds():.6f}", f"{span.total_seconds():.6f}")
        for span in values
    ]


_CELLS: dict[str, Callable[[pd.Series, pd.Timestamp], list[Cell]]] = {
    "text": _texts,
    "id": _texts,
    "flag": _flags,
    "count": _counts,
    "number": _decimals,
    "percent": _percents,
    "range": _ranges,
    "moment": _moments,
    "length": _lengths,
}
