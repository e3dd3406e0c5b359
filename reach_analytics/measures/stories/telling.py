"""What each record, missing key and batch of a name is, from what was observed of its tenant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.measures.stories.batch import story_of_batch
from reach_analytics.measures.stories.known import Key, Known, as_key, missing, owned, rows_of
from reach_analytics.measures.stories.lacking import of_missing, of_others
from reach_analytics.measures.stories.life import life_of_key, life_of_record
from reach_analytics.measures.stories.past import of_past
from reach_analytics.measures.stories.phrases import named
from reach_analytics.measures.stories.story import Explanation, Step, Story, plain
from reach_analytics.measures.stories.trace import Trace, waiting_for
from reach_analytics.measures.stories.waiting import of_waits, steps, values_of, way_out
from reach_analytics.tables import RESOURCE_KEY

__all__ = ["tell"]

_MOST = 20  # things that are told of
_ROOTS = 1_000  # roots that are named for programs


def tell(known: Known) -> Explanation:
    """The story of each thing that has the name: records and missing keys, then batches."""
    failed = _failed(known)
    keys = _keys(known, failed)
    own = known.batches[known.batches["batch_id"] == known.name]
    stories = [_of_key(known, key, failed.get(key, known.failed.head(0))) for key in keys[:_MOST]]
    batches = own.head(_MOST - len(stories)) if len(stories) < _MOST else own.head(0)
    stories += [story_of_batch(known, row) for row in batches.to_dict("records")]
    return Explanation(known.name, tuple(stories), len(keys) + len(own))


def _seen(known: Known) -> set[Key]:
    """The keys of that name that lists name."""
    found = set()
    for look in known.looks:
        found |= {
            (look["tenant_id"], one["schema_definition_id"], one["resource_external_id"])
            for one in look["own"] or ()
        }
        found |= {
            (look["tenant_id"], one["schema_definition_id"], one["external_id"])
            for one in look["missed"] or ()
        }
    for rows in (known.resources, known.keys):
        found |= {as_key(values) for values in rows[RESOURCE_KEY].itertuples(index=False)}
    return found


def _failed(known: Known) -> dict[Key, pd.DataFrame]:
    """What the error details say, by key: of the schema of the batch, or else of the only one in
    which that id was seen."""
    schemas = known.batches.set_index(["tenant_id", "batch_id"])["schema_definition_id"]
    seen, found = _seen(known), {}
    places: dict[Key, list[Any]] = {}
    for place, row in known.failed.iterrows():
        tenant, external_id = row["tenant_id"], row["external_id"]
        schema = schemas.get((tenant, row["batch_id"]))
        like = {key for key in seen if key[::2] == (tenant, external_id)}
        own = as_key((tenant, schema, external_id))
        key = like.pop() if own[1] is None and len(like) == 1 else own
        places.setdefault(key, []).append(place)
    for key, own_places in places.items():
        found[key] = known.failed.loc[own_places]
    return found


def _keys(known: Known, failed: dict[Key, pd.DataFrame]) -> list[Key]:
    """The records and missing keys of that name, in the order of their names."""
    every = _seen(known) | {*failed}
    return sorted(every, key=lambda key: [(one is None, one or "") for one in key])


def _of_key(known: Known, key: Key, failed: pd.DataFrame) -> Story:
    """The story of a record, or of what is missing."""
    tenant_id, schema_id, external_id = key
    waits, lacking = rows_of(known.resources, key), rows_of(known.keys, key)
    number = int(lacking["key"].iloc[0]) if len(lacking) else None
    schema = _schema_name(known, key)
    life = life_of_record(known.looks, key)
    about = "record" if life or len(waits) else "missing"
    if about == "missing":
        life = life_of_key(known.looks, key)
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "tenant_name": known.tenant_name(str(tenant_id)),
        "schema_name": schema,
        "schema_definition_id": schema_id,
        "external_id": external_id,
        "waits": [values_of(row, known.at) for row in waits.to_dict("records")],
    }
    told: list[str] = []
    shown: tuple[Step, ...] = ()
    if len(waits):
        own = waits["resource"].to_numpy(np.int64)
        trace = Trace.of(known.graph, known.missed_by(own))
        out, roots = way_out(known, trace, own)
        told = [*of_waits(known, waits), *out]
        told += [of_others(known, number)] if number is not None else []
        shown = steps(known, trace)
        values |= {"roots": known.values(roots[:_ROOTS]), "roots_count": len(roots)}
        values |= {"in_deadlock": known.values(trace.circle)}
        values["frees"] = int(trace.freed_by(roots).sum())
    elif number is not None:
        told = of_missing(known, key, number)
    if number is not None:
        values["waited_for_by"] = len(waiting_for(known.graph, number))
    told += of_past(known, key, failed, len(waits), number is not None)
    title = f"{named(schema, external_id)} of {plain(known.tenant_name(str(tenant_id)))}"
    return Story(about, title, tuple(told), shown, (), tuple(life), values)


def _schema_name(known: Known, key: Key) -> str | None:
    """The name of the key's schema, as anything observed has it."""
    said = [name for look in known.looks for name in _names(look, key)]
    for rows in (known.resources, known.keys):
        said += rows_of(rows, key)["schema_name"].tolist()
    own = known.batches[known.batches["schema_definition_id"] == key[1]]
    said += own["schema_name"].tolist()
    return next((name for name in said if not pd.isna(name)), None)


def _names(look: dict[str, Any], key: Key) -> list[Any]:
    return [one["schema_name"] for one in (*owned(look, key), *missing(look, key))]
