"""A part of a store: some tenants, schemas, kinds of batches, or a span of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import ibis

__all__ = ["WHOLE", "Part"]


@dataclass(frozen=True)
class Part:
    """What is left of the tables of a store; of what is None, everything.

    A row counts by what it is about: batches and observations by the schema, type, status and
    creation of the batch, waits by the schema of the resource. What became of a wait is judged by
    all that was observed.

    Attributes
    ----------
    tenants : tuple of str, optional
        Ids of tenants.
    schemas, schema_names : tuple of str, optional
        Schema definitions by id, and by name; a row that fits one of either counts.
    batch_types, statuses : tuple of str, optional
        Of batches, as they were last seen.
    since, until : datetime, optional
        Batches created, and observations sent, from the one on and before the other; waits that
        began before ``until``, or of which that is unknown, and were not seen gone before
        ``since``.
    """

    tenants: tuple[str, ...] | None = None
    schemas: tuple[str, ...] | None = None
    schema_names: tuple[str, ...] | None = None
    batch_types: tuple[str, ...] | None = None
    statuses: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def of_tenants(self, rows: ibis.Table) -> ibis.Table:
        """The rows of these tenants."""
        return rows if self.tenants is None else rows.filter(rows.tenant_id.isin(self.tenants))

    def of_schemas(self, rows: ibis.Table) -> ibis.Table:
        """The rows of these schemas."""
        if self.schemas is None:
            return rows
        by_id = rows.schema_definition_id.isin(self.schemas)
        by_name = rows.schema_name.isin(self.schema_names or ())
        return rows.filter(by_id.fill_null(False) | by_name.fill_null(False))

    @property
    def names_kinds(self) -> bool:
        """Whether only some types or statuses of batches count."""
        return self.batch_types is not None or self.statuses is not None

    def of_kinds(self, batches: ibis.Table) -> ibis.Table:
        """The batches of these types and statuses."""
        for name, values in (("batch_type", self.batch_types), ("status", self.statuses)):
            if values is not None:
                batches = batches.filter(batches[name].isin(values))
        return batches

    def in_time(self, rows: ibis.Table, time: str) -> ibis.Table:
        """The rows whose time lies in the span; a row without one lies in none."""
        if self.since is not None:
            rows = rows.filter(rows[time] >= _moment(self.since, rows[time]))
        if self.until is not None:
            rows = rows.filter(rows[time] < _moment(self.until, rows[time]))
        return rows

    def begun(self, waits: ibis.Table) -> ibis.Table:
        """The waits, of which some go on, that began before the span ends."""
        if self.until is None:
            return waits
        began = waits.created_at
        return waits.filter(began.isnull() | (began < _moment(self.until, began)))

    def overlapping(self, waits: ibis.Table) -> ibis.Table:
        """The waits that overlap the span."""
        waits = self.begun(waits)
        if self.since is not None:
            gone = waits.gone_by
            waits = waits.filter(gone.isnull() | (gone >= _moment(self.since, gone)))
        return waits

    @property
    def splits_tenants(self) -> bool:
        """Whether something of a tenant counts and something else of it does not."""
        others = (self.schemas, self.batch_types, self.statuses, self.since, self.until)
        return any(other is not None for other in others)


WHOLE = Part()
"""Everything."""


def _moment(moment: datetime, like: ibis.Value) -> ibis.Value:
    return ibis.literal(moment, type=like.type())
