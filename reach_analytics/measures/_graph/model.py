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

_RESOURCE_KEY = ["tenant_id", "schema_definition_id", "resource_external_id"]
_MISSING_KEY = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
_RESOURCE = ["tenant_id", "batch_id", "pending_id", *_RESOURCE_KEY[1:]]
_SHOWN = [*_RESOURCE, "schema_name", "expires_at"]
# The column that tells most rows apart goes first: then the others need no numbers of their own.
_APART = ["pending_id", "resource_external_id", "batch_id", "tenant_id", "schema_definition_id"]
_KEY_APART = RESOURCE_KEY[::-1]


@dataclass(frozen=True)
class PendingGraph:
    """The graph of one moment.

    Attributes
    ----------
    keys : pandas.DataFrame
        One row per key: tenant_id, schema_definition_id, external_id, schema_name.
    resources : pandas.DataFrame
        One row per pending resource, with the identifying columns, schema_name and expires_at.
    edge_key, edge_resource : int arrays
        The distinct (missing key, waiting resource) pairs, as row numbers of the above; ordered
        by resource, then key.
    brings : int array
        For each resource, its own key.
    """

    keys: pd.DataFrame
    resources: pd.DataFrame
    edge_key: Ints
    edge_resource: Ints
    brings: Ints

    @property
    def key_count(self) -> int:
        return len(self.keys)

    @property
    def resource_count(self) -> int:
        return len(self.resources)

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
        makes no difference, and all are kept. Of the resources, only the edges are kept.
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
            keys=self.keys,
            resources=pd.DataFrame(index=range(int(row[-1]) + 1)),
            edge_key=self.edge_key[kept],
            edge_resource=row[self.edge_resource[kept]],
            brings=self.brings[weight > 0],
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
        return np.argsort(np.asarray(self.keys.sort_values(RESOURCE_KEY).index, np.int64))

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


def read_pending_graph(dependencies: Frame, pending: Frame | None, caller: str) -> PendingGraph:
    """The graph of a `dependencies` frame.

    ``pending`` adds resources that miss nothing; without it they are unknown. Rows that say the
    same thing twice count once.
    """
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
    resources = resources.assign(expires_at=as_utc(resources["expires_at"]))
    key, keys = _keys(dependencies, resources)
    size, width = len(dependencies), max(1, len(keys))
    pair = distinct(resource[:size] * width + key[:size])
    return PendingGraph(
        keys=keys,
        resources=resources,
        edge_key=pair % width,
        edge_resource=pair // width,
        brings=key[size:].copy(),
    )


def _keys(dependencies: pd.DataFrame, resources: pd.DataFrame) -> tuple[Ints, pd.DataFrame]:
    """Key numbers of the missing dependencies, then of the resources; and the keys."""
    missing = dependencies[[*_MISSING_KEY, "missing_schema_name"]]
    own = resources[[*_RESOURCE_KEY, "schema_name"]]
    names = [*RESOURCE_KEY, "schema_name"]
    both = [missing.set_axis(names, axis=1), own.set_axis(names, axis=1)]
    rows = pd.concat(both, ignore_index=True)
    number, first = _number(rows, _KEY_APART)
    # The name of a key is the first one that is not null.
    unnamed = rows["schema_name"].isna().to_numpy()
    named = first.copy()
    other = np.flatnonzero(unnamed[first][number] & ~unnamed)[::-1]
    named[number[other]] = other
    keys = rows[RESOURCE_KEY].iloc[first].reset_index(drop=True)
    return number, keys.assign(schema_name=rows["schema_name"].array.take(named))


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
