"""Pending resources and what they miss, as a graph of numbers that the measures share.

Each pending resource is a Horn clause: once all its missing dependencies are present, it is
released, and its own key is present for others. Two pending resources with one key make that key an
OR: either brings it. The graph has a node for each key and each resource, and edges key → resource
("waits for") and resource → key ("brings"). Nothing crosses tenants, since a key holds its tenant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd

from reach_analytics.measures._shared.arrays import (
    Flags,
    Ints,
    alike,
    components,
    counted,
    distinct,
    grouped,
    offsets_of,
    ranges,
)
from reach_analytics.tables import DEPENDENCIES, PENDING, RESOURCE_KEY, Frame, as_utc

_MISSING_KEY = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
_RESOURCE = ["tenant_id", "batch_id", "pending_id", *RESOURCE_KEY[1:]]
_SHOWN = [*_RESOURCE, "schema_name", "expires_at"]
# The column that tells most rows apart goes first: then the others need no numbers of their own.
_APART = ["pending_id", "external_id", "batch_id", "tenant_id", "schema_definition_id"]
_KEY_APART = RESOURCE_KEY[::-1]


NEVER = np.iinfo(np.int64).max
"""The expiry of what has none."""


class Names(Protocol):
    """What names the keys and resources of a graph."""

    def keys(self, rows: Ints | None = None) -> pd.DataFrame:
        """tenant_id, schema_definition_id, external_id and schema_name of these keys, by number;
        all by default."""
        ...

    def resources(self, rows: Ints | None = None) -> pd.DataFrame:
        """The identifying columns, schema_name and expires_at of these pending resources, by
        number; all by default."""
        ...

    def places(self) -> Ints:
        """The place by name of each key that something misses, among these."""
        ...


@dataclass(frozen=True)
class PendingGraph:
    """The graph of one moment.

    Attributes
    ----------
    names : Names
        What names the keys and resources.
    key_count, resource_count : int
        How many there are. Keys that nothing misses and one resource brings may have a number each.
    edge_key, edge_resource : int arrays
        The distinct (missing key, waiting resource) pairs; ordered by resource, then key.
    brings : int array
        For each resource, its own key.
    kind : int array
        For each resource, a number of its tenant and schema.
    expires : int array
        When each resource expires, in microseconds since 1970; `NEVER` for those without an expiry.
    """

    names: Names
    key_count: int
    resource_count: int
    edge_key: Ints
    edge_resource: Ints
    brings: Ints
    kind: Ints
    expires: Ints

    @cached_property
    def needs(self) -> Ints:
        """How many keys each resource misses."""
        return np.bincount(self.edge_resource, minlength=self.resource_count)

    @cached_property
    def producers(self) -> Ints:
        """How many pending resources would bring each key."""
        return np.bincount(self.brings, minlength=self.key_count)

    @cached_property
    def direct(self) -> Ints:
        """How many pending resources name each key as missing."""
        return np.bincount(self.edge_key, minlength=self.key_count)

    @cached_property
    def is_root(self) -> Flags:
        """Keys that something misses and nothing pending would bring."""
        return np.asarray((self.producers == 0) & (self.direct > 0))

    @cached_property
    def dependents(self) -> tuple[Ints, Ints]:
        """Resources that miss each key, as (offsets, rows): those of key k are
        ``rows[offsets[k]:offsets[k + 1]]``."""
        offsets, edges = grouped(self.edge_key, self.key_count)
        return offsets, self.edge_resource[edges]

    @cached_property
    def inner(self) -> Flags:
        """Resources that bring a key which others wait for."""
        return np.asarray(self.direct[self.brings] > 0)

    @cached_property
    def key_edges(self) -> tuple[Ints, Ints]:
        """The keys that inner resources miss and the ones that they bring, as (sources, targets):
        chains of more than one link lead along these only."""
        inner = self.inner[self.edge_resource]
        return self.edge_key[inner], self.brings[self.edge_resource[inner]]

    def closure(self, delivered: Iterable[int], done: Iterable[int] = ()) -> Flags:
        """Which resources are released once these keys are present and these resources are done.

        Unit propagation: each edge is touched at most once (Dowling and Gallier 1984). Resources
        that miss nothing are released in any case.
        """
        unmet, present = self.needs.copy(), np.zeros(self.key_count, bool)
        released: Flags = np.asarray(unmet == 0)
        released[_ints(done)] = True
        present[self.brings[released]] = True
        present[_ints(delivered)] = True
        arriving = np.flatnonzero(present)
        while len(arriving):
            offsets, rows = self.dependents
            waiting = rows[ranges(offsets[arriving], offsets[arriving + 1])]
            touched, times = counted(waiting, self.resource_count)
            unmet[touched] -= times
            new = touched[(unmet[touched] == 0) & ~released[touched]]
            released[new] = True
            arriving = distinct(self.brings[new])
            arriving = arriving[~present[arriving]]
            present[arriving] = True
        return released

    def merged(self) -> tuple[PendingGraph, Ints]:
        """The graph with resources of one key that miss the same as one, and how many each was.

        An upload sent twice is then no alternative to itself. Where nothing waits for the key it
        makes no difference, and all are kept. Its resources have their own numbers, and no names.
        """
        stands_for = np.arange(self.resource_count)
        several = np.flatnonzero((self.producers[self.brings] > 1) & self.inner)
        if len(several):
            same = self.brings[several] * len(several) + self.missed_by(several)
            _, first, back = np.unique(same, return_index=True, return_inverse=True)
            stands_for[several] = several[first][back]
        weight = np.bincount(stands_for, minlength=self.resource_count)
        if weight.all():
            return self, weight
        row = np.cumsum(weight > 0) - 1
        kept = weight[self.edge_resource] > 0
        graph = PendingGraph(
            names=self.names,
            key_count=self.key_count,
            resource_count=int(row[-1]) + 1,
            edge_key=self.edge_key[kept],
            edge_resource=row[self.edge_resource[kept]],
            brings=self.brings[weight > 0],
            kind=self.kind[weight > 0],
            expires=self.expires[weight > 0],
        )
        return graph, weight[weight > 0]

    def missed_by(self, resources: Ints) -> Ints:
        """Equal numbers for those of these resources that miss the same keys."""
        offsets = offsets_of(self.needs)
        edges = ranges(offsets[resources], offsets[resources + 1])
        return alike(offsets_of(self.needs[resources]), self.edge_key[edges])

    @cached_property
    def place(self) -> Ints:
        """The place of each key by name, so that the order of rows decides no tie."""
        return self.names.places()

    @cached_property
    def ready(self) -> Flags:
        """Resources that are released without anything being delivered."""
        return self.closure([])

    @cached_property
    def tainted(self) -> Flags:
        """Resources that no delivery of roots releases: deadlocks, and what waits for them."""
        return ~self.closure(np.flatnonzero(self.is_root))

    @cached_property
    def cycle_of(self) -> Ints:
        """For each key, its strong component among those that wait for each other."""
        return components(*self.key_edges, self.key_count)

    @cached_property
    def on_cycle(self) -> Flags:
        """Nodes (keys, then resources) that wait for themselves through others."""
        source, target = self.cycle_of[self.edge_key], self.cycle_of[self.brings]
        back = np.flatnonzero(source == target[self.edge_resource])
        flags = np.zeros(self.key_count + self.resource_count, bool)
        flags[self.edge_key[back]] = True
        flags[self.key_count + self.edge_resource[back]] = True
        return flags

    @cached_property
    def edges(self) -> tuple[Ints, Ints]:
        """All edges, key → resource → key, as (sources, targets) among keys, then resources."""
        resources = np.arange(self.resource_count) + self.key_count
        source = np.concatenate([self.edge_key, resources])
        target = np.concatenate([self.edge_resource + self.key_count, self.brings])
        return source, target


def read_pending_graph(
    dependencies: Frame | PendingGraph, pending: Frame | None, caller: str
) -> PendingGraph:
    """The graph of a `dependencies` frame, or the one that was read before.

    ``pending`` adds resources that miss nothing; without it they are unknown. Rows that say the
    same thing twice count once.
    """
    if isinstance(dependencies, PendingGraph):
        return dependencies
    dependencies = DEPENDENCIES.normalize(
        dependencies, [*_SHOWN, *_MISSING_KEY, "missing_schema_name"], caller
    )
    frames = [dependencies[_SHOWN]]
    if pending is not None:
        pending = PENDING.normalize(pending, _SHOWN, caller)
        frames.append(pending[_SHOWN])
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    resource, first = _number(rows, _APART)
    resources = rows.iloc[first].reset_index(drop=True)
    earliest = np.full(len(resources), NEVER)
    np.minimum.at(earliest, resource, expiries(as_utc(rows["expires_at"])))
    resources = resources.assign(
        expires_at=moments(earliest),
        schema_name=_first_names(rows["schema_name"], resource, len(resources)),
    )
    key, keys = _keys(dependencies, resources)
    size = len(dependencies)
    kind = resources.groupby(RESOURCE_KEY[:2], dropna=False, sort=False).ngroup()
    return PendingGraph(
        names=_Frames(keys, resources),
        key_count=len(keys),
        resource_count=len(resources),
        **distinct_edges(resource[:size], key[:size], len(keys)),
        brings=key[size:].copy(),
        kind=np.asarray(kind, np.int64),
        expires=earliest,
    )


def distinct_edges(resource: Ints, key: Ints, key_count: int) -> dict[str, Ints]:
    """The distinct pairs, as ``edge_resource`` and ``edge_key`` of a graph."""
    width = max(1, key_count)
    pair = distinct(resource * width + key)
    return {"edge_key": pair % width, "edge_resource": pair // width}


def expiries(times: pd.Series) -> Ints:
    """Times as ``expires`` of a graph."""
    moments = times.dt.as_unit("us").astype("int64")
    return np.asarray(moments.mask(times.isna(), NEVER).to_numpy(np.int64))


def named_keys(graph: PendingGraph, keys: Ints) -> pd.DataFrame:
    """What names each of these keys, one row each; nulls for -1."""
    known = np.unique(keys[keys >= 0])
    return graph.names.keys(known).set_axis(known).reindex(keys).reset_index(drop=True)


def moments(expires: Ints) -> pd.Series:
    """``expires`` of a graph as times, null for `NEVER`."""
    times = pd.Series(expires).mask(expires == NEVER, pd.NaT.value)
    return times.astype("datetime64[us]").dt.tz_localize("UTC")


@dataclass(frozen=True)
class _Frames:
    """The names as frames, by number."""

    of_keys: pd.DataFrame
    of_resources: pd.DataFrame

    def keys(self, rows: Ints | None = None) -> pd.DataFrame:
        return self.of_keys if rows is None else self.of_keys.iloc[rows]

    def resources(self, rows: Ints | None = None) -> pd.DataFrame:
        return self.of_resources if rows is None else self.of_resources.iloc[rows]

    def places(self) -> Ints:
        order = self.of_keys.sort_values(RESOURCE_KEY).index
        return np.argsort(np.asarray(order, np.int64))


def _keys(dependencies: pd.DataFrame, resources: pd.DataFrame) -> tuple[Ints, pd.DataFrame]:
    """Key numbers of the missing dependencies, then of the resources; and the keys."""
    missing = dependencies[[*_MISSING_KEY, "missing_schema_name"]]
    own = resources[[*RESOURCE_KEY, "schema_name"]]
    names = [*RESOURCE_KEY, "schema_name"]
    both = [missing.set_axis(names, axis=1), own.set_axis(names, axis=1)]
    rows = pd.concat(both, ignore_index=True)
    number, first = _number(rows, _KEY_APART)
    keys = rows[RESOURCE_KEY].iloc[first].reset_index(drop=True)
    # What misses a key names its schema, or else what would bring it.
    said = _first_names(rows["schema_name"].iloc[: len(missing)], number[: len(missing)], len(keys))
    brought = _first_names(
        rows["schema_name"].iloc[len(missing) :], number[len(missing) :], len(keys)
    )
    return number, keys.assign(schema_name=said.fillna(brought))


def _first_names(names: pd.Series, number: Ints, size: int) -> pd.Series:
    """For each number the first of its names, in their order; null where it has none."""
    code, known = pd.factorize(names, sort=True)
    first = np.full(size, len(known))
    np.minimum.at(first, number[code >= 0], code[code >= 0])
    # One place more, for none.
    return (
        pd.Series(known, dtype="str")
        .reindex(range(len(known) + 1))
        .take(first)
        .reset_index(drop=True)
    )


def _number(rows: pd.DataFrame, columns: list[str]) -> tuple[Ints, Ints]:
    """A number for each distinct combination of columns (nulls are equal), and its first row.

    Numbers are given in the order of first appearance."""
    number = np.asarray(pd.factorize(rows[columns[0]], use_na_sentinel=False)[0], np.int64)
    first = _first_rows(number)
    for name in columns[1:]:
        values = rows[name].reset_index(drop=True)
        usual = pd.Series(values.array.take(first[number]))
        same = (values == usual).to_numpy(bool, na_value=False) | (values.isna() & usual.isna())
        if same.all():
            continue  # the column tells no rows apart that have one number
        codes, known = pd.factorize(values, use_na_sentinel=False)
        number = _by_appearance(number * len(known) + codes)
        first = _first_rows(number)
    return number, first


def _first_rows(number: Ints) -> Ints:
    """The first row of each number, where they are given in the order of first appearance."""
    return np.flatnonzero(np.diff(np.maximum.accumulate(number), prepend=-1))


def _by_appearance(values: Ints) -> Ints:
    """Numbers for the values, in the order of first appearance; by sorting, which for as many
    different ones as occur here is faster than hashing."""
    order = np.argsort(values, kind="stable")
    new = np.diff(values[order], prepend=-1) != 0
    rank = np.empty(int(new.sum()), np.int64)
    rank[np.argsort(order[new])] = np.arange(len(rank))
    number = np.empty(len(values), np.int64)
    number[order] = rank[np.cumsum(new) - 1]
    return number


def _ints(numbers: Iterable[int]) -> Ints:
    return np.fromiter(numbers, np.int64)
