"""Watch a hand-made API by a fake clock."""

from __future__ import annotations

import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from tests.support.clock import Clock
from tests.support.hostile import serve
from tests.support.scripted_api import Api, run  # noqa: F401  a fixture

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def place(tmp_path):
    return reach.Store(tmp_path / "store")


@pytest.fixture
def server(tmp_path):
    """Watch an `Api` by a fake clock."""
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
