"""Bottlenecks and the upload plan on large graphs: growth of time and memory, and networkx.

    pytest tests/benchmarks/test_graph.py --benchmark-enable

Sizes are rows of the `dependencies` frame. Every figure is of a separate process, which reads the
frame from a file; its peak includes the frame. networkx is given the same frame and finds what
`bottlenecks` finds, with its own algorithms: strong components, dominators for ``unlock``, and
descendants for ``blocked``. These are one search for each key, so a random sample of keys is
searched and the time scaled up to all; ours counts the largest exactly and estimates the others of
a large graph. networkx has nothing to compare with the plan.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reach_analytics.measures import bottlenecks, upload_plan
from reach_analytics.measures._graph.model import read_pending_graph
from reach_analytics.tables import DEPENDENCIES

SIZES = (100_000, 1_000_000, 10_000_000)
FOR_NETWORKX = (100_000, 1_000_000)
ROUNDS = 3
SAMPLE = 2000  # keys whose descendants networkx counts at full size
START = "start"

MEASURES = {"bottlenecks": bottlenecks, "upload_plan": upload_plan}


def waits(edges: int, *, odd: bool = True) -> pd.DataFrame:
    """About so many rows: transactions that each miss a contact and a location, some of them much
    more often than others, and contacts of which a third wait for others, in chains. Where it is
    ``odd``, there are a few cycles among the contacts, and a few were uploaded twice and differ in
    whom they wait for."""
    rng = np.random.default_rng(20260301)
    count = edges * 100 // 203  # of transactions, so that the contacts' rows have room
    contacts, locations = max(10, count // 20), max(5, count // 500)
    waiting = np.flatnonzero(rng.random(contacts) < 1 / 3)[1:]
    whom = (rng.random(len(waiting)) * waiting).astype(np.int64)
    if odd:
        few = rng.choice(len(waiting) - 1, max(2, len(waiting) // 1000), replace=False)
        back = few[waiting[few] != whom[few]]
        waiting = np.concatenate([waiting, whom[back], waiting[few]])
        whom = np.concatenate([whom, waiting[back], (rng.random(len(few)) * contacts).astype(int)])
    buyer = (rng.random(count) ** 2 * contacts).astype(np.int64)
    place = (rng.random(count) ** 2 * locations).astype(np.int64)
    number = np.concatenate([np.repeat(np.arange(count), 2), count + np.arange(len(waiting))])
    sale, others = np.arange(len(number)) < 2 * count, number[2 * count :]
    missed = np.concatenate([np.stack([buyer, place], 1).ravel(), whom])
    to_place = sale & (np.arange(len(number)) % 2 == 1)
    own = np.where(sale, number, np.concatenate([np.zeros(2 * count, np.int64), waiting]))
    expires = (
        1_772_431_200_000_000 + rng.integers(0, 72, count + len(others))[number] * 3600_000_000
    )
    return DEPENDENCIES.conform(
        pd.DataFrame(
            {
                "tenant_id": "t",
                "batch_id": named("batch-", number // 1000),
                "pending_id": named("5f0c-", number),
                "external_id": named(np.where(sale, "TX-", "CUST-"), own),
                "schema_definition_id": np.where(sale, "transactions", "contacts"),
                "expires_at": pd.to_datetime(expires, unit="us", utc=True),
                "missing_external_id": named(np.where(to_place, "SHOP-", "CUST-"), missed),
                "missing_schema_definition_id": np.where(to_place, "locations", "contacts"),
            }
        )
    )


def named(prefix: str | np.ndarray, numbers: np.ndarray) -> pd.Series:
    return pd.Series(prefix, range(len(numbers)), dtype="str") + pd.Series(numbers).astype("str")


def memory(name: str) -> int:
    """In /proc, since getrusage's peak is inherited from the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(name + r":\s+(\d+) kB", status)[1]) * 1024


