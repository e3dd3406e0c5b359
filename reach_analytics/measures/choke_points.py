"""Resources that wait themselves while much hangs on them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.columns import CHOKE_POINTS
from reach_analytics.measures.arrays import Ints
from reach_analytics.measures.clauses import Clauses, read_clauses
from reach_analytics.measures.dominators import Dominators
from reach_analytics.measures.reach import frees_itself, unlock


def choke_points(dependencies: pd.DataFrame, pending: pd.DataFrame | None = None) -> pd.DataFrame:
    """Keys in the middle of a chain, ordered by how much is freed if one of them is freed.

    ``force`` = pending resources released if one of the key's own is released by hand (uploaded
    anew without what it misses), itself included, beyond what is released anyway. For a key that
    one resource brings, and that is in no circle, that is its subtree of the dominator tree; what
    hangs directly above is the nearest key that all ways to it lead through (its immediate
    dominator): without that nothing frees it.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.

    Returns
    -------
    pandas.DataFrame
        One row per key that something waits for and something pending would bring: tenant_id,
        schema_definition_id, external_id, schema_name; waits (pending resources with this key),
        direct (that name it as missing), force, missing_count (dependencies that the easiest of
        its waits misses), above_schema_definition_id and above_external_id (null if there are
        several ways, or it is in a circle), in_cycle, expires_at (UTC, when the last of its waits
        is over). By force, then direct, descending. No rows if nothing waits in a chain.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    B and C need A, which needs X: freeing A frees all three.

    >>> import pandas as pd
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import choke_points
    >>> waits = columns.DEPENDENCIES.conform(pd.DataFrame([
    ...     {"tenant_id": "t", "batch_id": "b", "pending_id": one, "resource_external_id": one,
    ...      "schema_definition_id": "s", "missing_schema_definition_id": "s",
    ...      "missing_external_id": other}
    ...     for one, other in ("BA", "CA", "AX")
    ... ]))
    >>> print(choke_points(waits)[["external_id", "direct", "force", "above_external_id"]]
    ...       .to_string(index=False))
    external_id  direct  force above_external_id
              A       2      3                 X
    """
    clauses = read_clauses(dependencies, pending, "choke_points")
    chosen = np.flatnonzero((clauses.producers > 0) & (clauses.direct > 0))
    if not len(chosen):
        return CHOKE_POINTS.empty()
    above = Dominators.of(clauses.merged()[0]).above()
    keys = clauses.keys
    top = keys.reindex(above[chosen]).reset_index(drop=True)
    own = clauses.resources.assign(needs=clauses.needs).groupby(clauses.brings)
    table = keys.iloc[chosen].assign(
        waits=clauses.producers[chosen],
        direct=clauses.direct[chosen],
        force=_force(clauses)[chosen],
        missing_count=own["needs"].min().reindex(chosen).to_numpy(),
        above_schema_definition_id=top["schema_definition_id"].array,
        above_external_id=top["external_id"].array,
        in_cycle=clauses.on_cycle[chosen],
        expires_at=own["expires_at"].max().reindex(chosen).array,
    )
    names = ["tenant_id", "schema_definition_id", "external_id"]
    order = ["force", "direct", *names]
    return CHOKE_POINTS.conform(table.sort_values(order, ascending=[False] * 2 + [True] * 3))


def _force(clauses: Clauses) -> Ints:
    """What is released if one resource of each key is; 0 where that happens anyway."""
    by_key = unlock(clauses)
    ready = np.zeros(clauses.key_count, bool)
    ready[clauses.brings[clauses.ready]] = True
    # Its arrival releases what waits for it, and it is released itself besides, unless, in a
    # circle, that is among what its own arrival releases.
    itself = ~frees_itself(clauses)
    return np.where(ready, 0, by_key + itself)
