"""Pending resources and what they miss, as a graph of numbers that the measures share.

Each pending resource is a Horn clause: once all its missing dependencies are there, it is released,
and its own key is there for others. Two pending resources with one key make that key an OR: either
brings it. The graph has a node for each key and each resource, and edges key → resource ("waits
for") and resource → key ("brings"). Nothing crosses tenants, since a key holds its tenant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reach_analytics.columns import DEPENDENCIES, PENDING, as_utc

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_KEY = ["tenant_id", "schema_definition_id", "external_id"]
_RESOURCE_KEY = ["tenant_id", "schema_definition_id", "resource_external_id"]
_MISSING_KEY = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
_RESOURCE = ["tenant_id", "batch_id", "pending_id", *_RESOURCE_KEY[1:]]
_SHOWN = [*_RESOURCE, "schema_name", "expires_at"]


@dataclass(frozen=True)
class Clauses:
    """The graph of one moment.

    Attributes
    ----------
    keys : pandas.DataFrame
        One row per key: tenant_id, schema_definition_id, external_id, schema_name.
    resources : pandas.DataFrame
        One row per pending resource, with the identifying columns, schema_name and expires_at.
    edge_key, edge_resource : int arrays
        The distinct (missing key, waiting resource) pairs, as row numbers of the above.
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
        order = np.argsort(self.edge_key, kind="stable")
        return _offsets(self.direct), self.edge_resource[order]

    def closure(self, delivered: Iterable[int], done: Iterable[int] = ()) -> Flags:
        """Which resources are released once these keys are there and these resources are done.

        Unit propagation: each edge is touched at most once (Dowling and Gallier 1984). Resources
        that miss nothing are released in any case.
        """
        offsets, rows = self.dependents
        unmet, there = self.needs.copy(), np.zeros(self.key_count, bool)
        released = np.zeros(self.resource_count, bool)
        arriving: deque[int] = deque()

        def arrive(key: int) -> None:
            if not there[key]:
                there[key] = True
                arriving.append(key)

        def release(resource: int) -> None:
            if not released[resource]:
                released[resource] = True
                arrive(int(self.brings[resource]))

        for resource in (*np.flatnonzero(unmet == 0), *done):
            release(int(resource))
        for key in delivered:
            arrive(int(key))
        while arriving:
            key = arriving.popleft()
            waiting = rows[offsets[key] : offsets[key + 1]]
            unmet[waiting] -= 1
            for resource in waiting[unmet[waiting] == 0]:
                release(int(resource))
        return released

    def merged(self) -> tuple[Clauses, Ints]:
        """The graph with resources of one key that miss the same as one, and how many each was.

        An upload sent twice is then no alternative to itself.
        """
        same = pd.DataFrame({"key": self.brings, "missed": self.missed})
        number = same.groupby(["key", "missed"], sort=False).ngroup().to_numpy()
        _, first, weight = np.unique(number, return_index=True, return_counts=True)
        row = np.full(self.resource_count, -1)
        row[first] = np.arange(len(first))
        kept = row[self.edge_resource] >= 0
        graph = Clauses(
            keys=self.keys,
            resources=self.resources.iloc[first].reset_index(drop=True),
            edge_key=self.edge_key[kept],
            edge_resource=row[self.edge_resource[kept]],
            brings=self.brings[first],
        )
        return graph, weight

    def without_expiries(self) -> Clauses:
        """The same graph, in which nothing ever expires."""
        never = self.resources["expires_at"].mask(np.ones(self.resource_count, bool))
        return replace(self, resources=self.resources.assign(expires_at=never))

    @cached_property
    def by_name(self) -> Ints:
        """The keys in the order of their names, so that the order of rows decides no tie."""
        return np.asarray(self.keys.sort_values(_KEY).index, np.int64)

    @cached_property
    def place(self) -> Ints:
        """The place of each key in that order."""
        return np.argsort(self.by_name)

    @cached_property
    def missed(self) -> Ints:
        """Equal numbers for resources that miss the same keys."""
        return signatures(self, np.arange(self.key_count))

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
        """For each node (keys, then resources), its strong component."""
        return components(*self.edges, self.key_count + self.resource_count, strong=True)

    @cached_property
    def on_cycle(self) -> Flags:
        """Nodes that wait for themselves through others. Keys and resources alternate along every
        edge, so a strong component of more than one node is a cycle, a self-reference too."""
        return np.greater(np.bincount(self.cycle_of)[self.cycle_of], 1)

    @cached_property
    def edges(self) -> tuple[Ints, Ints]:
        """All edges, key → resource → key, as (sources, targets) among keys, then resources."""
        resources = np.arange(self.resource_count) + self.key_count
        source = np.concatenate([self.edge_key, resources])
        target = np.concatenate([self.edge_resource + self.key_count, self.brings])
        return source, target


