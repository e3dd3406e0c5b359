"""What each wait depended on last, followed up the chain of waiting resources."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa

from reach_analytics.queries.engine import Runner

__all__ = ["roots"]

_WIDEST = 2**31  # more than waits depend on one key
_SHIFT = 2**31  # more keys than can be numbered


def roots(waits: ibis.Table, links: ibis.Table, keys: ibis.Table, run: Runner) -> ibis.Table:
    """(wait, root_schema_definition_id, root_external_id) of the waits that depended on something.

    Of several dependencies the one that most waits depended on counts; ties go by name. What waits
    in a cycle depends on one of its members. Only numbers leave the engine: for each key that is
    itself a wait, the key that this depended on.
    """
    last = links.filter(links.at_last)
    width = last.group_by("key").aggregate(width=last.count())
    # The widest, then the first by name, as one number.
    wide = last.inner_join(width, "key")
    ranked = wide.mutate(rank=(_WIDEST - wide.width) * _SHIFT + wide.key)
    choice = ranked.group_by("wait").aggregate(choice=ranked["rank"].min() % _SHIFT)
    choice = run.keep(choice)
    own = waits.select("wait", "tenant_id", "schema_definition_id", "resource_external_id")
    own = choice.inner_join(own, "wait").select("choice", *own.columns[1:])
    above = own.inner_join(
        keys,
        [
            own.tenant_id == keys.tenant_id,
            own.schema_definition_id.identical_to(keys.missing_schema_definition_id),
            own.resource_external_id.identical_to(keys.missing_external_id),
        ],
    )
    steps = above.group_by("key").aggregate(above=above.choice.min())
    top = _followed(run.read(steps), run.read(keys.count().as_table())[0][0].as_py())
    wide = choice.left_join(top, [choice.choice == top.key]).select("wait", "choice", "top")
    rooted = wide.mutate(root=ibis.coalesce(wide.top, wide.choice)).select("wait", "root")
    names = keys.select(
        root="key",
        root_schema_definition_id="missing_schema_definition_id",
        root_external_id="missing_external_id",
    )
    return rooted.inner_join(names, "root").drop("root")


def _followed(steps: pa.Table, count: int) -> ibis.Table:
    """(key, top): for each key with a step up, where the steps lead to; of a cycle, the member that
    is the first by name."""
    key, step = (steps[name].to_numpy() for name in ("key", "above"))
    above, first = np.arange(count), np.arange(count)
    above[key] = step
    for _ in range(count.bit_length()):  # twice as far up each time
        first, above = np.minimum(first, first[above]), above[above]
    return ibis.memtable(pa.table({"key": pa.array(key, pa.int64()), "top": first[above[key]]}))
