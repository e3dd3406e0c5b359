"""Listings without an end: what they gave is kept, the looks follow, and the run says so."""

from __future__ import annotations

import jwt
import pytest

import reach_analytics as reach
from tests.collector.test_collect import Api, row, run  # noqa: F401  the fixture

WAITS = [{"id": "p", "resourceExternalId": "A", "missingDependencies": [{"externalId": "x"}]}]


class Endless(Api):
    """The n-th page of every listing has the n-th rows, under a cursor of its own."""

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
def test_collect_keeps_what_it_read_looks_closer_and_reports(run, tmp_path, kind):  # noqa: F811
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
def test_watch_gives_such_a_listing_up_and_goes_on_looking(server, kind):
    rows_of, total = ENDLESS[kind]
    waiting = {
        name: row(name, 1, status="partial_success", pendingResources=WAITS) for name in "ab"
    }
    api = Endless(rows_of, total, **waiting)
    summary = server(api, "10min")
    assert api.asked.count("/api/batches") < 100
    assert api.asked.count("/api/batches/a") > 5
    assert "cannot be followed to its end" in summary.problems[0].message


def test_tenants_without_an_end_are_gone_through_as_far_as_they_were_read(run):  # noqa: F811
    def rows_of(path: str, n: int) -> list[dict]:
        return [{"id": f"t{n % 3}"}]

    api = Endless(rows_of)
    api.answers["batches"] = {}
    summary = run(api, tenant_id="", token=jwt.encode({"type": "partner"}, "k" * 32))
    assert api.pages["/partner/tenants"] == 12
    assert summary.tenants >= 3
    assert any("the tenants' listing" in problem.message for problem in summary.problems)
