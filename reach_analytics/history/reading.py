"""The frames of a history, read once."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from reach_analytics._time import parse_timestamp
from reach_analytics.columns import (
    BATCHES,
    BOOL,
    DEPARTURES,
    DEPENDENCIES,
    INT,
    LOOKS,
    PENDING,
    POLLS,
    SPELL_DEPENDENCIES,
    SPELLS,
    STRING,
    Table,
)
from reach_analytics.frames import Tables

if TYPE_CHECKING:
    import ibis

    from reach_analytics.store import Damage


class Frames:
    """What is read of a store: the documented frames, each once, all of one moment.

    Attributes
    ----------
    tables : Tables
        The frames as lazy Ibis tables.
    as_of : pandas.Timestamp or None
        Looks received after it do not count.
    location : str
        Where the store is.
    released_may_fail : bool
        Whether a released record may fail its validation, as `waiting` takes it.
    damages : tuple of store.Damage
        Damaged files that are left out; what they held is missing from every answer.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        location: str = "",
        as_of: datetime | None = None,
        released_may_fail: bool = True,
        damages: tuple[Damage, ...] = (),
    ) -> None:
        self.tables = tables
        self.damages = damages
        self.location = location
        self.released_may_fail = released_may_fail
        self.as_of = None if as_of is None else parse_timestamp(as_of)

    def batches(self) -> pd.DataFrame:
        """One row per batch: its last successful look, oldest batch first."""
        return self._batches.copy(deep=False)

    def looks(self, batch_id: str | None = None) -> pd.DataFrame:
        """One row per look, failed looks included, in the order they were sent.

        Parameters
        ----------
        batch_id : str, optional
            Only the looks at this batch.
        """
        if batch_id is None:
            return self._looks.copy(deep=False)
        table = self.tables.looks
        return _in_order(self._read(table.filter(table.batch_id == batch_id), LOOKS))

    def polls(self) -> pd.DataFrame:
        """One row per look, also those that the store keeps folded into another one, slim."""
        texts = {column.name: column.dtype for column in POLLS.columns if column.type == STRING}
        return _in_order(self._polls.astype(texts))

    def pending(self) -> pd.DataFrame:
        """One row per (batch, pending resource), from each batch's last look with details."""
        return self._pending.copy(deep=False)

    def dependencies(self) -> pd.DataFrame:
        """One row per (batch, pending resource, missing dependency), from the same looks."""
        return self._dependencies.copy(deep=False)

    def spells(self) -> pd.DataFrame:
        """One row per (batch, pending resource) ever seen: when it was there, and when gone."""
        order = ["tenant_id", "batch_id", "first_seen", "pending_id"]
        return self._spells.sort_values(order, ignore_index=True)

    def spell_dependencies(self) -> pd.DataFrame:
        """One row per (batch, pending resource, dependency that it was ever seen to miss)."""
        return self._spell_dependencies.copy(deep=False)

    def departures(self) -> pd.DataFrame:
        """One row per look without waits that earlier ones list, with what its batch counted."""
        return self._departures.copy(deep=False)

    @property
    def missing(self) -> str:
        """What damaged files keep out of every answer, in a sentence; empty if none do."""
        from reach_analytics.store.damage import summary

        return summary(self.damages)

    @cached_property
    def moment(self) -> pd.Timestamp:
        """The moment this history tells of: ``as_of``, or when the last look was received.

        1970 if there was none.
        """
        if self.as_of is not None:
            return self.as_of
        return self.last_look or parse_timestamp(datetime(1970, 1, 1))

    @cached_property
    def last_look(self) -> pd.Timestamp | None:
        """When the last answer that counts had been received; None if there was none.

        With ``as_of`` it may lie well before it: what happened since then is not known.
        """
        last = self.tables.read(self.tables.last_received)[0][0].as_py()
        return None if last is None else parse_timestamp(last)

    @cached_property
    def _longest_wait(self) -> pd.Timedelta:
        """The longest time that a pending resource was given; 0 if none ever waited."""
        [found] = self.tables.read(self.tables.longest_wait)[0].to_pylist()
        return pd.Timedelta(found or 0, unit="s")

    @cached_property
    def _batches(self) -> pd.DataFrame:
        frame = self._read(self.tables.batches, BATCHES)
        return frame.sort_values(["created_at", "tenant_id", "batch_id"], ignore_index=True)

    @cached_property
    def _looks(self) -> pd.DataFrame:
        return _in_order(self._read(self.tables.looks, LOOKS))

    @cached_property
    def _polls(self) -> pd.DataFrame:
        """The polls with their texts as categories: of millions of looks, few texts differ."""
        rows = self.tables.read(self.tables.polls).select(POLLS.names).cast(POLLS.schema)
        for place, column in enumerate(POLLS.columns):
            if column.type == STRING:
                rows = rows.set_column(place, column.name, rows[place].dictionary_encode())
        nullable = {INT: pd.Int64Dtype(), BOOL: pd.BooleanDtype()}
        frame: pd.DataFrame = rows.to_pandas(
            types_mapper=nullable.get, split_blocks=True, self_destruct=True
        )
        return frame.astype({"ok": "bool"})

    @cached_property
    def _pending(self) -> pd.DataFrame:
        return self._read(self.tables.pending, PENDING)

    @cached_property
    def _dependencies(self) -> pd.DataFrame:
        return self._read(self.tables.dependencies, DEPENDENCIES)

    @cached_property
    def _spells(self) -> pd.DataFrame:
        return self._read(self.tables.spells, SPELLS)  # in no order: sorting costs a second

    @cached_property
    def _spell_dependencies(self) -> pd.DataFrame:
        return self._read(self.tables.spell_dependencies, SPELL_DEPENDENCIES)

    @cached_property
    def _departures(self) -> pd.DataFrame:
        frame = self._read(self.tables.departures, DEPARTURES)
        return frame.sort_values(list(DEPARTURES.key), ignore_index=True)

    def _read(self, table: ibis.Table, kind: Table) -> pd.DataFrame:
        return kind.to_pandas(self.tables.read(table))


def _in_order(looks: pd.DataFrame) -> pd.DataFrame:
    return looks.sort_values(["sent_at", "tenant_id", "batch_id", "scope"], ignore_index=True)
