"""All figures of a report as plain values, for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reach_analytics.measures.overview.overview import Overview
from reach_analytics.report._page.cells import PageTable
from reach_analytics.report._page.figures import PageFigure
from reach_analytics.report._page.sections import Section

__all__ = ["report_figures"]


def report_figures(overview: Overview, sections: Iterable[Section], part: str) -> dict[str, Any]:
    """The overview, what each chart says, and the rows of each table with what their columns mean,
    ready for JSON."""
    parts = [one for section in sections for one in section.parts]
    return {
        "part": part or None,
        **overview.to_dict(),
        "charts": {
            one.name: {"answer": one.answer, "about": one.about}
            for one in parts
            if isinstance(one, PageFigure)
        },
        "tables": {one.name: _of_table(one) for one in parts if isinstance(one, PageTable)},
    }


def _of_table(table: PageTable) -> dict[str, Any]:
    names = [column.name for column in table.columns]
    rows = [
        [_value(cell.value, table.columns[n].kind) for n, cell in enumerate(row)]
        for row in table.rows
    ]
    return {
        "caption": table.caption,
        "columns": dict(zip(names, table.meanings, strict=True)),
        "count": table.count,
        "rows": [dict(zip(names, row, strict=True)) for row in rows],
    }


def _value(text: str, kind: str) -> str | int | float | None:
    """What a cell is copied as, as a number where it is one."""
    if not text:
        return None
    if kind == "count":
        return int(text)
    return float(text) if kind in ("percent", "number", "length") else text
