"""What one record, missing key or batch is, told from what was observed of its tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.model import NEVER, moments
from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.measures.stories.batch import story_of_batch
from reach_analytics.measures.stories.known import Known
from reach_analytics.measures.stories.life import life_of_key, life_of_record
from reach_analytics.measures.stories.phrases import ago, at_time, dies, dying, listed, many, named
from reach_analytics.measures.stories.story import Step, Story, plain
from reach_analytics.measures.stories.trace import Trace, waiting_for
from reach_analytics.tables import RESOURCE_KEY

__all__ = ["tell"]

_FIRST, _LAST = 12, 3  # steps of a long chain that are shown
_SOME = 5  # names in a sentence
_MOST = 20  # stories that are told in full


def tell(known: Known) -> tuple[Story, ...]:
    """The story of each thing that has the name: records and missing keys, then batches."""
    stories = [_of_key(known, key) for key in _keys(known)[:_MOST]]
    own = known.batches[known.batches["batch_id"] == known.name]
    stories += [story_of_batch(known, row) for row in own.to_dict("records")]
    return tuple(stories)


def _keys(known: Known) -> list[tuple[str, ...]]:
    """(tenant_id, schema_definition_id, external_id) of the records and keys of that name, in the
    order of their names."""
    frames = [known.resources[RESOURCE_KEY], known.keys[RESOURCE_KEY]]
    seen = [
        (look["tenant_id"], one["schema_definition_id"], one["resource_external_id"])
        for look in known.looks
        for one in look["own"] or ()
    ]
    frames.append(pd.DataFrame(seen, columns=RESOURCE_KEY, dtype="str"))
    missed = [
        (look["tenant_id"], key["schema_definition_id"], key["external_id"])
        for look in known.looks
        for key in look["missed"] or ()
    ]
    frames.append(pd.DataFrame(missed, columns=RESOURCE_KEY, dtype="str"))
    of = known.batches.set_index(["tenant_id", "batch_id"])["schema_definition_id"]
    failed = [
        (row["tenant_id"], of.get((row["tenant_id"], row["batch_id"])), row["external_id"])
        for row in known.failed.to_dict("records")
    ]
    frames.append(pd.DataFrame(failed, columns=RESOURCE_KEY, dtype="str"))
    rows = pd.concat(frames).drop_duplicates().sort_values(RESOURCE_KEY)
    return [*rows.itertuples(index=False, name=None)]


def _is(rows: pd.DataFrame, key: Sequence[Any]) -> pd.Series:
    """Which rows are about a key; nulls are equal."""
    same = pd.Series(True, index=rows.index)
    for name, value in zip(RESOURCE_KEY, key, strict=True):
        same &= rows[name].isna() if pd.isna(value) else rows[name] == value
    return same


def _of_key(known: Known, key: tuple[str, ...]) -> Story:
    """The story of a record, or of what is missing."""
    tenant_id, schema_id, external_id = key
    waits = known.resources[_is(known.resources, key)]
    missing = known.keys[_is(known.keys, key)]
    schema = _schema_name(known, key, waits, missing)
    life = life_of_record(known.looks, key)
    about = "record" if life or len(waits) else "missing"
    if about == "missing":
        life = life_of_key(known.looks, key)
    title = f"{named(schema, external_id)} of {plain(known.tenant_name(tenant_id))}"
    values = {
        "tenant_id": tenant_id,
        "tenant_name": known.tenant_name(tenant_id),
        "schema_name": None if pd.isna(schema) else schema,
        "schema_definition_id": None if pd.isna(schema_id) else schema_id,
        "external_id": None if pd.isna(external_id) else external_id,
        "waits": [_wait_values(row, known.at) for row in waits.to_dict("records")],
    }
    sentences: list[str] = []
    steps: tuple[Step, ...] = ()
    if len(waits):
        own = waits["resource"].to_numpy(np.int64)
        trace = Trace.of(known.graph, known.missed_by(own))
        sentences += _of_waits(known, waits, stuck=bool(len(trace.circle)))
        told, freed = _way_out(known, trace, own)
        sentences += told
        values |= {"roots": known.names(trace.roots[:1000]), "roots_count": len(trace.roots)}
        values |= {"in_deadlock": known.names(trace.circle), "frees": freed}
        steps = _steps(known, trace)
    elif len(missing):
        number = int(missing["key"].iloc[0])
        sentences += _of_missing(known, number)
    if len(missing) and len(waits):
        sentences.append(_others(known, int(missing["key"].iloc[0])))
    if len(missing):
        values["waited_for_by"] = len(waiting_for(known.graph, int(missing["key"].iloc[0])))
    sentences += _of_the_past(known, key, bool(len(waits)), bool(len(missing)))
    return Story(about, title, tuple(sentences), steps, (), tuple(life), values)


def _schema_name(
    known: Known, key: tuple[str, ...], waits: pd.DataFrame, missing: pd.DataFrame
) -> Any:
    """The name of the key's schema, as anything observed has it."""
    said = [*waits["schema_name"], *missing["schema_name"]]
    for look in known.looks:
        said += [e["schema_name"] for e in look["own"] or () if e["schema_definition_id"] == key[1]]
        said += [
            e["schema_name"] for e in look["missed"] or () if e["schema_definition_id"] == key[1]
        ]
    own = known.batches[known.batches["schema_definition_id"] == key[1]]
    said += [*own["schema_name"]]
    return next((name for name in said if not pd.isna(name)), None)