def signatures(clauses: Clauses, fold: Ints) -> Ints:
    """Equal numbers for resources that miss the same keys, where ``fold`` says which key stands
    for each."""
    width = max(1, clauses.key_count)
    pairs = np.unique(clauses.edge_resource * width + fold[clauses.edge_key])
    counts = np.bincount(pairs // width, minlength=clauses.resource_count)
    pieces = np.split(pairs % width, np.cumsum(counts)[:-1])
    missed = [keys.tobytes() for keys in pieces[: clauses.resource_count]]
    return pd.factorize(np.array(missed, dtype=object))[0]


class Propagation:
    """Follows what one key's arrival releases, again and again from the same start: the state in
    which everything that needs no delivery is released. Each key costs only what it touches."""

    def __init__(self, clauses: Clauses, weight: Ints) -> None:
        offsets, rows = clauses.dependents
        there = np.zeros(clauses.key_count, bool)
        there[clauses.brings[clauses.ready]] = True
        done = np.bincount(clauses.edge_resource[there[clauses.edge_key]], minlength=len(weight))
        self._offsets, self._rows = offsets.tolist(), rows.tolist()
        self._unmet = (clauses.needs - done).tolist()
        self._released = clauses.ready.tolist()
        self._there = there.tolist()
        self._brings, self._weight = clauses.brings.tolist(), weight.tolist()

    def released_by(self, key: int) -> int:
        """The weight of what is released if ``key`` arrives."""
        if self._there[key]:
            return 0
        total, arrived, queue = 0, {key}, [key]
        met: dict[int, int] = {}
        while queue:
            arriving = queue.pop()
            for resource in self._rows[self._offsets[arriving] : self._offsets[arriving + 1]]:
                met[resource] = met.get(resource, 0) + 1
                if met[resource] != self._unmet[resource] or self._released[resource]:
                    continue
                total += self._weight[resource]
                brought = self._brings[resource]
                if brought not in arrived and not self._there[brought]:
                    arrived.add(brought)
                    queue.append(brought)
        return total


def read_clauses(dependencies: pd.DataFrame, pending: pd.DataFrame | None, caller: str) -> Clauses:
    """The graph of a `dependencies` frame.

    ``pending`` adds resources that miss nothing; without it they are unknown. Rows that say the
    same thing twice count once.
    """
    DEPENDENCIES.require(dependencies, [*_SHOWN, *_MISSING_KEY, "missing_schema_name"], caller)
    frames = [dependencies[_SHOWN]]
    if pending is not None:
        PENDING.require(pending, _SHOWN, caller)
        frames.append(pending[_SHOWN])
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    resource, first = _number(rows, _RESOURCE)
    resources = rows.iloc[first].reset_index(drop=True)
    resources = resources.assign(expires_at=as_utc(resources["expires_at"]))
    key, keys = _keys(dependencies, resources)
    count = len(dependencies)
    pair = np.unique(resource[:count] * max(1, len(keys)) + key[:count])
    return Clauses(
        keys=keys,
        resources=resources,
        edge_key=pair % max(1, len(keys)),
        edge_resource=pair // max(1, len(keys)),
        brings=key[count:],
    )


def _keys(dependencies: pd.DataFrame, resources: pd.DataFrame) -> tuple[Ints, pd.DataFrame]:
    """Key numbers of the missing dependencies, then of the resources; and the keys."""
    missing = dependencies[[*_MISSING_KEY, "missing_schema_name"]]
    own = resources[[*_RESOURCE_KEY, "schema_name"]]
    names = [*_KEY, "schema_name"]
    rows = pd.concat([missing.set_axis(names, axis=1), own.set_axis(names, axis=1)])
    number, first = _number(rows, _KEY)
    keys = rows.iloc[first].reset_index(drop=True)
    named = rows["schema_name"].groupby(number).first()  # the first that is not null
    return number, keys.assign(schema_name=named.reindex(range(len(keys))))


def _number(rows: pd.DataFrame, columns: list[str]) -> tuple[Ints, Ints]:
    """A number for each distinct combination of columns (nulls are equal), and its first row."""
    number = np.zeros(len(rows), np.int64)
    for name in columns:
        codes, values = pd.factorize(rows[name], use_na_sentinel=False)
        number, _ = pd.factorize(number * (len(values) + 1) + codes)
    first = np.full(number.max(initial=-1) + 1, len(rows), np.int64)
    np.minimum.at(first, number, np.arange(len(rows)))
    return number, first


def components(source: Ints, target: Ints, size: int, *, strong: bool) -> Ints:
    """For each node of a graph, the number of its strongly or weakly connected component."""
    from scipy.sparse.csgraph import connected_components

    kind = "strong" if strong else "weak"
    _, number = connected_components(adjacency(source, target, size), connection=kind)
    return np.asarray(number, np.int64)


def adjacency(source: Ints, target: Ints, size: int) -> Any:
    """The graph as a sparse matrix. Of booleans, so that repeated edges cannot add up to zero."""
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(source), bool), (source, target)), shape=(size, size)).tocsr()


def _offsets(counts: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)])
