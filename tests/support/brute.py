"""The same quantities by brute force: repeat until nothing changes, count, compare."""

from __future__ import annotations

Pairs = list[tuple[str, frozenset[str]]]


def closure(pairs: Pairs, delivered: set[str], done: frozenset[int] = frozenset()) -> set[int]:
    """Numbers of the resources released once ``delivered`` is present and ``done`` are done."""
    present, released = set(delivered), set(done)
    while True:
        present |= {pairs[i][0] for i in released}
        new = {i for i, (_, missed) in enumerate(pairs) if missed <= present} - released
        if not new:
            return released
        released |= new


def reached(pairs: Pairs, key: str) -> set[int]:
    """Numbers of the resources that wait for ``key``, directly or in a chain."""
    keys, found = {key}, set()
    while True:
        new = {i for i, (_, missed) in enumerate(pairs) if missed & keys} - found
        if not new:
            return found
        found |= new
        keys |= {pairs[i][0] for i in new}


def bottlenecks(pairs: Pairs) -> dict[str, tuple[bool, int, int, int, int]]:
    """key → (is_root, direct, direct_sole, blocked, unlock)."""
    missing = sorted({key for _, missed in pairs for key in missed})
    anyway = closure(pairs, set())
    return {
        key: (
            all(own != key for own, _ in pairs),
            sum(key in missed for _, missed in pairs),
            sum(missed == {key} for _, missed in pairs),
            len(reached(pairs, key)),
            len(closure(pairs, {key}) - anyway),
        )
        for key in missing
    }
