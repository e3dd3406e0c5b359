"""Clients of a test's own server."""

from __future__ import annotations

import reach_analytics as reach
from reach_analytics.client import RetryPolicy

TOKEN = "header.payload.signature-that-must-not-leak"


def client(url: str, *, attempts: int = 1, waits: list[float] | None = None, **options):
    """A client that does not really wait between attempts."""
    return reach.Client(
        token=TOKEN,
        tenant_id="t1",
        base_url=url,
        retry=RetryPolicy(attempts=attempts),
        sleep=(waits if waits is not None else []).append,
        **options,
    )
