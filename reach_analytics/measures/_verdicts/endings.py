"""How many waits of each departure and batch ended how, counted by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from reach_analytics.queries.evidence import departure_counts_of_rows, ending_counts_of_rows
from reach_analytics.tables import BATCH_KEY, BATCHES, WAIT_OUTCOMES, Frame

_NEEDED = [*BATCH_KEY, "departure", "verdict", "rule", "expires_at"]
_NEEDED += ["unknown_together", "released_at_least", "released_at_most"]
_OF_DEPARTURES = [*BATCH_KEY, "departure", "verdict", "rule"]


@dataclass(frozen=True)
class Endings:
    """The counts of `queries.endings` as frames, by the names of the batches.

    Attributes
    ----------
    departures : pandas.DataFrame
        tenant_id, batch_id, departure; left, released, expired, and of the latter two those that
        are certain without any count: certainly_released, certainly_expired.
    expired : pandas.DataFrame
        tenant_id, batch_id, rule; waits.
    unknown : pandas.DataFrame
        tenant_id, batch_id; least, most (that expired).
    open : pandas.DataFrame
        tenant_id, batch_id; open, and of these due.
    """

    departures: pd.DataFrame
    expired: pd.DataFrame
    unknown: pd.DataFrame
    open: pd.DataFrame


def endings(counts: Mapping[str, pa.Table]) -> Endings:
    """The counts as frames."""
    return Endings(**{name: _frame(rows) for name, rows in counts.items()})


def endings_of_rows(wait_outcomes: Frame, batches: pd.DataFrame, caller: str) -> Endings:
    """The counts of a frame as `tables.WAIT_OUTCOMES`."""
    rows = WAIT_OUTCOMES.normalize(wait_outcomes, _NEEDED, caller)
    observed = batches[[*BATCH_KEY, "observed_at"]].drop_duplicates(BATCH_KEY)
    waits = WAIT_OUTCOMES.to_arrow(rows[_NEEDED])
    return endings(ending_counts_of_rows(waits, BATCHES.to_arrow(observed)))


def departures_of_rows(wait_outcomes: Frame, caller: str) -> pd.DataFrame:
    """`Endings.departures` of a frame as `tables.WAIT_OUTCOMES`."""
    rows = WAIT_OUTCOMES.normalize(wait_outcomes, _OF_DEPARTURES, caller)
    return _frame(departure_counts_of_rows(WAIT_OUTCOMES.to_arrow(rows[_OF_DEPARTURES])))


def certain(departures: pd.DataFrame) -> pd.DataFrame:
    """`Endings.departures` with those ends alone that are certain without any count."""
    names = ["released", "expired"]
    return departures.assign(**{name: departures[f"certainly_{name}"] for name in names})


def _frame(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas()
    return frame.astype({"tenant_id": "str", "batch_id": "str"})