def measured(file: str, what: str) -> dict[str, float]:
    """Seconds that a measure takes on a frame from a file, and the peak of the process, in GB."""
    MEASURES[what](waits(500))  # loads what any call loads
    frame = DEPENDENCIES.to_pandas(pq.read_table(file))
    start = perf_counter()
    table = MEASURES[what](frame)
    seconds = perf_counter() - start
    assert len(table)
    return {"seconds": seconds, "peak": memory("VmHWM") / 1e9, "edges": len(frame)}


def by_networkx(file: str, sample: int) -> dict[str, float]:
    """Seconds of each step; descendants of a sample of keys, scaled up to all of them."""
    frame = DEPENDENCIES.to_pandas(pq.read_table(file))
    times, start = {}, perf_counter()

    def lap(step: str) -> None:
        nonlocal start
        times[step], start = perf_counter() - start, perf_counter()

    graph = digraph(frame)
    lap("graph")
    cycles(graph)
    lap("strong components")
    dominated(graph)
    lap("dominators")
    keys = sorted(key for key in graph if is_key(key) and graph.out_degree(key))
    some = random.Random(0).sample(keys, min(sample, len(keys)))
    start = perf_counter()
    for key in some:
        descendants(graph, key)
    lap("descendants")
    times["descendants"] *= len(keys) / len(some)
    return times | {"sampled": len(some), "keys": len(keys), "peak": memory("VmHWM") / 1e9}


def digraph(frame: pd.DataFrame) -> nx.DiGraph:
    """Missing key → resource → its own key. Keys are pairs, resources are their ids."""
    missing = zip(frame["missing_schema_definition_id"], frame["missing_external_id"], strict=True)
    own = zip(frame["schema_definition_id"], frame["external_id"], strict=True)
    graph = nx.DiGraph()
    graph.add_edges_from(zip(missing, frame["pending_id"], strict=True))
    graph.add_edges_from(zip(frame["pending_id"], own, strict=True))
    return graph


def is_key(node: str | tuple[str, str]) -> bool:
    return isinstance(node, tuple)


def cycles(graph: nx.DiGraph) -> set[frozenset]:
    """The keys of each strong component of more than one node."""
    found = (part for part in nx.strongly_connected_components(graph) if len(part) > 1)
    return {frozenset(filter(is_key, part)) for part in found}


def dominated(graph: nx.DiGraph) -> Counter:
    """For each key, the resources in its subtree of the dominator tree below all roots."""
    roots = [node for node, degree in graph.in_degree() if not degree]
    graph.add_edges_from((START, root) for root in roots)
    above = nx.immediate_dominators(graph, START)
    graph.remove_node(START)
    above.pop(START, None)  # older versions map it to itself
    sizes = Counter({node: 0 if is_key(node) else 1 for node in above})
    children = Counter(above.values())
    bare = [node for node in above if not children[node]]
    while bare:
        node = bare.pop()
        parent = above.get(node)
        if parent is None:
            continue
        sizes[parent] += sizes[node]
        children[parent] -= 1
        if not children[parent]:
            bare.append(parent)
    return sizes


def descendants(graph: nx.DiGraph, key: tuple[str, str]) -> int:
    return sum(not is_key(node) for node in nx.descendants(graph, key))


def by_key(table: pd.DataFrame, column: str) -> dict[tuple[str, str], int]:
    keys = zip(table["schema_definition_id"], table["external_id"], strict=True)
    return dict(zip(keys, table[column].tolist(), strict=True))


def test_networkx_agrees_if_every_key_has_one_producer():
    """Then what a key unlocks is its subtree of the dominator tree."""
    frame = waits(3000, odd=False)
    table, graph = bottlenecks(frame), digraph(frame)
    assert table["blocked_exact"].all()
    sizes = dominated(graph)
    unlocked = by_key(table, "unlock")
    assert unlocked == {key: sizes[key] for key in unlocked}
    assert max(unlocked.values()) > 1
    blocked = by_key(table, "blocked")
    assert blocked == {key: descendants(graph, key) for key in blocked}


