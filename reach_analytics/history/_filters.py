"""What `History.filter` is asked for, as a part of the tables: names found, spans as times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from itertools import chain
from typing import Any

import pandas as pd

from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.errors import UnknownNameError
from reach_analytics.measures.dependencies.what_if import Deliveries, Delivery
from reach_analytics.queries.part import Part

__all__ = ["Moment", "Names", "moment_of", "narrowed", "with_ids_of", "words_for"]

Names = str | Iterable[str] | None
Moment = str | datetime | timedelta | None


def narrowed(
    part: Part,
    tenants: pd.DataFrame,
    kinds: pd.DataFrame,
    now: pd.Timestamp,
    timezone: str,
    *,
    tenant: Names,
    schema: Names,
    batch_type: Names,
    status: Names,
    since: Moment,
    until: Moment,
) -> Part:
    """The part of ``part`` that is asked for.

    Parameters
    ----------
    part : Part
    tenants : pandas.DataFrame
        As ``history.tenants()``.
    kinds : pandas.DataFrame
        schema_definition_id, schema_name, batch_type, status: what there is.
    now : pandas.Timestamp
        What lengths of time are counted back from.
    timezone : str
        Whose a time without an offset is.
    """
    found = part
    if tenant is not None:
        names = ["tenant_id", "tenant_name", "external_id", "name"]
        places = [place for _, place in _matching(tenant, tenants, names, "tenant_name")]
        found = replace(found, tenants=_both(part.tenants, tenants.loc[places, "tenant_id"]))
    if schema is not None:
        matches = _matching(schema, kinds, ["schema_definition_id", "schema_name"], "schema_name")
        ids = kinds.loc[[place for _, place in matches], "schema_definition_id"].dropna()
        named = [place for column, place in matches if column == "schema_name"]
        names = kinds.loc[named, "schema_name"]  # of which some may come without an id
        found = replace(
            found, schemas=_both(part.schemas, ids), schema_names=_both(part.schema_names, names)
        )
    if batch_type is not None:
        own = _values(batch_type, kinds, "batch_type")
        found = replace(found, batch_types=_both(part.batch_types, own))
    if status is not None:
        own = _values(status, kinds, "status")
        found = replace(found, statuses=_both(part.statuses, own))
    begin = moment_of(since, "since", now, timezone)
    end = moment_of(until, "until", now, timezone)
    if begin is not None and end is not None and begin >= end:
        raise ValueError(f"since must be before until, found {begin} and {end}")
    return replace(
        found,
        since=max((one for one in (part.since, begin) if one is not None), default=None),
        until=min((one for one in (part.until, end) if one is not None), default=None),
    )


def with_ids_of(deliveries: Deliveries, tenants: pd.DataFrame, timezone: str) -> Deliveries:
    """Deliveries whose ``tenants`` may be named, and whose times may be without an offset, as those
    of ``timezone``; what is an id is no name."""
    ids = dict(zip(tenants["tenant_name"], tenants["tenant_id"], strict=True))
    ids |= {one: one for one in tenants["tenant_id"]}
    if isinstance(deliveries, pd.DataFrame):
        return deliveries

    def meant(key: Delivery) -> Delivery:
        return (ids.get(key[0], key[0]), *key[1:]) if _has_tenant(key) else key

    if isinstance(deliveries, Mapping):
        return {meant(key): _aware(time, timezone) for key, time in deliveries.items()}
    return [meant(key) for key in deliveries]


def _aware(time: Any, timezone: str) -> Any:
    """A time of a delivery with an offset; anything else as it is, so that the error shows it."""
    known = isinstance(time, str | datetime) and not pd.isna(time)
    return parse_timestamp(time, "a delivery's time", timezone) if known else time


def _has_tenant(key: object) -> bool:
    return isinstance(key, tuple) and len(key) == 3


def words_for(part: Part, tenants: pd.Series, timezone: str) -> str:
    """What the part is, for people; ``tenants`` are the names of its tenants."""
    told = []
    if part.tenants is not None:
        told.append(_several("tenant", tenants))
    if part.schemas is not None:
        told.append(_several("schema", part.schema_names or part.schemas))
    if part.batch_types is not None:
        told.append(_several("batch type", part.batch_types))
    if part.statuses is not None:
        told.append(_several("status", part.statuses))
    if part.since is not None or part.until is not None:
        spans = (("since", part.since), ("until", part.until))
        span = " ".join(
            f"{word} {pd.Timestamp(at).tz_convert(timezone):%Y-%m-%d %H:%M:%S %Z}"
            for word, at in spans
            if at is not None
        )
        told.append(f"{span} (batches by creation, observations by time, waits by overlap)")
    return "; ".join(told)


def _several(what: str, names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return f"{what} {', '.join(shown[:3])}{more}" if shown else f"no {what}"


def _both(known: Sequence[str] | None, found: pd.Series) -> tuple[str, ...]:
    """The values, each once; of those that counted before, if some did not."""
    values = dict.fromkeys(found)
    return tuple(one for one in values if known is None or one in known)


def _values(wanted: Iterable[str], kinds: pd.DataFrame, name: str) -> pd.Series:
    places = [place for _, place in _matching(wanted, kinds, [name], name)]
    found: pd.Series = kinds[name].loc[places]
    return found


def _matching(
    wanted: str | Iterable[str], table: pd.DataFrame, columns: list[str], shown: str
) -> list[tuple[str, Any]]:
    """The rows that have one of the wanted values in one of the columns, the first that has it, and
    which; in any case of letters where none is exactly so."""
    found: list[tuple[str, Any]] = []
    for one in _several_of(wanted):
        low = one.casefold()
        exact = ((name, table.index[table[name] == one]) for name in columns)
        near = ((name, table.index[table[name].str.casefold() == low]) for name in columns)
        match = next((each for each in chain(exact, near) if len(each[1])), None)
        if match is None:
            raise UnknownNameError(_unknown(one, table, columns, shown))
        found += [(match[0], row) for row in match[1]]
    return list(dict.fromkeys(found))


def _several_of(wanted: Any) -> list[str]:
    is_one = isinstance(wanted, str) or not isinstance(wanted, Iterable)
    values: list[str] = [wanted] if is_one else list(wanted)
    for one in values:
        if not isinstance(one, str):
            raise TypeError(f"a filter takes names or ids, found {one!r}")
    return values


def _unknown(name: str, table: pd.DataFrame, columns: list[str], shown: str) -> str:
    what = shown.removesuffix("_name").replace("_", " ")
    there = list(dict.fromkeys(table[shown].dropna()))
    every = [*(column for column in columns if column != shown), shown]
    lowered = {one.casefold(): one for column in every for one in table[column].dropna()}
    near = [lowered[one] for one in get_close_matches(name.casefold(), lowered, n=3, cutoff=0.5)]
    if near:
        return f"no {what} is called {name!r}; did you mean {' or '.join(map(repr, near))}?"
    some = ", ".join(map(repr, there[:10])) + (" …" if len(there) > 10 else "")
    return f"no {what} is called {name!r}; there are: {some or 'none'}"


def moment_of(value: Moment, name: str, now: pd.Timestamp, timezone: str) -> datetime | None:
    """A time, or one so long before ``now``, in UTC; without an offset it is of ``timezone``."""
    if value is None:
        return None
    if isinstance(value, datetime) or (isinstance(value, str) and value[4:5] == "-"):
        return parse_timestamp(value, name, timezone).to_pydatetime()
    return (now - parse_duration(value, name)).to_pydatetime()
