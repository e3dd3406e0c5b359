"""Batches seen while they are processed."""

from __future__ import annotations

import pandas as pd

from reach_analytics import tables

T0 = pd.Timestamp("2026-03-02 06:00", tz="UTC")


TIMES = ("created_at", "started_at", "completed_at")


def at(minutes: float | None) -> pd.Timestamp:
    return pd.NaT if minutes is None else T0 + pd.Timedelta(minutes=minutes)


def minutes(count: float) -> pd.Timedelta:
    return pd.Timedelta(minutes=count)


def timed(*rows: tuple) -> pd.DataFrame:
    """(created, started, completed in minutes, status, processed) each."""
    frame = pd.DataFrame(
        [
            {"status": status, "processed_records": processed}
            | dict(zip(TIMES, map(at, times), strict=True))
            for *times, status, processed in rows
        ]
    )
    frame["tenant_id"], frame["schema_name"] = "t", "s"
    frame["batch_id"] = [f"b{n}" for n in range(len(frame))]
    return tables.BATCHES.conform(frame)


def observations(*rows: dict, **batch) -> pd.DataFrame:
    """Observations from ``{"at": minutes, "processed": …}``; common fields as keywords."""
    usual = {"tenant_id": "t", "batch_id": "b", "scope": "detail", "ok": True, "complete": True}
    usual |= {"status": "processing", "schema_name": "s", "total": 1000}
    made = []
    for number, row in enumerate(rows):
        one = usual | batch | row
        moment = at(one.pop("at"))
        counts = {f"{n}_records": one.pop(n) for n in _NAMES if n in one}
        times = {"sent_at": moment, "received_at": moment + pd.Timedelta("1s")}
        made.append({"run_id": f"r{number}"} | times | one | counts)
    return tables.OBSERVATIONS.conform(pd.DataFrame(made, columns=tables.OBSERVATIONS.names))


_NAMES = ("total", "processed", "successful", "pending", "failed")


def steps(*processed: float | None, every: float = 10, **batch) -> pd.DataFrame:
    """An observation every ``every`` minutes, with these processed counts."""
    return observations(
        *[{"at": every * i, "processed": n} for i, n in enumerate(processed)], **batch
    )
