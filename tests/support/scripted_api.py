"""A server that answers as a test scripts it."""

from __future__ import annotations

import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.client.client import utc_now
from reach_analytics.collector import collect
from tests.support.hostile import answer, serve


def page(*rows: dict) -> dict:
    return {"results": list(rows), "pagination": {"hasNextPage": False, "total": len(rows)}}


def row(batch_id: str, pending: int | None = 0, **fields) -> dict:
    return {
        "batchId": batch_id,
        "status": "success",
        "progress": {"pendingRecords": pending},
    } | fields


class Api:
    """Answers by path, so that threads may ask in any order; other paths are a 404."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, connection) -> None:
        path = self.server.paths()[-1].partition("?")[0]
        self.asked.append(path)
        tenant = self.server.header("reach-tenant-id")
        name = path.rsplit("/", 1)[-1]
        found = self.answers.get(f"{tenant}_{name}", self.answers.get(name))
        if found is None:
            connection.sendall(answer(404))
        elif isinstance(found, bytes):
            connection.sendall(found)
        else:
            connection.sendall(answer(body={"success": True, "message": "", "data": found}))


@pytest.fixture
def run(tmp_path):
    """Collect once from an `Api` into the test's store."""

    def collect_from(api: Api, **options):
        store = reach.Store(tmp_path / "store")
        tenant_id = options.pop("tenant_id", "t")
        token, now = options.pop("token", "abc"), options.pop("now", utc_now)
        with serve(api) as api.server:
            client = reach.Client(
                token=token,
                now=now,
                tenant_id=tenant_id,
                base_url=api.server.url,
                threads=1,
                retry=RetryPolicy(attempts=1),
            )
            return collect(client, store, progress=False, **options)

    return collect_from
