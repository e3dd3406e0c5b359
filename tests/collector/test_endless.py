"""Endless listings: their rows are kept, the batches are observed, the run reports it."""

from __future__ import annotations

import jwt
import pytest

import reach_analytics as reach
from tests.support.scripted_api import Api, row

WAITS = [{"id": "p", "resourceExternalId": "A", "missingDependencies": [{"externalId": "x"}]}]


class Endless(Api):
    """The n-th page of every listing has the n-th rows and its own cursor."""

    def __init__(self, rows_of, total=None, **answers) -> None:
        super().__init__(**answers)
        self.rows_of, self.total = rows_of, total
        self.pages: dict[str, int] = {}

    def __call__(self, connection) -> None:
        path = self.server.paths()[-1].partition("?")[0]
        if path == "/api/batches" or path == "/partner/tenants":
            assert len(self.asked) < 1000, "it is followed for ever"
            number = self.pages[path] = self.pages.get(path, -1) + 1
            more = {"hasNextPage": True, "total": self.total, "cursor": f"c{number}"}
            rows = self.rows_of(path, number)
            name = path.rsplit("/", 1)[-1]
            self.answers[name] = {"results": rows, "pagination": more}
        super().__call__(connection)


ENDLESS = {
    "by turns": (lambda path, n: [row("ab"[n % 2], 1)], None),
    "a field that changes": (lambda path, n: [row("a", 1, n=n), row("b", 1)], None),
    "always new": (lambda path, n: [row("a", 1), *(row(f"n{n}x{m}") for m in range(5))], 10),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_collect_keeps_the_rows_fetches_the_batches_and_reports_it(run, tmp_path, kind):
    rows_of, total = ENDLESS[kind]
    waiting = {name: row(name, 1, pendingResources=WAITS) for name in "ab"}
    api = Endless(rows_of, total, **waiting)
    summary = run(api)
    assert api.asked.count("/api/batches") <= 20
    assert "/api/batches/a" in api.asked
    [problem] = summary.problems
    assert "cannot be followed to its end" in problem.message
    assert not summary.ok
    history = reach.open_history(tmp_path / "store")
    assert "a" in history.batches()["batch_id"].tolist()
    assert len(history.pending()) >= 1


@pytest.mark.parametrize("kind", ENDLESS)
def test_watch_abandons_such_a_listing_and_continues_to_observe(server, kind):
    rows_of, total = ENDLESS[kind]
    waiting = {
        name: row(name, 1, status="partial_success", pendingResources=WAITS) for name in "ab"
    }
    api = Endless(rows_of, total, **waiting)
    summary = server(api, "10min")
    assert api.asked.count("/api/batches") < 100
    assert api.asked.count("/api/batches/a") > 5
    assert "cannot be followed to its end" in summary.problems[0].message


def test_of_an_endless_tenant_list_the_tenants_read_are_collected(run):
    def rows_of(path: str, n: int) -> list[dict]:
        return [{"id": f"t{n % 3}"}]

    api = Endless(rows_of)
    api.answers["batches"] = {}
    summary = run(api, tenant_id="", token=jwt.encode({"type": "partner"}, "k" * 32))
    assert api.pages["/partner/tenants"] == 12
    assert summary.tenants >= 3
    assert any("the tenants' listing" in problem.message for problem in summary.problems)