def _of_waits(known: Known, waits: pd.DataFrame, *, stuck: bool) -> list[str]:
    """Since when it waits, what for, and when it dies."""
    told = []
    for row in waits.to_dict("records"):
        missed = known.missed_by(np.array([row["resource"]], np.int64))
        what = f"for {listed(known.names(missed[:_SOME]), len(missed))}"
        since, began = "", row["created_at"]
        if not pd.isna(began):
            since = f" since {at_time(began, known.at)} ({ago(known.at, began)})"
        told.append(
            f"A record of batch {plain(row['batch_id'])} that waits{since}"
            f"{' ' + what if len(missed) else ', though nothing is known to be missing'}."
        )
        told.append(dies(row["expires_at"], known.at, stuck=stuck or not len(missed)))
    return told


def _way_out(known: Known, trace: Trace, own: Ints) -> tuple[list[str], int]:
    """What to upload to free it, and what else that frees; or why nothing does."""
    graph, count = known.graph, int(trace.freed.sum())
    if trace.freed[own].all() and len(trace.roots):
        names = listed(known.names(trace.roots[:_SOME]), len(trace.roots))
        others = count - len(own)
        alone = "that frees it, and nothing else." if others <= 0 else _freed(known, trace, others)
        return [f"To free it, upload {names}: {alone}"], count
    if len(trace.circle):
        names = listed(known.names(trace.circle[:_SOME]), len(trace.circle))
        is_member = bool(np.isin(graph.brings[own], trace.circle).any())
        where = "It is in a deadlock" if is_member else "It waits on a deadlock"
        return [
            f"{where}, which nothing new ends: {names} wait for each other. Upload one of these "
            "again without its reference."
        ], count
    if graph.ready[own].all():
        return ["What it waits for is on its way: it should be released without an upload."], count
    return [], count


def _freed(known: Known, trace: Trace, others: int) -> str:
    """What else is freed, by schema."""
    rows = known.graph.names.resources(np.flatnonzero(trace.freed))
    kinds = rows["schema_name"].fillna("records").value_counts().head(3)
    parts = ", ".join(f"{n:,} {plain(schema)}" for schema, n in kinds.items())
    return f"that frees it and {many(others, 'other record')} ({parts})."


def _steps(known: Known, trace: Trace) -> tuple[Step, ...]:
    """What it waits for in turn, the middle of a long chain left out."""
    size = len(trace.keys)
    places = np.arange(size)
    if size > _FIRST + _LAST + 1:
        places = np.concatenate([places[:_FIRST], places[-_LAST:]])
    graph, keys = known.graph, trace.keys[places]
    expires = np.full(graph.key_count, NEVER)
    np.minimum.at(expires, graph.brings, graph.expires)
    times = moments(expires[keys])
    steps = []
    for name, key, distance, expiry in zip(
        known.names(keys), keys.tolist(), trace.distance[places].tolist(), times, strict=True
    ):
        what = "has to be uploaded"
        if not graph.is_root[key]:
            what = "waits itself" + (
                "" if pd.isna(expiry) else f", until {at_time(expiry, known.at)}"
            )
        if graph.on_cycle[key]:
            what += ", in a deadlock"
        steps.append(Step(distance, name, what))
    if len(places) < size:
        steps.insert(_FIRST, Step(None, f"… {size - len(places):,} more …", ""))
    return tuple(steps)


