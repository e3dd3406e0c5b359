"""An overview as text, as HTML and as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from reach_analytics._time import in_words
from reach_analytics.measures.overview.actions import actions_of
from reach_analytics.measures.overview.figures import key_figures
from reach_analytics.measures.overview.glance import Glance
from reach_analytics.measures.overview.verdict import sentences, severity
from reach_analytics.measures.stories.phrases import at_time

__all__ = [
    *("LABELS", "Overview", "change_in_words", "figure_in_words", "interval_in_words"),
    "overview_of",
]

LABELS = {
    "batches": "batches",
    "failed_batches": "failed batches",
    "settled_fraction": "of settled records succeeded",
    "waiting": "records wait",
    "expiring_soon": "expire within the hour",
    "lost": "records lost",
    "missing": "dependencies to deliver",
}
_MARKS = {"good": "✓", "warning": "!", "critical": "‼", "unknown": "?"}


@dataclass(frozen=True)
class Overview:
    """How it stands at a moment.

    Attributes
    ----------
    moment : pandas.Timestamp
    since : pandas.Timestamp or None
        The earlier moment that it is compared with.
    last_observation : pandas.Timestamp or None
    severity : str
        ``good``, ``warning``, ``critical``, or ``unknown`` where nobody can tell.
    sentences : tuple of str
        The verdict.
    figures : pandas.DataFrame
        `tables.KEY_FIGURES`: figure, value, low, high, before, meaning.
    actions : pandas.DataFrame
        `tables.ACTIONS`: about, severity, size, what, detail; the most urgent first.
    """

    moment: pd.Timestamp
    since: pd.Timestamp | None
    last_observation: pd.Timestamp | None
    severity: str
    sentences: tuple[str, ...]
    figures: pd.DataFrame
    actions: pd.DataFrame

    @property
    def verdict(self) -> str:
        """The sentences as one text."""
        return " ".join(self.sentences)

    def __str__(self) -> str:
        lines = [f"{_MARKS[self.severity]} {self.verdict}", f"  {self._when}", ""]
        shown = [(figure_in_words(row), _label(row), _beside(row)) for row in self._rows]
        width = max(len(value) for value, *_ in shown)
        lines += [
            f"  {value:>{width}}  {label}{f' ({beside})' if beside else ''}"
            for value, label, beside in shown
        ]
        if len(self.actions):
            lines += ["", "  Now:"]
            lines += [f"  - {told}" for told in self._told]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>"
            f'<td style="text-align:right"><b>{escape(figure_in_words(row))}</b></td>'
            f'<td style="text-align:left">{escape(_label(row))}</td>'
            f'<td style="text-align:left">{escape(_beside(row))}</td></tr>'
            for row in self._rows
        )
        told = "".join(f"<li>{escape(line)}</li>" for line in self._told)
        return (
            f"<div><p><b>{_MARKS[self.severity]} {escape(self.verdict)}</b><br>"
            f"{escape(self._when)}</p><table><tbody>{rows}</tbody></table>"
            f"{f'<ol>{told}</ol>' if told else ''}</div>"
        )

    def to_dict(self) -> dict[str, Any]:
        """The overview as plain values, ready for JSON."""
        times = {"moment": self.moment, "since": self.since}
        times["last_observation"] = self.last_observation
        return {
            **{name: None if at is None else at.isoformat() for name, at in times.items()},
            "severity": self.severity,
            "sentences": [*self.sentences],
            "figures": _plain_rows(self.figures),
            "actions": _plain_rows(self.actions),
        }

    @property
    def _rows(self) -> list[dict[str, Any]]:
        return [{str(k): v for k, v in row.items()} for row in self.figures.to_dict("records")]

    @property
    def _told(self) -> list[str]:
        rows = zip(self.actions["what"], self.actions["detail"], strict=True)
        return [what if pd.isna(detail) else f"{what} {detail}" for what, detail in rows]

    @property
    def _when(self) -> str:
        """Of when this is, and how much was known."""
        told = f"As of {at_time(self.moment, self.moment)}"
        if self.last_observation is not None:
            told += f", last observation {in_words(self.moment - self.last_observation)} before"
        if self.since is not None and self.figures["before"].notna().any():
            told += f"; changes since {at_time(self.since, self.moment)}"
        return told


def overview_of(glance: Glance) -> Overview:
    """The overview of what was known at a moment."""
    actions = actions_of(glance)
    degree = severity(glance, actions)
    return Overview(
        moment=glance.now,
        since=glance.since,
        last_observation=glance.last_observation,
        severity=degree,
        sentences=tuple(sentences(glance, degree)),
        figures=key_figures(glance),
        actions=actions,
    )


def figure_in_words(row: dict[str, Any]) -> str:
    """A key figure."""
    if pd.isna(row["value"]):
        return "–"
    if row["figure"] != "settled_fraction":
        return f"{row['value']:,.0f}"
    if row["value"] in (0, 1):
        return f"{row['value']:.0%}"
    return f"{min(max(row['value'], 0.001), 0.999):.1%}"  # only all and nothing are round


def interval_in_words(row: dict[str, Any]) -> str:
    """The 95 % interval of a key figure; empty if it has none."""
    return "" if pd.isna(row["low"]) else f"95 %: {row['low']:.1%}–{row['high']:.1%}"


def change_in_words(row: dict[str, Any]) -> str:
    """How much a key figure changed; empty where that is unknown."""
    if pd.isna(row["value"]) or pd.isna(row["before"]):
        return ""
    size = row["value"] - row["before"]
    if row["figure"] == "settled_fraction":
        return f"{size * 100:+.1f} points" if round(size * 100, 1) else "as before"
    return f"{size:+,.0f}" if size else "as before"


def _beside(row: dict[str, Any]) -> str:
    """The interval and the change of a key figure."""
    return "; ".join(filter(None, (interval_in_words(row), change_in_words(row))))


def _label(row: dict[str, Any]) -> str:
    return LABELS[row["figure"]]


def _plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(k): None if pd.isna(v) else v for k, v in row.items()}
        for row in frame.to_dict("records")
    ]
