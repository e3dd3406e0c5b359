"""Small lines of a figure's last values."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["sparkline"]

_WIDTH, _HEIGHT = 96, 20


def sparkline(values: Sequence[float | None]) -> str:
    """The points of a line through the values, for an SVG of 96 by 20; empty for fewer than two."""
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    span = high - low or 1.0
    step = (_WIDTH - 4) / (len(values) - 1)
    return " ".join(
        f"{2 + place * step:.1f},{_HEIGHT - 2 - (_HEIGHT - 4) * (value - low) / span:.1f}"
        for place, value in known
    )
