"""Graphs of what waits, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def graphs(draw, *, unique: bool = False) -> list[tuple[str, str]]:
    """Up to nine resources over eight keys, cycles and repeated keys included."""
    own = draw(st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=9, unique=unique))
    missed = st.frozensets(st.sampled_from("ABCDExyz"), min_size=1, max_size=4)
    return [(key, draw(missed)) for key in own]
