"""Small hand-written dependency frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from reach_analytics import tables

Waits = Mapping[str, Iterable[str]] | Iterable[tuple[str, Iterable[str]]]


def frame(waits: Waits, *, expires: Mapping[str, int] | None = None, tenant: str = "t"):
    """`dependencies` of resources by their key and what they miss: ``{"B": "xy", "C": ["B"]}``.

    A list of pairs allows one key twice. ``expires`` gives minutes after midnight.
    """
    pairs = list(waits.items()) if isinstance(waits, Mapping) else list(waits)
    rows = [
        {
            "tenant_id": tenant,
            "batch_id": "b",
            "observed_at": at(0),
            "pending_id": f"p{number}-{key}",
            "external_id": key,
            "schema_definition_id": "s",
            "schema_name": "things",
            "created_at": at(0),
            "expires_at": at(expires[key]) if expires else pd.NaT,
            "missing_schema_definition_id": "s",
            "missing_external_id": missing,
            "missing_schema_name": "things",
        }
        for number, (key, missed) in enumerate(pairs)
        for missing in missed
    ]
    return tables.DEPENDENCIES.conform(pd.DataFrame(rows, columns=tables.DEPENDENCIES.names))


def at(minutes: float) -> pd.Timestamp:
    return pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(minutes=minutes)
