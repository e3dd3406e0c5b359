"""How much slow tests try: a little where somebody waits for them, all with THOROUGH=1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import Phase

T = TypeVar("T")

THOROUGH = os.environ.get("THOROUGH") == "1"
UNSHRUNK = [phase for phase in Phase if phase is not Phase.shrink]
"""For examples of which each takes a second: to make one smaller would take many minutes."""

ROTATION = int(os.environ.get("ROTATION", "0"))
"""Which few of many cases are tried where not all are; the gate tries all."""


def examples(thorough: int) -> int:
    """How many examples Hypothesis tries."""
    return thorough if THOROUGH else max(5, thorough // 5)


def count(thorough: int, few: int) -> int:
    """How often something is tried that no library counts."""
    return thorough if THOROUGH else few


def some(cases: Sequence[T], few: int) -> list[T]:
    """All cases, or a few of them: others with another ``ROTATION``."""
    if THOROUGH or len(cases) <= few:
        return list(cases)
    start = ROTATION * few % len(cases)
    return [*cases[start:], *cases[:start]][:few]
