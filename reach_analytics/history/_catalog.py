"""The names of tenants and schemas, beside their ids in every frame."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from reach_analytics.errors import StoreError
from reach_analytics.tables import (
    CATALOG,
    SCHEMAS,
    STORED_SCHEMAS,
    STORED_TENANTS,
    TENANT_NAME,
    TENANTS,
    Table,
)

_UUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_SHORT = 8  # characters of an id that tell equal names apart, where they do


class Catalog:
    """What was said of tenants and schema definitions up to a moment.

    Of one that was not known by then, what was said first counts: a name is what people call it.

    Parameters
    ----------
    read : callable
        The rows of a stored table of the catalog, which are read at once: what is said later is of
        another moment.
    as_of : pandas.Timestamp, optional
        The moment; what was said last counts without it.
    """

    def __init__(self, read: Callable[[Table], pa.Table], as_of: pd.Timestamp | None) -> None:
        self._as_of = as_of
        self._stored = {table: _rows(table, read) for table in CATALOG}

    def tenants(self, seen: pd.Series) -> pd.DataFrame:
        """`tables.TENANTS` of those that were named, and those ``seen``, by id."""
        others = pd.DataFrame({"tenant_id": seen[~seen.isin(self._tenants["tenant_id"])]})
        return TENANTS.conform(pd.concat([self._tenants, others], ignore_index=True))

    @cached_property
    def schemas(self) -> pd.DataFrame:
        """`tables.SCHEMAS`."""
        return SCHEMAS.conform(SCHEMAS.in_order(self._known(STORED_SCHEMAS, SCHEMAS)))

    @cached_property
    def tenant_names(self) -> Mapping[str, str]:
        """What to call each tenant of the catalog; no two alike."""
        rows = self._tenants.set_index("tenant_id")
        ids = rows.index.to_series()
        names = _filled(rows["name"]).fillna(_filled(rows["external_id"])).fillna(ids)
        found = names
        for other in (names + " (" + ids.str[:_SHORT] + ")", names + " (" + ids + ")", ids):
            # An id may look like another's name, also one that the catalog does not have.
            looks_so = found.isin(ids) | found.str.fullmatch(_UUID)
            alike = found.duplicated(keep=False) | (looks_so & (found != ids))
            found = found.where(~alike | (found == ids), other)
        return dict(found)

    @cached_property
    def schema_names(self) -> Mapping[str, str]:
        """The name of each schema definition that has one."""
        rows = self._known(STORED_SCHEMAS, SCHEMAS)
        names = dict(zip(rows["schema_definition_id"], _filled(rows["schema_name"]), strict=True))
        return {one: name for one, name in names.items() if pd.notna(name)}

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with its tenants' names first, and the names of schemas that had none."""
        shown = frame
        for role in ("", "missing_"):
            name, own = f"{role}schema_name", f"{role}schema_definition_id"
            if self.schema_names and {name, own} <= {*frame.columns} and frame[name].hasnans:
                found = _labels(frame[own], self.schema_names)
                shown = shown.assign(**{name: shown[name].fillna(found)})
        if "tenant_id" not in frame.columns or TENANT_NAME.name in frame.columns:
            return shown
        shown = shown.copy(deep=False)
        shown.insert(0, TENANT_NAME.name, self.names_of(frame["tenant_id"]))
        return shown

    def names_of(self, tenant_ids: pd.Series) -> pd.Series:
        """What to call these tenants: one without a name by its id."""
        return _labels(tenant_ids, self.tenant_names, or_itself=True)

    @cached_property
    def _tenants(self) -> pd.DataFrame:
        return self._known(STORED_TENANTS, TENANTS)

    def _known(self, stored: Table, shown: Table) -> pd.DataFrame:
        """The row of each id that counts at the moment."""
        one, since = stored.key
        rows = self._stored[stored].sort_values(since, kind="stable")
        if self._as_of is not None:
            by_then = rows[rows[since] <= self._as_of]
            first = rows[~rows[one].isin(by_then[one])].drop_duplicates(one)
            rows = pd.concat([first, by_then])
        return shown.conform(rows.drop_duplicates(one, keep="last"))


def _rows(table: Table, read: Callable[[Table], pa.Table]) -> pd.DataFrame:
    try:
        return table.to_pandas(read(table))
    except StoreError as error:
        warnings.warn(f"ids are shown in place of names: {error}", stacklevel=4)
        return table.empty()


def _filled(names: pd.Series) -> pd.Series:
    """Names, null where there is nothing to be seen."""
    return names.where(names.str.strip() != "")


def _labels(ids: pd.Series, names: Mapping[str, str], *, or_itself: bool = False) -> pd.Series:
    """The name of each id, looked up once for each that differs."""
    number, different = pd.factorize(ids)
    found = [names.get(one, one if or_itself else None) for one in different]
    # The last one stands for nulls, whose number is -1.
    every = pd.array(np.array([*found, None], object), dtype="str")
    return pd.Series(every.take(number), index=ids.index)


NO_CATALOG = Catalog(lambda table: table.schema.empty_table(), None)
"""The catalog of tables without one."""
