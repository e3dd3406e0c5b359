"""Every odd scalar in every field, through every frame and measure: only it may be lost.

The cells of one kind are batches among good ones, in one listing and one by one. The results for
the good ones are exactly those without the odd ones.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from typer.testing import CliRunner

import reach_analytics as reach
from reach_analytics.cli._run import app
from reach_analytics.client import RetryPolicy
from tests.support.answers import FRAMES, MEASURES, assert_same
from tests.support.effort import ROTATION, THOROUGH
from tests.support.odd_scalars import LATER, SCALARS, START, cells, document, odd

GOOD = [f"good-{number}" for number in range(6)]
TENANT, OTHER = "t-good", "t-odd"
MORE = ["observations", "reconciliation", "conventions", "change_point", "collection_health"]
BY_TENANT = [
    *(
        "batches",
        "pending",
        "dependencies",
        "wait_intervals",
        "missing_intervals",
        "observations",
        "health",
    ),
    *("wait_outcomes", "durations", "throughput", "stuck", "eta", "errors", "bottlenecks"),
]


class Served:
    """Batches as bytes, by tenant; a listing and single answers of them."""

    def __init__(self) -> None:
        self.batches: dict[str, dict[str, bytes]] = {}
        self.url = ""

    def answer(self, path: str, tenant: str | None) -> tuple[int, bytes]:
        parts = urlsplit(path).path.split("/")
        own = self.batches.get(tenant or "", {})
        if parts[1:] == ["api", "batches"]:
            rows = b",".join(own.values())
            end = b'"pagination":{"hasNextPage":false,"total":%d}' % len(own)
            return 200, b'{"success":true,"data":{"results":[%s],%s}}' % (rows, end)
        body = own.get(unquote(parts[-1]))
        if body is None:
            return 404, b'{"success":false,"message":"no such batch"}'
        return 200, b'{"success":true,"data":%s}' % body


@contextmanager
def serving() -> Iterator[Served]:
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = served.answer(self.path, self.headers.get("reach-tenant-id"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield served
        server.shutdown()
    thread.join(5)


def good(later: bool) -> dict[str, bytes]:
    return {name: json.dumps(document(name, "good", later=later)).encode() for name in GOOD}


def collected(served: Served, place: Path, odd_ones: list[tuple[str, str, bytes]]) -> reach.Store:
    """A store that saw the good batches, and the odd ones beside them, at two moments."""
    store = reach.Store(place, durable=False)
    for at, later in ((START, False), (LATER, True)):
        ids = {f"odd-{n}": cell for n, cell in enumerate(odd_ones)}
        strange = {name: odd(name, f, value, later=later) for name, (f, _, value) in ids.items()}
        served.batches = {
            TENANT: good(later),
            OTHER: strange,
            "t-both": good(later) | strange,
        }
        with reach.Client(
            token="t" * 40,
            base_url=served.url,
            tenant_id=TENANT,
            now=lambda at=at: at,
            retry=RetryPolicy(attempts=1),
        ) as client:
            tenants = [TENANT, OTHER, "t-both"] if odd_ones else [TENANT]
            run = reach.collect(client, store, tenants=tenants, run_id=str(at), progress=False)
            lost = [p for p in run.problems if p.tenant_id == TENANT]
            assert not lost
            if odd_ones:  # a batch with an odd row is still observed
                reach.collect(
                    client,
                    store,
                    batch_ids=list(strange),
                    tenants=[OTHER],
                    run_id=f"{at} singly",
                    progress=False,
                )
    return store


def told(history: reach.History) -> dict[str, pd.DataFrame]:
    return {name: getattr(history, name)() for name in [*FRAMES, *MEASURES, *MORE]}


def of_the_good(frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    found = {}
    for name in BY_TENANT:
        frame = frames[name]
        own = frame[frame["tenant_id"] == TENANT]
        keep = [c for c in own.columns if c not in ("ingested_at", "p_value", "min_p_value")]
        found[name] = own[keep].reset_index(drop=True)
    return found


@pytest.fixture(scope="module")
def served():
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def expected(served, tmp_path_factory):
    """The results for the good batches without others."""
    store = collected(served, tmp_path_factory.mktemp("good") / "store", [])
    return of_the_good(told(reach.open_history(store)))


def chosen(kind: str | None) -> list[tuple[str, str, bytes]]:
    """All cells of a kind, or a sixth of those of every kind."""
    return list(cells(kind)) if kind else list(cells())[ROTATION % 6 :: 6]


MORE_COMMANDS = [["bottlenecks"], ["plan"], ["export", "csv-files", "--format", "csv"]]


@pytest.mark.parametrize("kind", [*SCALARS, None] if THOROUGH else [None])
def test_an_odd_scalar_costs_only_itself(kind, served, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd_ones = chosen(kind)
    store = collected(served, tmp_path / "store", odd_ones)
    history = reach.open_history(store)
    found = told(history)
    assert_same(expected, of_the_good(found))
    both = found["batches"][found["batches"]["tenant_id"] == "t-both"]
    assert set(both["batch_id"]) >= set(GOOD)  # the rows before and after the odd ones

    for command in (
        ["health"],
        ["plan", "--per-hour", "10", "--csv", str(tmp_path / "plan.csv")],
        ["report", str(tmp_path / "report.html")],
        ["export", str(tmp_path / "files")],
        *(MORE_COMMANDS if THOROUGH else []),
    ):
        done = CliRunner().invoke(app, [*command, "--store", store.location])
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert "t-good" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "files").iterdir())) == 23


def test_there_are_enough_cells():
    assert len(list(cells())) > 1_500
