"""SQL over the documented tables: the rows that a query names go to an engine behind a wall."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from reach_analytics.errors import QueryError
from reach_analytics.queries.statement import named_in
from reach_analytics.queries.walled import Walled, walled
from reach_analytics.tables import TENANT_NAME, Table, shown

if TYPE_CHECKING:
    from reach_analytics.queries.departed import Conventions
    from reach_analytics.queries.tables import Tables

__all__ = ["Sql"]


class Sql:
    """Answers SQL queries over the documented tables, one at a time.

    Parameters
    ----------
    tables : Tables
        Where their rows come from; only of those that a query names.
    conventions : Conventions
        By these the waits are judged.
    at_hand : mapping
        More tables, and how to get the frame of each.
    names_of : callable
        What to call the tenants of these ids.
    """

    def __init__(
        self,
        tables: Tables,
        conventions: Conventions,
        at_hand: Mapping[Table, Callable[[], pd.DataFrame]],
        names_of: Callable[[pd.Series], pd.Series],
    ) -> None:
        documented = tables.documented(conventions)
        self._lazy = {kind.name: lazy for kind, lazy in documented.items()}
        self._at_hand = {kind.name: frame for kind, frame in at_hand.items()}
        self._names_of = names_of
        kinds = (*documented, *at_hand)
        self._kinds = {kind.name: replace(kind, columns=shown(kind)) for kind in kinds}
        self._any, self._run = tables.stored_observations, tables.run
        self._lock = threading.Lock()  # two at a time would share out the memory twice

    def answer(self, query: str) -> pa.Table:
        """The rows that a query gives, in its order.

        Raises
        ------
        QueryError
            If it cannot be run, or does anything but read the tables.
        """
        if not isinstance(query, str):
            raise TypeError(f"sql takes a query as a str, found {type(query).__name__}")
        with self._lock, walled(self._any.get_backend()) as wall:
            text, tree = wall.parse(query)
            named = named_in(tree, self._kinds)
            needed = {name: named.columns(self._kinds[name].names) for name in named.tables}
            # What is wrong with the query is said before anything is computed.
            for name, columns in self._sufficient(wall, text, needed).items():
                self._fill(wall, self._kinds[name].only(columns))
            return self._run.ask(wall, lambda: wall.answer(text))

    def _sufficient(
        self, wall: Walled, query: str, needed: dict[str, list[str]]
    ) -> dict[str, list[str]]:
        """The columns that are needed; all, if without others the query would mean another."""
        whole = {name: self._kinds[name].names for name in needed}
        self._prepare(wall, whole)
        shape = wall.shape(query)
        self._prepare(wall, needed)
        try:
            return needed if wall.shape(query) == shape else whole
        except QueryError:
            return whole

    def _prepare(self, wall: Walled, needed: Mapping[str, list[str]]) -> None:
        for name, columns in needed.items():
            wall.hold(name, self._kinds[name].only(columns).schema.empty_table())

    def _fill(self, wall: Walled, kind: Table) -> None:
        for number, rows in enumerate(self._rows(kind)):
            self._hold(wall, kind.name, rows, add=number > 0)

    def _rows(self, kind: Table) -> Iterator[pa.Table]:
        """The rows of a table, some at a time, with the columns of ``kind``."""
        if kind.name in self._at_hand:
            yield kind.to_arrow(self._at_hand[kind.name]())
            return
        with_name = TENANT_NAME.name in kind.names
        asked = dict.fromkeys([*kind.names, *(["tenant_id"] if with_name else [])])
        asked.pop(TENANT_NAME.name, None)
        for rows in self._run.stream(self._lazy[kind.name]().select(*asked)):
            if with_name:
                names = self._names_of(rows["tenant_id"].to_pandas())
                rows = rows.append_column(TENANT_NAME.name, pa.array(names, pa.string()))
            yield rows.select(kind.names).cast(kind.schema)

    def _hold(self, wall: Walled, name: str, rows: pa.Table, *, add: bool) -> None:
        self._run.ask(wall, lambda: wall.hold(name, rows, add=add))
