"""The overall state, in one row per tenant."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from reach_analytics._time import parse_timestamp
from reach_analytics.measures.batches.success import pooled
from reach_analytics.measures.waits.reconciliation import lost_to_expiry
from reach_analytics.queries.evidence import pending_counts_of_rows
from reach_analytics.tables import BATCHES, HEALTH, PENDING, RECONCILIATION, Frame, as_utc

__all__ = ["health", "health_of_counts"]

_OF_BATCHES = ["tenant_id", "status", "observed_at"]


def health(
    batches: Frame,
    pending: Frame,
    reconciliation: Frame | None = None,
    *,
    as_of: datetime,
) -> pd.DataFrame:
    """Did it land, what waits, what was lost, and what expires next: one row per tenant.

    Parameters
    ----------
    batches, pending : pandas.DataFrame
        As from ``history.batches()`` and ``history.pending()``.
    reconciliation : pandas.DataFrame, optional
        As from ``history.reconciliation(by="tenant_id")``; without it the counts of what
        was lost are null.
    as_of : datetime
        The moment that expiries are measured from; without an offset it counts as UTC.

    Returns
    -------
    pandas.DataFrame
        tenant_id; batches, processing_batches, failed_batches; total_records, processed_records,
        successful_records, pending_records, failed_records (as the API counts them);
        settled_fraction (0–1, see `success`); pending_resources (as listed), expiring_soon (within
        an hour after ``as_of``), overdue (expiry at or before ``as_of``, but still listed);
        next_expiry (UTC); lost_records, expired_min and expired_max (counts, see
        `reconciliation`); last_observed_at (UTC) and observation_age (a length of time: nothing
        that happened since is known). By tenant_id. No rows without batches.

    Raises
    ------
    FrameError
        If a frame lacks a needed column, or the tenant of a row.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import health
    >>> now = pd.Timestamp("2026-01-01 12:00", tz="UTC")
    >>> batches = pd.DataFrame({
    ...     "tenant_id": ["t"], "batch_id": ["b"], "status": ["partial_success"],
    ...     "observed_at": [now - pd.Timedelta(minutes=1)],
    ...     "total_records": [4], "processed_records": [4], "successful_records": [2],
    ...     "pending_records": [1], "failed_records": [1],
    ... })
    >>> pending = tables.PENDING.conform(pd.DataFrame({
    ...     "tenant_id": ["t"], "expires_at": [now + pd.Timedelta(minutes=20)],
    ...     "missing_count": [1],
    ... }))
    >>> row = health(batches, pending, as_of=now).iloc[0]
    >>> row["pending_resources"], row["expiring_soon"], round(row["settled_fraction"], 2)
    (np.int64(1), np.int64(1), np.float64(0.67))
    """
    batches = BATCHES.normalize(batches, _OF_BATCHES, "health")
    pending = PENDING.normalize(pending, ["tenant_id", "expires_at"], "health")
    for kind, frame in ((BATCHES, batches), (PENDING, pending)):
        kind.identified(frame, ["tenant_id"], "health")
    now = parse_timestamp(as_of)
    rows = PENDING.to_arrow(pending[["tenant_id", "expires_at"]])
    counts = pending_counts_of_rows(rows, now.to_pydatetime()).to_pandas()
    return health_of_counts(batches, counts, reconciliation, as_of=now)


def health_of_counts(
    batches: pd.DataFrame,
    counts: pd.DataFrame,
    reconciliation: Frame | None,
    *,
    as_of: pd.Timestamp,
) -> pd.DataFrame:
    """The same, from how many resources of each tenant wait; see `queries.current`."""
    _, table = pooled(batches, by="tenant_id")
    table = table.reset_index()
    tenants = table["tenant_id"]
    for status, name in (("processing", "processing_batches"), ("failure", "failed_batches")):
        table[name] = _per_tenant(batches["tenant_id"][batches["status"] == status], tenants)
    waits = counts.set_index("tenant_id").reindex(tenants)
    for name in ("pending_resources", "expiring_soon", "overdue"):
        table[name] = waits[name].fillna(0).astype("int64").array
    table["next_expiry"] = waits["next_expiry"].array
    seen = as_utc(batches["observed_at"]).groupby(batches["tenant_id"]).max()
    table["last_observed_at"] = seen.reindex(tenants).array
    table["observation_age"] = as_of - table["last_observed_at"]
    if reconciliation is not None:
        needed = ["tenant_id", *RECONCILIATION.names]
        given = RECONCILIATION.normalize(reconciliation, needed, "health")
        lost = lost_to_expiry(given, ["tenant_id"]).reindex(tenants)
        for name in ("lost_records", "expired_min", "expired_max"):
            table[name] = lost[name].array
    return HEALTH.conform(HEALTH.in_order(table))


def _per_tenant(rows: pd.Series, tenants: pd.Series) -> list[int]:
    """How many rows each tenant has."""
    counts: list[int] = rows.value_counts().reindex(tenants, fill_value=0).tolist()
    return counts
