"""Stories as text, as HTML and as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

__all__ = ["Explanation", "Step", "Story", "plain"]


def plain(value: object) -> str:
    """Foreign text without control characters, which could move a terminal's cursor; a dash for
    null."""
    if not isinstance(value, str):
        return "–" if pd.isna(value) else str(value)  # type: ignore[call-overload]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


@dataclass(frozen=True)
class Step:
    """Something that is waited for: its distance, what it is called, and what it is.

    One without a distance stands for several that are left out.
    """

    distance: int | None
    name: str
    what: str

    def cells(self) -> tuple[str, ...]:
        """The same as texts."""
        return "" if self.distance is None else f"{self.distance}", self.name, self.what


@dataclass(frozen=True)
class Story:
    """What is known of one thing.

    Attributes
    ----------
    about : str
        ``record``, ``missing`` or ``batch``.
    title : str
        What it is called.
    sentences : tuple of str
        What it is, since when, what for, and what frees it.
    waits_for : tuple of Step
        What it waits for in turn.
    uploads : tuple of Step
        What to upload, in order, and what that frees.
    life : tuple of (moment, str)
        What was observed of it.
    values : dict
        Ids, times, counts, for programs.
    """

    about: str
    title: str
    sentences: tuple[str, ...]
    waits_for: tuple[Step, ...] = ()
    uploads: tuple[Step, ...] = ()
    life: tuple[tuple[pd.Timestamp, str], ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The story as lines of text."""
        lines = [self.title, *(f"  {sentence}" for sentence in self.sentences)]
        for heading, rows in self._tables():
            width = max(len(row[0]) for row in rows)
            lines += ["", f"  {heading}"]
            lines += [f"    {first:>{width}}  {'  '.join(others)}" for first, *others in rows]
        return lines

    def html(self) -> str:
        """The story as HTML, with foreign text made harmless."""
        parts = [f"<h4>{escape(self.title)}</h4>"]
        parts += [f"<p>{escape(sentence)}</p>" for sentence in self.sentences]
        for heading, rows in self._tables():
            left = ' style="text-align:left"'
            cells = ("".join(f"<td{left}>{escape(cell)}</td>" for cell in row) for row in rows)
            body = "".join(f"<tr>{row}</tr>" for row in cells)
            parts.append(
                f"<table><caption{left}>{escape(heading)}</caption><tbody>{body}</tbody></table>"
            )
        return "".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The story as plain values."""
        return {
            "about": self.about,
            "title": self.title,
            "sentences": [*self.sentences],
            **self.values,
            "waits_for": [vars(step) for step in self.waits_for],
            "uploads": [vars(step) for step in self.uploads],
            "life": [{"at": at.isoformat(), "what": what} for at, what in self.life],
        }

    def _tables(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        life = [(f"{at:%Y-%m-%d %H:%M:%S}", what) for at, what in self.life]
        every: list[tuple[str, list[tuple[str, ...]]]] = [
            ("Waits for", [step.cells() for step in self.waits_for]),
            ("Upload", [step.cells() for step in self.uploads]),
            ("Its life so far", [*life]),
        ]
        return [(heading, rows) for heading, rows in every if rows]


@dataclass(frozen=True)
class Explanation:
    """The stories of all that has a name.

    Attributes
    ----------
    name : str
        What was asked for.
    stories : tuple of Story
        Each thing of that name, or the first of many.
    count : int
        How many things have that name.
    """

    name: str
    stories: tuple[Story, ...]
    count: int

    @property
    def _several(self) -> str:
        """How many things there are, if several."""
        if self.count == 1:
            return ""
        first = f"; these are the first {len(self.stories)}"
        more = first if self.count > len(self.stories) else ""
        return f"{self.count} things are called {plain(self.name)}{more}."

    def __str__(self) -> str:
        told = ["\n".join(story.lines()) for story in self.stories]
        return "\n\n".join([self._several, *told] if self._several else told)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        told = "".join(story.html() for story in self.stories)
        several = f"<p>{escape(self._several)}</p>" if self._several else ""
        return f"<div>{several}{told}</div>"

    def to_dict(self) -> dict[str, Any]:
        """The stories as plain values, ready for JSON."""
        stories = [story.to_dict() for story in self.stories]
        return {"name": self.name, "count": self.count, "stories": stories}
