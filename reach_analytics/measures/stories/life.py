"""What the observations of a batch show of one record, one missing key, or of itself, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from reach_analytics.measures.stories.known import Key, missing, owned
from reach_analytics.measures.stories.phrases import named
from reach_analytics.measures.stories.story import plain

__all__ = ["life_of_batch", "life_of_key", "life_of_record", "out_of_sight"]

Event = tuple[pd.Timestamp, str]
_FIRST, _LAST = 8, 6  # events of a long life that are shown


def life_of_record(looks: Sequence[dict[str, Any]], key: Key) -> list[Event]:
    """When a record was listed as waiting, for what, and when it was listed no longer."""
    events: list[Event] = []
    before: dict[tuple[Any, ...], tuple[str, ...]] = {}
    for look in _lists(looks, key):
        batch = look["batch_id"]
        here = {
            (batch, one["id"]): tuple(_keys(one["missing_dependencies"]))
            for one in owned(look, key)
        }
        events += [(look["sent_at"], _change(before.get(wait), here[wait])) for wait in here]
        gone = [wait for wait in before if wait[0] == batch and wait not in here]
        if look["complete"]:
            events += [(look["sent_at"], "listed no longer") for _ in gone]
            before = {wait: missed for wait, missed in before.items() if wait not in gone}
        before |= here
    return _shown([event for event in events if event[1]])


def _lists(looks: Sequence[dict[str, Any]], key: Key) -> Iterator[dict[str, Any]]:
    """The observations of a key's tenant that list what waits."""
    for look in looks:
        if look["tenant_id"] == key[0] and look["listed"] and look["scope"] == "detail":
            yield look


def out_of_sight(looks: Sequence[dict[str, Any]], key: Key) -> list[tuple[str, pd.Timestamp]]:
    """The batches whose last complete list names a key, or the last one that does, while later ones
    are not complete: (batch_id, when it was last named)."""
    last: dict[str, tuple[pd.Timestamp, bool]] = {}
    for look in _lists(looks, key):
        batch = look["batch_id"]
        if owned(look, key) or missing(look, key):
            last[batch] = (look["sent_at"], False)
        elif batch in last and look["complete"]:
            del last[batch]
        elif batch in last:
            last[batch] = (last[batch][0], True)
    return [(batch, at) for batch, (at, hidden) in last.items() if hidden]


def _change(before: tuple[str, ...] | None, after: tuple[str, ...]) -> str:
    """What an observation shows that the one before did not; empty for nothing."""
    if before is None:
        return f"listed as waiting for {', '.join(after) or 'nothing'}"
    came = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    parts = [f"{', '.join(came)} no longer missing"] if came else []
    parts += [f"{', '.join(new)} missing, too"] if new else []
    return "; ".join(parts)


def _keys(dependencies: Iterable[dict[str, Any]] | None) -> list[str]:
    return [named(one["schema_name"], one["external_id"]) for one in dependencies or ()]


def life_of_key(looks: Sequence[dict[str, Any]], key: Key) -> list[Event]:
    """When a key was missing, and in how many places."""
    events: list[Event] = []
    by_batch: dict[str, int] = {}
    for look in _lists(looks, key):
        missed = len(missing(look, key))
        before = sum(by_batch.values())
        if missed or look["complete"]:
            by_batch[look["batch_id"]] = missed
        after = sum(by_batch.values())
        if after != before:
            what = f"missed by {after:,}" if after else "missed no longer"
            events.append((look["sent_at"], what))
    return _shown(events)


def life_of_batch(looks: Sequence[dict[str, Any]], tenant_id: str, batch_id: str) -> list[Event]:
    """When the status or the counts of a batch were seen to change."""
    events: list[Event] = []
    last = None
    for look in looks:
        if (look["tenant_id"], look["batch_id"]) != (tenant_id, batch_id):
            continue
        names = ("total_records", "successful_records", "failed_records", "pending_records")
        total, good, bad, waiting = ("?" if look[n] is None else f"{look[n]:,}" for n in names)
        state = f"{plain(look['status'])}: {good} of {total} landed, {bad} failed, {waiting} wait"
        if state != last:
            events.append((look["sent_at"], state))
        last = state
    return _shown(events)


def _shown(events: list[Event]) -> list[Event]:
    """The events, the middle of many left out."""
    if len(events) <= _FIRST + _LAST + 1:
        return events
    left = events[_FIRST:-_LAST]
    return [*events[:_FIRST], (left[0][0], f"… {len(left):,} more …"), *events[-_LAST:]]
