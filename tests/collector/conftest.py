"""Watching a hand-made API by a clock of its own."""

from __future__ import annotations

import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from tests.client.hostile import serve
from tests.collector.clock import Clock
from tests.collector.test_collect import Api

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def place(tmp_path):
    return reach.Store(tmp_path / "store")


@pytest.fixture
def server(tmp_path):
    """Watch an `Api` by a clock of its own."""
    clock = Clock()

    def watch_at(api: Api, until="1h", **options):
        with serve(api) as api.server:
            client = reach.Client(
                token=options.pop("token", "abc"),
                now=clock.now,
                tenant_id=options.pop("tenant_id", "t"),
                base_url=api.server.url,
                threads=options.pop("threads", 1),
                retry=ONCE,
            )
            with client:
                return reach.watch(
                    client,
                    reach.Store(tmp_path / "store"),
                    until=until,
                    wait=clock.wait,
                    progress=False,
                    **{"group_seconds": 900} | options,
                )

    watch_at.clock = clock
    return watch_at
