"""Observations folded as a compaction folds them."""

from __future__ import annotations

import pyarrow as pa


def folded(observations: pa.Table, keep: set[int]) -> pa.Table:
    """The rows, with every observation of the same state as the one before (of its batch and scope)
    folded into that one, except those whose number is in ``keep``."""
    rows = observations.to_pylist()
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["sent_at"], rows[i]["received_at"]))
    last: dict = {}
    stay = []
    for i in order:
        row = rows[i] | {"repeats": None}
        key = (row["tenant_id"], row["batch_id"], row["scope"])
        before = last.get(key)
        same = before is not None and row["ok"] and before["state_hash"] == row["state_hash"]
        if same and before["sent_at"] < row["sent_at"] and i not in keep:
            before["repeats"] = [*(before["repeats"] or []), row["sent_at"]]
            continue
        last[key] = row
        stay.append(row)
    kept = [f for f in observations.schema if f.name != "repeats"]
    schema = pa.schema([*kept, pa.field("repeats", pa.list_(pa.timestamp("us", tz="UTC")))])
    return pa.Table.from_pylist(stay, schema)
