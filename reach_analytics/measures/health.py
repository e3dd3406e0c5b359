"""The state of things in one row per tenant."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from reach_analytics.columns import BATCHES, HEALTH, PENDING, as_utc
from reach_analytics.measures.given import moment
from reach_analytics.measures.success import pooled


def health(batches: pd.DataFrame, pending: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    """Did it land, what waits, and what dies next: one row per tenant.

    Parameters
    ----------
    batches, pending : pandas.DataFrame
        As from ``history.batches()`` and ``history.pending()``.
    as_of : datetime
        The moment that expiries are measured from; without an offset it counts as UTC.

    Returns
    -------
    pandas.DataFrame
        tenant_id; batches, processing_batches, failed_batches; total_records, processed_records,
        successful_records, pending_records, failed_records (as the API counts them);
        settled_fraction (0–1, see `success`); pending_resources (as listed), expiring_soon (within
        an hour after ``as_of``), overdue (expiry at or before ``as_of``, yet still listed);
        next_expiry (UTC). By tenant_id. No rows without batches.

    Raises
    ------
    FrameError
        If a frame lacks a needed column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import health
    >>> now = pd.Timestamp("2026-01-01 12:00", tz="UTC")
    >>> batches = pd.DataFrame({
    ...     "tenant_id": ["t"], "batch_id": ["b"], "status": ["partial_success"],
    ...     "total_records": [4], "processed_records": [4], "successful_records": [2],
    ...     "pending_records": [1], "failed_records": [1],
    ... })
    >>> pending = columns.PENDING.conform(pd.DataFrame({
    ...     "tenant_id": ["t"], "expires_at": [now + pd.Timedelta(minutes=20)],
    ...     "missing_count": [1],
    ... }))
    >>> row = health(batches, pending, as_of=now).iloc[0]
    >>> row["pending_resources"], row["expiring_soon"], round(row["settled_fraction"], 2)
    (np.int64(1), np.int64(1), np.float64(0.67))
    """
    batches = BATCHES.require(batches, ["tenant_id", "status"], "health")
    pending = PENDING.require(pending, ["tenant_id", "expires_at"], "health")
    pending = pending.reset_index(drop=True)
    _, table = pooled(batches, by="tenant_id")
    table = table.reset_index()
    tenants = table["tenant_id"]
    for status, name in (("processing", "processing_batches"), ("failure", "failed_batches")):
        table[name] = _per_tenant(batches["tenant_id"][batches["status"] == status], tenants)
    now = moment(as_of)
    expires = as_utc(pending["expires_at"])
    coming = expires[expires > now]
    table["pending_resources"] = _per_tenant(pending["tenant_id"], tenants)
    soon = coming.index[coming <= now + pd.Timedelta(hours=1)]
    table["expiring_soon"] = _per_tenant(pending["tenant_id"].loc[soon], tenants)
    table["overdue"] = _per_tenant(pending["tenant_id"][expires <= now], tenants)
    first = coming.groupby(pending["tenant_id"].loc[coming.index]).min()
    table["next_expiry"] = first.reindex(tenants).array
    return HEALTH.conform(table.sort_values("tenant_id"))


def _per_tenant(rows: pd.Series, tenants: pd.Series) -> list[int]:
    """How many rows each tenant has."""
    counts: list[int] = rows.value_counts().reindex(tenants, fill_value=0).tolist()
    return counts
