"""Reports of a history: one page, or one for each tenant with a page that leads to them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from reach_analytics.measures.overview.overview import Overview
from reach_analytics.report._files import slug, write_whole
from reach_analytics.report._page.record import read_record
from reach_analytics.report.data import report_frames
from reach_analytics.report.page import SEVERITIES, asset, record_name, template, write_report

__all__ = ["write_page", "write_tenant_pages"]

_A_DAY = "24h"
_LONGEST_NAME = 60
_ORDER = ("critical", "unknown", "warning", "good")


class _Line(NamedTuple):
    """What the index tells of a tenant."""

    name: str
    page: str
    overview: Overview


def write_page(history: Any, path: Path, since: Any = None, as_json: bool = False) -> Path:
    """The report of a `History`, compared with an earlier moment: by default that of the report
    that it replaces, else a day before."""
    return _write(history, path, since, as_json)[0]


def write_tenant_pages(
    history: Any, directory: Path, since: Any = None, as_json: bool = False
) -> list[Path]:
    """A report for each tenant of a `History`, and ``index.html``, which leads to them, the tenants
    with the most urgent things to do first."""
    tenants = history.tenants()[["tenant_id", "tenant_name"]]
    taken: set[str] = {"index"}
    lines, pages = [], []
    for tenant, name in tenants.itertuples(index=False):
        file = _file_name(name, taken)
        page, overview = _write(
            history.filter(tenant=tenant), directory / f"{file}.html", since, as_json
        )
        lines.append(_Line(name, page.name, overview))
        pages.append(page)
    return [_write_index(lines, directory, history), *pages]


def _write(history: Any, path: Path, since: Any, as_json: bool) -> tuple[Path, Overview]:
    record = read_record(path, record_name(history.location, history.part))
    last = record.before(history.moment)
    before = None
    if since is None and last is not None:
        since, before = last.moment, last.figures
    frames = report_frames(history, _A_DAY if since is None else since, before)
    page = write_report(
        frames,
        path,
        record=record,
        missing=history.missing,
        part=history.part,
        as_json=as_json,
    )
    return page, frames["overview"]


def _file_name(name: str, taken: set[str]) -> str:
    """The tenant's name as that of a file that no other has."""
    plain = slug(name, "tenant", _LONGEST_NAME)
    own, number = plain, 1
    while own in taken:
        number += 1
        own = f"{plain}-{number}"
    taken.add(own)
    return own


def _write_index(lines: Iterable[_Line], directory: Path, history: Any) -> Path:
    ordered = sorted(lines, key=lambda line: (_ORDER.index(line.overview.severity), line.name))
    now = history.moment.tz_convert(history.timezone)
    page = template("index.html.j2").render(
        as_of=f"{now:%Y-%m-%d %H:%M %Z}",
        part=history.part,
        missing=history.missing,
        words=SEVERITIES,
        lines=[
            {
                "name": line.name,
                "page": line.page,
                "severity": line.overview.severity,
                "verdict": line.overview.verdict,
            }
            for line in ordered
        ],
        style=asset("_page/page.css"),
    )
    path = directory / "index.html"
    return write_whole(path, lambda draft: draft.write_text(page, encoding="utf-8"))
