"""Batches with their counts."""

from __future__ import annotations

import pandas as pd

from reach_analytics import tables

T0 = pd.Timestamp("2026-03-02 06:00", tz="UTC")


def batches(*rows: tuple) -> pd.DataFrame:
    """(schema, minutes, status, total, successful, failed, pending) each."""
    names = ["schema_name", "minutes", "status", "total_records", "successful_records"]
    frame = pd.DataFrame(rows, columns=[*names, "failed_records", "pending_records"])
    frame["created_at"] = [
        pd.NaT if pd.isna(m) else T0 + pd.Timedelta(minutes=m) for m in frame.pop("minutes")
    ]
    frame["processed_records"] = frame["total_records"]
    frame["tenant_id"] = "t"
    frame["batch_id"] = [f"b{n}" for n in range(len(frame))]
    return tables.BATCHES.conform(frame)
