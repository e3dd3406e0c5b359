"""What each wait depended on last, followed up the chain of waiting resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import numpy as np
import pyarrow as pa

from reach_analytics.queries.engine import Runner

if TYPE_CHECKING:
    from reach_analytics.queries.verdicts import Evidence

__all__ = ["roots"]

_WIDEST = 2**31  # more than waits depend on one key
_SHIFT = 2**31  # more keys than can be numbered


def roots(evidence: Evidence, links: ibis.Table, run: Runner) -> ibis.Table:
    """(wait, root) of the waits that depended on something: the number of a key.

    Of several dependencies the one that most waits depended on counts; ties go by name. What waits
    in a cycle depends on one of its members. Only numbers leave the engine: for each key that is
    itself a wait, the key that this depended on.
    """
    last = links.filter(links.at_last).select("wait", "key")
    width = run.keep(last.group_by("key").aggregate(width=last.count()))
    # The widest, then the first by name, as one number.
    wide = last.inner_join(width, "key").select("wait", "key", "width")
    ranked = wide.mutate(rank=(_WIDEST - wide.width) * _SHIFT + wide.key)
    choice = ranked.group_by("wait").aggregate(choice=ranked["rank"].min() % _SHIFT)
    choice = run.keep(choice)
    top = _followed(
        run.read(_steps(evidence, choice)), run.read(evidence.keys.key.max().as_table())
    )
    joined = choice.left_join(top, [choice.choice == top.key]).select("wait", "choice", "top")
    return run.keep(joined.select("wait", root=ibis.coalesce(joined.top, joined.choice)))


def _steps(evidence: Evidence, choice: ibis.Table) -> ibis.Table:
    """(key, above): for each key that is itself a wait, the key that this depended on."""
    waits = evidence.waits.select("wait", "tenant", "schema_definition_id", "external_id")
    keys = evidence.keys
    same = [
        waits.tenant == keys.tenant,
        waits.schema_definition_id.identical_to(keys.missing_schema_definition_id),
        waits.external_id.identical_to(keys.missing_external_id),
    ]
    own = waits.inner_join(keys, same).select("wait", "key")
    above = own.inner_join(choice, "wait").select("key", "choice")
    return above.group_by("key").aggregate(above=above.choice.min())


def _followed(steps: pa.Table, last: pa.Table) -> ibis.Table:
    """(key, top): for each key with a step up, where the steps lead to; of a cycle, the member that
    is the first by name."""
    count = (last[0][0].as_py() or 0) + 1
    key, step = (steps[name].to_numpy() for name in ("key", "above"))
    above, first = np.arange(count), np.arange(count)
    above[key] = step
    for _ in range(count.bit_length()):  # twice as far up each time
        first, above = np.minimum(first, first[above]), above[above]
    return ibis.memtable(pa.table({"key": pa.array(key, pa.int64()), "top": first[above[key]]}))
