"""Where every record of the batches is now: one account that adds up to the batches' own counts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.measures._shared.grouping import By, finished, group_names
from reach_analytics.measures._verdicts.endings import Endings, endings_of_rows
from reach_analytics.measures.waits.expiry_codes import codes_of_counts, expiry_counts
from reach_analytics.tables import (
    BATCH_KEY,
    BATCHES,
    DEPARTURES,
    RECONCILIATION,
    Frame,
)

__all__ = [
    "PARTS",
    "account_of_counts",
    "accounts_of_batches",
    "counting_codes",
    "lost_to_expiry",
    "reconciliation",
]

_COUNTS = ["total_records", "successful_records", "pending_records", "failed_records"]
PARTS = ["landed", "waiting", "unprocessed", "expired", "unknown", "failed", "unreconciled"]


def reconciliation(
    batches: Frame,
    wait_outcomes: Frame,
    departures: Frame | None = None,
    *,
    by: By = None,
) -> pd.DataFrame:
    """Every record of the batches, in one part each: how many were lost, how surely, and by what.

    The parts add up to the batches' ``total_records``:

    - ``landed``: successful;
    - ``waiting``: pending, too young to tell;
    - ``unprocessed``: not yet processed;
    - ``expired``: lost when its wait expired, for certain. ``rule`` says how that is known: as in
      `wait_outcomes`, or ``counts`` where it is certain how many of those that left expired, but
      not which;
    - ``unknown``: lost, by expiry or otherwise; or landed, where the batch's counts are older than
      the observations that bracket its end;
    - ``failed``: lost, though not in a wait that was seen: refused at once, released and then
      invalid, or, where no code shows it, expired in a wait that began and ended between two
      observations;
    - ``unreconciled``: all records of batches whose counts are missing or contradict each other or
      the verdicts.

    So of the waits that were seen, ``expired`` expired at least and ``expired`` + ``unknown`` at
    most, and what was lost at all is the sum of ``expired``, ``unknown`` and ``failed``. A batch
    counts what is neither landed, waiting nor unprocessed as lost, whether the API calls it failed
    or leaves it out. Where an error code counts what expired (`expiry_codes`), the batch's own
    count of it decides, which includes waits that were over before the first observation.

    Parameters
    ----------
    batches, wait_outcomes : pandas.DataFrame
        As from ``history.batches()`` and ``history.wait_outcomes()``.
    departures : pandas.DataFrame, optional
        As from ``history.departures()``, to learn the codes from.
    by : str or list of str, optional
        Columns of the batches to group by, as ``"tenant_id"`` or ``"schema_name"``.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; part, rule (null but for ``expired``), records. Every part has a row;
        ``expired`` one for each rule that applied, or one without. No rows without batches.

    Raises
    ------
    FrameError
        If a frame lacks a needed column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import reconciliation
    >>> batches = tables.BATCHES.conform(pd.DataFrame({
    ...     "tenant_id": ["t"], "batch_id": ["b"], "total_records": [10], "processed_records": [10],
    ...     "successful_records": [6], "pending_records": [1], "failed_records": [3],
    ... }))
    >>> table = reconciliation(batches, tables.WAIT_OUTCOMES.empty())
    >>> print(table.query("records > 0")[["part", "records"]].to_string(index=False))
       part  records
     landed        6
    waiting        1
     failed        3
    """
    names = _names(by)
    needed = [*names, *BATCH_KEY, *_COUNTS, "processed_records", "observed_at", "error_summary"]
    batches = BATCHES.normalize(batches, dict.fromkeys(needed), "reconciliation")
    counts = endings_of_rows(wait_outcomes, batches, "reconciliation")
    if departures is not None:
        departures = DEPARTURES.normalize(departures, DEPARTURES.names, "reconciliation")
    return account_of_counts(batches, counts, departures, by=by)


def _names(by: By) -> list[str]:
    return group_names(by, RECONCILIATION.names, "the batches")


def account_of_counts(
    batches: pd.DataFrame, counts: Endings, departures: pd.DataFrame | None, *, by: By = None
) -> pd.DataFrame:
    """The account, from how many waits of each departure and batch ended how."""
    names = _names(by)
    BATCHES.check(batches, names, "reconciliation")
    if batches.empty:
        return finished(batches.reindex(columns=names), names, RECONCILIATION.empty())
    account = accounts_of_batches(batches, counts, counting_codes(counts, departures))
    long = pd.concat([batches[names].reset_index(drop=True), account], axis=1)
    if not names:
        names, long = ["_all"], long.assign(_all=0)
    wide = long.groupby(names, dropna=False).sum()
    sums = wide.reset_index().melt(names, var_name="_place", value_name="records")
    sums[["part", "rule"]] = pd.DataFrame(sums.pop("_place").tolist(), index=sums.index)
    sums = sums[_shown(sums, names)]
    sums["rule"] = sums["rule"].mask(sums["rule"] == "")
    order = [*names, "_part", "rule"]
    sums = sums.assign(_part=sums["part"].map(PARTS.index)).sort_values(order)
    return finished(sums.set_index(names), names, RECONCILIATION.empty())


def _shown(sums: pd.DataFrame, names: list[str]) -> pd.Series:
    """All parts; of the rules of ``expired`` those that applied, or the first of a group."""
    expired = sums["part"] == "expired"
    some = expired & (sums["records"] > 0)
    has = some.groupby([sums[name] for name in names], dropna=False).transform("any")
    return ~expired | some | (~has & (sums["rule"] == ""))


def counting_codes(counts: Endings, departures: pd.DataFrame | None) -> list[str]:
    """The error codes that count what expired."""
    if departures is None:
        return []
    found = codes_of_counts(counts.departures, departures)
    return [str(code) for code in found.loc[found["used"], "code"]]


def accounts_of_batches(batches: pd.DataFrame, counts: Endings, codes: list[str]) -> pd.DataFrame:
    """The parts of each batch, a column for each (part, rule)."""
    count = {n: batches[n].astype("Float64").astype("float64") for n in _COUNTS}
    processed = batches["processed_records"].astype("Float64").astype("float64")
    total, good, pending, failed = count.values()
    processed = processed.fillna(good + pending + failed)
    unprocessed = (total - processed).clip(lower=0)
    lost = total - unprocessed - good - pending
    known = _of_batches(batches, counts)
    rules = [name for name in known if name not in ("least", "most", "open", "due")]
    certain = known[rules].sum(axis=1)
    # What the last list holds and the batch counts no longer left after that list.
    left_since = (known["open"] - pending).clip(lower=0)
    left_since = left_since.where(left_since < known["due"], known["due"])
    room = lost - certain
    most = (known["most"] + left_since).where(known["most"] + left_since < room, room)
    least = known["least"].where(known["least"] < most, most)
    told = _by_codes(batches, codes) - certain
    exact = told.notna() & (told >= 0) & (told <= room) & (told == told.round())
    least, most = least.mask(exact, told), most.mask(exact, told)
    sound = (room >= 0) & (good >= 0) & (pending >= 0) & (unprocessed >= 0)
    parts = {
        ("landed", ""): good,
        ("waiting", ""): pending,
        ("unprocessed", ""): unprocessed,
        ("expired", ""): 0.0 * total,
        **{("expired", rule): known[rule] for rule in rules},
        ("expired", "counts"): least,
        ("unknown", ""): most - least,
        ("failed", ""): room - most,
    }
    table = pd.DataFrame({key: values.where(sound, 0) for key, values in parts.items()})
    table[("unreconciled", "")] = total.where(~sound, 0)
    return table.fillna(0).astype("int64").reset_index(drop=True)


def _of_batches(batches: pd.DataFrame, counts: Endings) -> pd.DataFrame:
    """For each batch what is known of its waits: how many expired by each rule; of those that are
    unknown, how many expired at least and at most; how many are open, and how many of these were
    due by the batch's last observation."""
    key = pd.MultiIndex.from_frame(batches[BATCH_KEY])
    by_rule = counts.expired.pivot(index=BATCH_KEY, columns="rule", values="waits")
    parts = [by_rule, *(part.set_index(BATCH_KEY) for part in (counts.unknown, counts.open))]
    found = pd.concat([part.reindex(key).fillna(0) for part in parts], axis=1)
    return found.astype("float64").reset_index(drop=True)


def _by_codes(batches: pd.DataFrame, codes: list[str]) -> pd.Series:
    """How much of each batch expired, by what a code counts; null where none does."""
    nothing = (batches["failed_records"] == 0).fillna(False).astype(bool)
    texts = batches["error_summary"].where(~(nothing & batches["error_summary"].isna()), "{}")
    found = expiry_counts(texts, codes)
    # Each of the codes counts all that expired; where they differ, none is to be trusted.
    agree = found.nunique(axis=1) == 1
    first = found.iloc[:, 0] if codes else pd.Series(np.nan, index=batches.index)
    return first.where(agree & texts.notna())


def lost_to_expiry(reconciled: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Per group: lost_records, expired_min and expired_max (counts)."""
    parts = reconciled.pivot_table(
        index=names, columns="part", values="records", aggfunc="sum", fill_value=0, dropna=False
    ).reindex(columns=PARTS, fill_value=0)
    return pd.DataFrame(
        {
            "lost_records": parts["expired"] + parts["unknown"] + parts["failed"],
            "expired_min": parts["expired"],
            "expired_max": parts["expired"] + parts["unknown"],
        }
    )