def _of_missing(known: Known, key: int) -> list[str]:
    """What waits for a missing key that nothing pending would bring."""
    graph = known.graph
    behind = waiting_for(graph, key)
    direct = int(graph.direct[key])
    told = ["It is missing, and nothing that waits would bring it: it has to be uploaded."]
    names = many(direct, "record") + (" names it" if direct == 1 else " name it")
    chain = len(behind) - direct
    further = f", and {chain:,} more wait in a chain" if chain > 0 else ""
    soonest = graph.expires[behind].min() if len(behind) else NEVER
    dies = ""
    if soonest != NEVER:
        at = moments(np.array([soonest])).iloc[0]
        dies = f"; the first of them {dying(at, known.at)}"
    told.append(f"{names} as missing{further}{dies}.")
    freed = graph.closure([key]) & ~graph.ready
    alone = int(freed.sum())
    if alone:
        told.append(f"Uploading it frees {many(alone, 'record')}.")
    if alone < len(behind):
        trace = Trace.of(graph, known.missed_by(behind))
        others = trace.roots[trace.roots != key]
        if len(others):
            names = listed(known.names(others[:_SOME]), len(others))
            told.append(f"The others wait for {names} as well.")
    return told


def _others(known: Known, key: int) -> str:
    behind = len(waiting_for(known.graph, key))
    return f"{many(behind, 'record')} in turn {'waits' if behind == 1 else 'wait'} for it."


def _of_the_past(
    known: Known, key: tuple[str, ...], is_waiting: bool, is_missing: bool
) -> list[str]:
    """How earlier waits of it ended, and what the batches' errors say of it."""
    told = []
    seen = {
        (look["tenant_id"], look["batch_id"], one["id"])
        for look in known.looks
        for one in look["own"] or ()
        if (look["tenant_id"], one["schema_definition_id"], one["resource_external_id"]) == key
    }
    now = known.resources[_is(known.resources, key)] if is_waiting else known.resources.head(0)
    over = len(seen) > len(now)
    if over:
        rows = known.outcomes()
        rows = rows[_is(rows, key) & ~rows["verdict"].isin(["pending", "censored"])]
        told += [_ended(row, known.at) for row in rows.sort_values("first_seen").to_dict("records")]
    schema = known.batches.set_index(["tenant_id", "batch_id"])["schema_definition_id"]
    for row in known.failed.to_dict("records"):
        batch = (row["tenant_id"], row["batch_id"])
        own = schema.get(batch)
        if row["tenant_id"] == key[0] and (own == key[1] or (pd.isna(own) and pd.isna(key[1]))):
            said = [plain(row[n]) for n in ("error_code", "error_message") if not pd.isna(row[n])]
            why = f": {': '.join(said)}" if said else ""
            told.append(f"Batch {plain(batch[1])} says that it failed{why}.")
    if not is_waiting and not is_missing and _was_missing(known, key):
        told.append("It was missing; as far as is known, nothing waits for it any longer.")
    return told


def _was_missing(known: Known, key: tuple[str, ...]) -> bool:
    return any(
        (look["tenant_id"], one["schema_definition_id"], one["external_id"]) == key
        for look in known.looks
        for one in look["missed"] or ()
    )


def _ended(row: dict[Any, Any], now: pd.Timestamp) -> str:
    """How a wait ended, as far as it is known."""
    began = row["first_seen"] if pd.isna(row["created_at"]) else row["created_at"]
    start = f"It waited in batch {plain(row['batch_id'])} from {at_time(began, now)}"
    what = (
        ""
        if pd.isna(row["root_external_id"])
        else f", for {plain(row['root_external_id'])} in the end"
    )
    span = f"between {at_time(row['ended_after'], now)} and {at_time(row['ended_by'], now)}"
    rule = f" (rule {row['rule']})"
    if row["verdict"] == "expired":
        return f"{start}{what}, and expired at {at_time(row['ended_by'], now)}{rule}."
    if row["verdict"] == "released":
        return f"{start}{what}, and was released {span}{rule}."
    return f"{start}{what}; its wait was over {span}, and nobody saw how."


def _wait_values(row: dict[Any, Any], now: pd.Timestamp) -> dict[str, Any]:
    since, until = row["created_at"], row["expires_at"]
    return {
        "batch_id": row["batch_id"],
        "pending_id": None if pd.isna(row["pending_id"]) else row["pending_id"],
        "since": None if pd.isna(since) else since.isoformat(),
        "expires_at": None if pd.isna(until) else until.isoformat(),
        "time_left": None if pd.isna(until) else (until - now).total_seconds(),
    }