def test_networkx_agrees_on_cycles_and_on_what_is_blocked():
    frame = waits(6000)
    graph, network = read_pending_graph(frame, None, "test"), digraph(frame)
    assert (graph.producers > 1).any()
    keys = graph.names.keys()[graph.on_cycle[: graph.key_count]]
    number = graph.cycle_of[keys.index]
    names = keys["schema_definition_id"].str.cat(keys["external_id"], sep="/")
    ours = {frozenset(part) for _, part in names.groupby(number)}
    assert ours == {frozenset("/".join(key) for key in part) for part in cycles(network)}
    assert ours
    blocked = by_key(bottlenecks(frame), "blocked")
    assert blocked == {key: descendants(network, key) for key in blocked}


@pytest.fixture(scope="module")
def files(full_size, tmp_path_factory) -> dict[int, str]:
    """The frame of each size, in a file."""
    folder = tmp_path_factory.mktemp("graph")
    made = {}
    for size in SIZES if full_size else (2000,):
        made[size] = str(folder / f"{size}.parquet")
        pq.write_table(pa.Table.from_pandas(waits(size), schema=DEPENDENCIES.schema), made[size])
    return made


def apart(function: str, *arguments: str | int) -> dict[str, float]:
    """What a function of this file returns in a separate process."""
    program = "import json, sys; from tests.benchmarks import test_graph as bench; "
    program += f"print(json.dumps(bench.{function}(*json.loads(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_growth_and_networkx(files, full_size, capsys):
    """Medians; what networkx takes for the same is in the same table."""
    if not full_size:
        for what in MEASURES:
            assert measured(*files.values(), what)["seconds"] > 0
        assert by_networkx(*files.values(), 10)["descendants"] > 0
        return
    medians = growth(files, capsys)
    with capsys.disabled():
        print("\nnetworkx, seconds (bottlenecks finds the same and more)")
    for size in FOR_NETWORKX:
        runs = [apart("by_networkx", files[size], SAMPLE) for _ in range(ROUNDS)]
        took = {step: statistics.median(run[step] for run in runs) for step in runs[0]}
        compare(size, took, medians["bottlenecks", size], capsys)


def growth(files: dict[int, str], capsys) -> dict[tuple[str, int], float]:
    """Prints time and memory by size; the median seconds."""
    medians = {}
    with capsys.disabled():
        print(f"\n\n{'':12}{'edges':>11}{'median s':>10}{'fastest - slowest':>20}{'peak GB':>9}")
        for what in MEASURES:
            before = None
            for size, file in files.items():
                runs = [apart("measured", file, what) for _ in range(ROUNDS)]
                seconds = sorted(run["seconds"] for run in runs)
                median = medians[what, size] = statistics.median(seconds)
                grown = f"  {median / before:.1f} times the time before" if before else ""
                span = f"{seconds[0]:.2f} - {seconds[-1]:.2f}"
                peak = max(run["peak"] for run in runs)
                print(
                    f"{what:12}{runs[0]['edges']:11,}{median:10.2f}{span:>20}{peak:9.2f}{grown}",
                    flush=True,
                )
                before = median
    return medians


def compare(size: int, took: dict[str, float], ours: float, capsys) -> None:
    """Prints what each step took networkx, and the ratio to our median."""
    near = took["graph"] + took["strong components"] + took["dominators"]
    total = near + took["descendants"]
    with capsys.disabled():
        print(f"{size:,} edges, peak {took['peak']:.2f} GB; ours {ours:.2f} s")
        for step in ("graph", "strong components", "dominators", "descendants"):
            print(f"  {step:20}{took[step]:12.2f}")
        print(f"  descendants: {took['sampled']:,.0f} of {took['keys']:,.0f} keys, scaled up")
        print(f"  {total:,.0f} s in all, {total / ours:,.0f} times ours", end="; ")
        print(f"without descendants {near:.1f} s, {near / ours:.1f} times ours", flush=True)
