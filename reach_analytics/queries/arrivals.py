"""When each key that was ever missing came: what `measures.arrivals` gives."""

from __future__ import annotations

from collections.abc import Sequence

import ibis

from reach_analytics.queries.engine import Runner

__all__ = ["arrivals"]


def arrivals(links: ibis.Table, by: Sequence[str], run: Runner) -> ibis.Table:
    """One row per key: ``by``, and the columns of `tables.ARRIVALS` but for its names.

    Parameters
    ----------
    links : ibis.Table
        One row per (wait, key that it was ever seen to miss): ``by``, first_missing, last_missing,
        last_missing_by, there_by, missing_schema_name; and of the wait created_at, last_seen,
        verdict, ended_by.
    by
        The columns that name a key.
    """
    at_last = (links.last_missing >= links.last_seen).fill_null(False)
    released = (links.verdict == "released").fill_null(False)
    still = at_last & (links.verdict == "pending").fill_null(False)
    # A resource that was released had all that it last missed by then.
    proof = ibis.ifelse(at_last & released, links.ended_by, links.there_by)
    rows = run.keep(links.mutate(still=still, proof=proof))
    seen = rows.group_by(by).aggregate(
        schema_name=rows.missing_schema_name.min(),
        resources=rows.count(),
        created_at=rows.created_at.min(),
        first_seen=rows.first_missing.min(),
        last_seen=rows.last_missing.max(),
        last_by=rows.last_missing_by.max(),
        still=rows.still.any(),
    )
    last = seen.select(last_by="last_by", **{f"own_{name}": seen[name] for name in by})
    same = [rows[name].identical_to(last[f"own_{name}"]) for name in by]
    after = rows.inner_join(last, [*same, rows.proof > last.last_by])
    came = after.group_by(by).aggregate(ended_by=after.proof.min())
    came = came.rename({f"own_{name}": name for name in by})
    joined = seen.left_join(came, [seen[name].identical_to(came[f"own_{name}"]) for name in by])
    told = joined.select(*seen.columns, "ended_by")
    verdict = ibis.cases(
        (told.ended_by.notnull(), "arrived"), (told.still, "missing"), else_="censored"
    )
    return told.mutate(verdict=verdict, ended_after=told.last_seen).drop("last_by", "still")
