"""What a history holds: its tables, its moment, its names, and what was asked of it before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from reach_analytics import measures
from reach_analytics._progress import SlowBar
from reach_analytics._time import in_words, parse_timestamp
from reach_analytics.history._bar import named_on_a_bar
from reach_analytics.history._cache import FrameCache
from reach_analytics.history._catalog import NO_CATALOG, Catalog
from reach_analytics.history._filters import words_for
from reach_analytics.history._named import with_names
from reach_analytics.measures.changes.changes import Known
from reach_analytics.measures.waits.wait_outcomes import conventions_of
from reach_analytics.queries.sql import Sql
from reach_analytics.queries.tables import LazyTable, Tables
from reach_analytics.tables import (
    ARRIVALS,
    BATCH_KEY,
    BATCHES,
    DECLARED,
    SCHEMAS,
    TENANTS,
    Table,
)

if TYPE_CHECKING:
    from reach_analytics.measures._verdicts.endings import Endings
    from reach_analytics.queries.departed import Conventions
    from reach_analytics.store import Damage

_OF_BATCHES = ["tenant_id", "batch_id", "status", "created_at"]
_OF_BATCHES += ["successful_records", "failed_records"]
_SCHEMA = ["schema_definition_id", "schema_name"]

Length = str | pd.Timedelta


class State:
    """What all that a history can be asked rests on.

    The public methods of each class made of it show a bar with their name, and name the tenants and
    schemas in the frames that they give.
    """

    def __init_subclass__(cls) -> None:
        named_on_a_bar(with_names(cls))

    def __init__(
        self,
        tables: Tables,
        *,
        location: str = "",
        as_of: datetime | None = None,
        released_may_fail: bool = True,
        damages: tuple[Damage, ...] = (),
        bar: SlowBar | None = None,
        catalog: Catalog = NO_CATALOG,
        last_observation: pd.Timestamp | None = None,
        timezone: str = "UTC",
        versions: Mapping[str, int] | None = None,
    ) -> None:
        self._bar = SlowBar(shown=False) if bar is None else bar
        self._catalog = catalog
        self.tables = replace(tables, conventions=conventions_of("5s", None, released_may_fail))
        self.damages = damages
        self.location = location
        self.timezone = timezone
        self.versions = dict(versions or {})
        self.released_may_fail = released_may_fail
        self.as_of = None if as_of is None else parse_timestamp(as_of)
        self._cache = FrameCache(self.tables)
        if last_observation is not None:  # a part is of the moment of the whole
            vars(self)["last_observation"] = last_observation
        at_hand: dict[Table, Callable[[], pd.DataFrame]] = {
            TENANTS: partial(tenants_of, self.tables, catalog),
            SCHEMAS: partial(schemas_of, self.tables, catalog),
        }
        self._sql = Sql(self.tables, self._conventions(), at_hand, catalog.names_of)

    @cached_property
    def moment(self) -> pd.Timestamp:
        """The moment of this history: ``as_of``, or when the last observation was received.

        1970 if there was none.
        """
        if self.as_of is not None:
            return self.as_of
        return self.last_observation or parse_timestamp(datetime(1970, 1, 1))

    @cached_property
    def last_observation(self) -> pd.Timestamp | None:
        """When the last answer that counts had been received; None if there was none.

        It may lie well before ``as_of``: what happened since then is not known.
        """
        last = self.tables.read(self.tables.last_received)[0][0].as_py()
        return None if last is None else parse_timestamp(last)

    @property
    def longest_wait(self) -> pd.Timedelta:
        """The longest time that a record was ever given to wait; 0 if none ever waited."""
        return self._cache.longest_wait

    @property
    def missing(self) -> str:
        """What damaged files keep out of every answer, in a sentence; empty if none do."""
        from reach_analytics.store.damage import summary

        return summary(self.damages)

    @property
    def part(self) -> str:
        """What `filter` left, in words; empty for all of it."""
        part = self.tables.part
        ids = pd.Series([*(part.tenants or ())], dtype="str")
        return words_for(part, self._catalog.names_of(ids), self.timezone)

    @property
    def age(self) -> str:
        """When the last observation was, in words, and how long before ``as_of``."""
        if self.last_observation is None:
            return f"no observation {'yet' if self.as_of is None else 'before'}"
        last = self.last_observation.tz_convert(self.timezone)
        when = f"last observation at {last:%Y-%m-%d %H:%M:%S %Z}"
        if self.as_of is None:
            return when
        return f"{when}, {in_words(self.as_of - self.last_observation)} before"

    def _conventions(
        self,
        tolerance: Length = "5s",
        expired_counts_as_failed: bool | None = None,
        released_may_fail: bool | None = None,
    ) -> Conventions:
        if released_may_fail is None:
            released_may_fail = self.released_may_fail
        return conventions_of(tolerance, expired_counts_as_failed, released_may_fail)

    @cached_property
    def _declared(self) -> pd.DataFrame | None:
        """What the schemas of the catalog refer to, as `tables.DECLARED`; None without one."""
        schemas = self._catalog.schemas
        each = schemas.explode("references").rename(columns={"references": "references_schema"})
        return DECLARED.conform(each) if len(each) else None

    @cached_property
    def _known(self) -> Known:
        """What is compared with another moment."""
        return Known(
            self.moment,
            self._slim(self.tables.batches),
            self._bottlenecks,
            measures.deadlocks(self._cache.pending_graph),
        )

    def _slim(self, batches: LazyTable) -> pd.DataFrame:
        rows = self.tables.read(batches.select(*_OF_BATCHES))
        return BATCHES.only(_OF_BATCHES).to_pandas(rows)

    def _batches_of(self, others: pd.DataFrame) -> pd.DataFrame:
        """What is compared of the batches that are among others, whatever they were then."""
        every = self._slim((self.tables.whole or self.tables).batches)
        own = pd.MultiIndex.from_frame(every[BATCH_KEY])
        return every[own.isin(pd.MultiIndex.from_frame(others[BATCH_KEY]))]

    @cached_property
    def _of_whole(self) -> FrameCache:
        """The frames of what this is a part of; its own where it is none."""
        whole = self.tables.whole
        return self._cache if whole is None else FrameCache(whole)

    @cached_property
    def _schema_names(self) -> dict[str, str]:
        """The name of each schema that a batch, a missing dependency or the catalog names."""
        rows = pa.concat_tables(
            self.tables.read(names).select(_SCHEMA) for names in self.tables.schema_names
        )
        found = rows.to_pandas().dropna().sort_values(_SCHEMA).drop_duplicates(_SCHEMA[0])
        seen = dict(zip(found[_SCHEMA[0]], found[_SCHEMA[1]], strict=True))
        return seen | dict(self._catalog.schema_names)

    @cached_property
    def _endings(self) -> Endings:
        return self._cache.endings(self._conventions())

    @cached_property
    def _arrivals(self) -> pd.DataFrame:
        return self._cache.read(self.tables.arrivals(self._conventions()), ARRIVALS)

    @cached_property
    def _bottlenecks(self) -> pd.DataFrame:
        return measures.bottlenecks(self._cache.pending_graph)


def tenants_of(tables: Tables, catalog: Catalog) -> pd.DataFrame:
    """`tables.TENANTS` of what the tables are a part of, with names."""
    seen = tables.read(tables.tenant_ids)["tenant_id"].to_pandas()
    named = catalog.named(catalog.tenants(seen))
    if tables.part.tenants is not None:
        named = named[named["tenant_id"].isin(tables.part.tenants)]
    return named.sort_values([*TENANTS.order], ignore_index=True)


def schemas_of(tables: Tables, catalog: Catalog) -> pd.DataFrame:
    """`tables.SCHEMAS` of what the tables are a part of."""
    every, only = catalog.schemas, tables.part.schemas
    if only is None:
        return every.copy(deep=False)
    return every[every["schema_definition_id"].isin(only)].reset_index(drop=True)
