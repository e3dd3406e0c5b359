"""How the waits of each departure and of each batch ended: what `measures.reconciliation` and the
measures of conventions and codes rest on."""

from __future__ import annotations

from collections.abc import Sequence

import ibis

__all__ = ["CERTAIN", "departure_counts", "ending_counts"]

CERTAIN = ("3", "4", "5a", "5b")
"""The rules of `measures.wait_outcomes` that rest on no count of the batches."""


def ending_counts(
    waits: ibis.Table, by: Sequence[str], observed: ibis.Table
) -> dict[str, ibis.Table]:
    """The counts, by what they are of: ``departures``, ``expired``, ``unknown`` and ``open``.

    Parameters
    ----------
    waits : ibis.Table
        As `tables.WAIT_OUTCOMES`.
    by
        The columns that name a batch.
    observed : ibis.Table
        ``by`` and observed_at, one row per batch: its last observation.
    """
    return {
        "departures": departure_counts(waits, by),
        "expired": _expired(waits, by),
        "unknown": _unknown(waits, by),
        "open": _open(waits, by, observed),
    }


def departure_counts(waits: ibis.Table, by: Sequence[str]) -> ibis.Table:
    """(by, departure, left, released, expired, certainly_released, certainly_expired): how many
    left at each departure, how they ended, and for how many of these no count was needed to tell.
    """
    gone = waits.filter(waits.departure.notnull())
    certain = gone.rule.isin(CERTAIN).fill_null(False)
    counts = {"left": gone.count()}
    for verdict in ("released", "expired"):
        ended = (gone.verdict == verdict).fill_null(False)
        counts[verdict] = ended.sum()
        counts[f"certainly_{verdict}"] = (ended & certain).sum()
    return gone.group_by([*by, "departure"]).aggregate(**counts)


def _expired(waits: ibis.Table, by: Sequence[str]) -> ibis.Table:
    """(by, rule, waits): how many expired by each rule."""
    expired = waits.filter((waits.verdict == "expired").fill_null(False) & waits.rule.notnull())
    return expired.group_by([*by, "rule"]).aggregate(waits=expired.count())


def _unknown(waits: ibis.Table, by: Sequence[str]) -> ibis.Table:
    """(by, least, most): of the waits of each batch whose end is unknown, how many expired."""
    unknown = waits.filter((waits.verdict == "unknown").fill_null(False))
    # Those that left together have the same bounds.
    each = unknown.group_by([*by, "departure"]).aggregate(
        together=unknown.unknown_together.max(),
        least=unknown.released_at_least.max(),
        most=unknown.released_at_most.max(),
    )
    return each.group_by(by).aggregate(
        least=(each.together - each.most).sum(), most=(each.together - each.least).sum()
    )


def _open(waits: ibis.Table, by: Sequence[str], observed: ibis.Table) -> ibis.Table:
    """(by, open, due): how many waits of each batch are not over, and how many of these were due by
    the batch's last observation."""
    left = waits.filter(waits.verdict.isin(["pending", "censored"]).fill_null(False))
    own = observed.rename({f"own_{name}": name for name in by})
    wide = left.left_join(own, [left[name].identical_to(own[f"own_{name}"]) for name in by])
    due = (wide.expires_at <= wide.observed_at).fill_null(False)
    return wide.group_by(by).aggregate(open=wide.count(), due=due.sum())
