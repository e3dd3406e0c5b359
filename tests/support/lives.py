"""Hand-written waits, in minutes."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from reach_analytics import tables
from tests.support.waits import at


def wait(
    verdict: str,
    after: float,
    by: float | None = None,
    *,
    entry: float = 0,
    created: float = 0,
    expires: float | None = 1000,
    root: str | None = None,
    **fields,
) -> dict:
    """A wait of this age at its end, first seen at the age of ``entry``."""
    return {
        "tenant_id": "t",
        "batch_id": "b",
        "schema_name": "things",
        "created_at": at(created),
        "expires_at": pd.NaT if expires is None else at(created + expires),
        "first_seen": at(created + entry),
        "last_seen": at(created + after),
        "verdict": verdict,
        "rule": "3",
        "ended_after": at(created + after),
        "ended_by": pd.NaT if by is None else at(created + by),
        "root_external_id": root,
        **fields,
    }


def table(rows: Iterable[dict]) -> pd.DataFrame:
    """`wait_outcomes` of these; each has its own root unless it names one."""
    rows = [
        {
            "departure": n,
            **row,
            "pending_id": f"p{n}",
            "root_external_id": row["root_external_id"] or f"r{n}",
        }
        for n, row in enumerate(rows)
    ]
    return tables.WAIT_OUTCOMES.conform(pd.DataFrame(rows, columns=tables.WAIT_OUTCOMES.names))


def exactly(verdict: str, age: float, **options) -> dict:
    """A wait whose end is known exactly."""
    return wait(verdict, age, age, **options)
