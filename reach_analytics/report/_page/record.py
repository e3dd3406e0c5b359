"""The figures of a report that the report keeps within itself, for the one that replaces it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reach_analytics.report._page.figures import script_safe

__all__ = ["LONGEST_LINE", "Entry", "Record", "read_record"]

LONGEST_LINE = 30  # reports whose figures are kept
_FORM = 1
_TAG = re.compile(r'<script type="application/json" id="reach-record">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """The key figures of one report: its moment, and figure → value."""

    moment: pd.Timestamp
    figures: dict[str, float]


@dataclass(frozen=True)
class Record:
    """The key figures of the last reports of one store and part, the latest last."""

    of: str
    entries: tuple[Entry, ...] = ()

    def before(self, moment: pd.Timestamp) -> Entry | None:
        """The last report of an earlier moment, if there is one."""
        earlier = [entry for entry in self.entries if entry.moment < moment]
        return earlier[-1] if earlier else None

    def with_entry(self, entry: Entry) -> Record:
        """The record with one more report, which replaces that of its moment."""
        kept = [known for known in self.entries if known.moment != entry.moment]
        ordered = sorted([*kept, entry], key=lambda one: one.moment)
        return Record(self.of, tuple(ordered[-LONGEST_LINE:]))

    def to_json(self) -> str:
        """The record as JSON between script tags."""
        line = [
            {"moment": entry.moment.isoformat(), "figures": entry.figures} for entry in self.entries
        ]
        return script_safe(json.dumps({"form": _FORM, "of": self.of, "reports": line}))


def read_record(path: Path, of: str) -> Record:
    """The record within a page; without entries if there is no page, or none of ``of``."""
    if not path.is_file():
        return Record(of)
    found = _TAG.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return Record(of)
    try:
        told = json.loads(found[1])
        if told["form"] != _FORM or told["of"] != of:
            return Record(of)
        return Record(of, tuple(_entry(one) for one in told["reports"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        # written by something else
        return Record(of)


def _entry(told: dict[str, Any]) -> Entry:
    moment = pd.Timestamp(told["moment"])
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    figures = {str(name): float(value) for name, value in told["figures"].items()}
    if not all(math.isfinite(value) for value in figures.values()):
        raise ValueError("a figure that is none")
    return Entry(moment, figures)
