"""When what was missing came: one row per dependency."""

from __future__ import annotations

import pandas as pd

from reach_analytics.columns import ARRIVALS, SPELL_DEPENDENCIES, WAITING
from reach_analytics.measures import evidence


def arrivals(waiting: pd.DataFrame, spell_dependencies: pd.DataFrame) -> pd.DataFrame:
    """Every dependency ever seen missing, and when it came: which are slow to arrive.

    One delivery may free a thousand resources, so it is the dependency that counts once here. It
    came after the last look that lists it as missing, and by the first proof after that: a
    resource released that missed it, or seen with it struck from its list. One that nobody waits
    for any more without such a proof (its resources expired, say) is ``censored``, not arrived. One
    without a whole key cannot be followed, and has no row.

    Parameters
    ----------
    waiting, spell_dependencies : pandas.DataFrame
        As from ``history.waiting()`` and ``history.spell_dependencies()``.

    Returns
    -------
    pandas.DataFrame
        tenant_id, schema_definition_id, external_id, schema_name; resources (ever seen to miss
        it); created_at (when the first of them began to wait), first_seen, last_seen (UTC);
        verdict (``arrived``, ``missing`` or ``censored``); ended_after, ended_by (UTC: it came in
        this interval, half open). The longest missing first. `survival` and `wait_times` take it.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import arrivals
    >>> len(arrivals(columns.WAITING.empty(), columns.SPELL_DEPENDENCIES.empty()))
    0
    """
    waiting = WAITING.require(waiting, WAITING.names, "arrivals")
    spell_dependencies = SPELL_DEPENDENCIES.require(
        spell_dependencies, SPELL_DEPENDENCIES.names, "arrivals"
    )
    spells = waiting.reset_index(drop=True)
    links = evidence.links(spells, spell_dependencies)
    links = links[links["named"]].reset_index(drop=True)
    key = links["key"]
    last = links["last_missing_by"].groupby(key).transform("max")
    proof = evidence.proof_times(links, spells)
    came = proof.where(proof > last).groupby(key).min()
    pending = (spells["verdict"] == "pending").to_numpy(bool)[links["spell"]]
    missed = pd.Series(pending & links["at_last"].to_numpy(bool), index=links.index)
    began = pd.Series(spells["created_at"].array[links["spell"]], index=links.index)
    table = links.groupby(key)[["tenant_id", "schema_definition_id", "external_id"]].head(1)
    table = table.set_index(key.loc[table.index]).sort_index()
    table = table.assign(
        schema_name=links.groupby(key)["schema_name"].first(),
        resources=links.groupby(key).size(),
        created_at=began.groupby(key).min(),
        first_seen=links["first_missing"].groupby(key).min(),
        last_seen=links["last_missing"].groupby(key).max(),
        ended_by=came,
        verdict="censored",
    )
    still = missed.groupby(key).any()
    table.loc[still[still].index, "verdict"] = "missing"
    table.loc[came[came.notna()].index, "verdict"] = "arrived"
    order = ["first_seen", "tenant_id", "schema_definition_id", "external_id"]
    return ARRIVALS.conform(table.assign(ended_after=table["last_seen"]).sort_values(order))
