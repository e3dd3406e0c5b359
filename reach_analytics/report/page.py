"""The HTML report: one page that needs no network."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from reach_analytics._time import in_words
from reach_analytics.measures.overview.overview import (
    LABELS,
    Overview,
    change_in_words,
    figure_in_words,
    interval_in_words,
)
from reach_analytics.report._files import write_whole
from reach_analytics.report._page.cells import PageTable
from reach_analytics.report._page.figures import PageFigure, looks
from reach_analytics.report._page.record import Entry, Record
from reach_analytics.report._page.sections import Note, sections_of
from reach_analytics.report._page.sparkline import sparkline
from reach_analytics.report.document import report_figures

__all__ = ["SEVERITIES", "asset", "record_name", "template", "write_report"]

SEVERITIES = {
    "good": "All is well",
    "warning": "Needs a look",
    "critical": "Act now",
    "unknown": "Cannot tell",
}

_SCRIPTS = ("plotly-basic.min.js", "dataTables.min.js", "dataTables.buttons.min.js")
_BETTER = {  # which way is better: a figure that goes the other way is marked
    "failed_batches": -1,
    "settled_fraction": 1,
    "waiting": -1,
    "expiring_soon": -1,
    "lost": -1,
    "missing": -1,
}
_SECTION_OF = {  # of what an action is about: where the page tells more
    "observations": "known",
    "expiring": "upload",
    "failed": "landed",
    "stuck": "landed",
    "deadlocks": "graph",
    "success": "changed",
    "lost": "waits",
}


class _Tile(NamedTuple):
    """A key figure: its value, interval, label, meaning and change, whether that is bad or good,
    and the line of its last values."""

    value: str
    interval: str
    label: str
    meaning: str
    change: str
    tone: str
    line: str


def write_report(
    frames: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    record: Record,
    missing: str = "",
    part: str = "",
    as_json: bool = False,
) -> Path:
    """Write the report.

    Everything from the API is escaped, and the page's own policy forbids it to load or send
    anything.

    Parameters
    ----------
    frames : mapping
        As from `report_frames`.
    path : str or path
        The page; its directory is created if needed. An existing page is replaced when the new
        one is complete.
    record : Record
        The key figures of the reports before.
    missing : str
        What is left out of the page, as a sentence, shown at the top.
    part : str
        What the page is of, in words, if not of all.
    as_json : bool
        Whether to write all figures as JSON beside the page, too.

    Returns
    -------
    pathlib.Path
        The page.
    """
    if as_json and Path(path).suffix == ".json":
        raise ValueError(f"{path} would be the page and its figures; end its name in .html")
    overview: Overview = frames["overview"]
    now = overview.moment
    values = overview.figures.set_index("figure")["value"].dropna().astype(float).to_dict()
    record = record.with_entry(Entry(now, {str(name): value for name, value in values.items()}))
    sections = sections_of(frames, now)
    page = template("page.html.j2").render(
        overview=overview,
        words=SEVERITIES,
        as_of=f"{now:%Y-%m-%d %H:%M %Z}",
        moment=now.isoformat(),
        age=_age(now, overview.last_observation),
        since=_compared(overview),
        missing=missing,
        part=part,
        tiles=_tiles(overview, record),
        actions=_actions(overview),
        sections=sections,
        tables=[part for section in sections for part in section.parts if _is_table(part)],
        record=record.to_json(),
        looks=looks(),
        scripts=[asset(f"_assets/{name}") for name in _SCRIPTS],
        script=asset("_page/page.js"),
        style=asset("_page/page.css"),
    )
    written = write_whole(Path(path), lambda draft: draft.write_text(page, encoding="utf-8"))
    if as_json:
        text = json.dumps(report_figures(overview, sections, part), indent=1, ensure_ascii=False)
        beside = written.with_suffix(".json")
        write_whole(beside, lambda draft: draft.write_text(text + "\n", encoding="utf-8"))
    return written


def record_name(location: str, part: str) -> str:
    """What a record is of, without telling where that is."""
    if "://" not in location:
        location = os.path.realpath(location)
    return hashlib.sha256(f"{location}\n{part}".encode()).hexdigest()[:16]


def template(name: str) -> jinja2.Template:
    """A template of this package, which escapes what it is given."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reach_analytics.report", "_page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["note"] = lambda part: isinstance(part, Note)
    environment.tests["chart"] = lambda part: isinstance(part, PageFigure)
    return environment.get_template(name)


def _is_table(part: object) -> bool:
    return isinstance(part, PageTable)


def asset(name: str) -> str:
    """A file of this package that the page embeds."""
    return (files("reach_analytics.report") / name).read_text(encoding="utf-8")


def _age(now: pd.Timestamp, last: pd.Timestamp | None) -> str:
    """When the last observation was."""
    if last is None:
        return "no observation before"
    local = last.tz_convert(now.tz)
    return f"last observation {local:%Y-%m-%d %H:%M:%S %Z}, {in_words(now - last)} before"


def _compared(overview: Overview) -> str:
    """What the figures are compared with, as a sentence."""
    if overview.since is None:
        return ""
    then = f"{overview.since:%Y-%m-%d %H:%M %Z}"
    if overview.figures["before"].isna().all():
        return f"Nothing had been observed by {then}, so that there is nothing to compare with."
    return f"Changes are those since {then}."


def _tiles(overview: Overview, record: Record) -> list[_Tile]:
    now = overview.moment
    return [_tile(row, record, now) for row in overview.figures.to_dict("records")]


def _tile(row: Mapping[Any, Any], record: Record, now: pd.Timestamp) -> _Tile:
    name = row["figure"]
    shown = [entry for entry in record.entries if entry.moment <= now]
    values = [entry.figures.get(name) for entry in shown]
    change = change_in_words({**row})
    tone = ""
    if change and change != "as before" and name in _BETTER:
        rose = row["value"] > row["before"]
        tone = "good" if rose == (_BETTER[name] > 0) else "bad"
    value = figure_in_words({**row})
    interval = interval_in_words({**row})
    return _Tile(value, interval, LABELS[name], row["meaning"], change, tone, sparkline(values))


def _actions(overview: Overview) -> list[dict[str, str]]:
    """What to do now, with the section that tells more."""
    return [
        {
            "what": row["what"],
            "detail": "" if pd.isna(row["detail"]) else row["detail"],
            "severity": row["severity"],
            "section": _SECTION_OF[row["about"]],
        }
        for row in overview.actions.to_dict("records")
    ]
