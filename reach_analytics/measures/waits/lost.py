"""What was lost, and why: the records that expired or failed, by name where one is known."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from reach_analytics.measures._verdicts.endings import Endings, endings_of_rows
from reach_analytics.measures.batches.errors import leaves
from reach_analytics.measures.batches.failed_records import failed_records
from reach_analytics.measures.waits.reconciliation import accounts_of_batches, counting_codes
from reach_analytics.tables import (
    BATCH_KEY,
    BATCHES,
    DEPARTURES,
    LOST,
    OBSERVATIONS,
    WAIT_KEY,
    WAIT_OUTCOMES,
    Frame,
)

__all__ = ["lost", "lost_in_part", "lost_of_counts"]

_NEEDED = [*BATCH_KEY, "observed_at", "status", "schema_definition_id", "schema_name"]
_NEEDED += ["created_at", "started_at", "total_records", "processed_records", "successful_records"]
_NEEDED += ["pending_records", "failed_records"]
_NEEDED += ["error_message", "error_summary", "error_details"]
_OF_WAITS = [*BATCH_KEY, "pending_id", "external_id", "schema_definition_id", "schema_name"]
_OF_WAITS += ["verdict", "rule", "last_seen", "ended_after", "ended_by", "departure", "expires_at"]
_OF_WAITS += ["unknown_together", "released_at_least", "released_at_most"]
_OF_WAITS += ["root_schema_definition_id", "root_external_id"]
_RECORD = [*BATCH_KEY, "external_id"]
_COUNTS = ("total_records", "successful_records", "pending_records", "failed_records")
_OF_OBSERVATIONS = [*BATCH_KEY, "sent_at", "received_at", "ok", "error_details"]
_TIME = "datetime64[us, UTC]"


def lost(
    batches: Frame,
    wait_outcomes: Frame,
    departures: Frame | None = None,
    observations: Frame | None = None,
) -> pd.DataFrame:
    """The records that were lost, or may have been, with the cause and how sure that is.

    - ``expired``: their wait ran out, for certain; `wait_outcomes` names the ``rule``.
    - ``unknown``: their wait is over, and nobody saw how. Of those that left their batch together
      and are unknown (``unknown_together``), ``expired_at_least`` to ``expired_at_most`` expired.
    - ``failed``: the batch says so. Its error details name some of them; the others, of which only
      the number is known, are one row of their batch without an ``external_id``.

    A wait of which the end is unknown, but whose record the error details name since the last
    observation that lists it, is lost for certain. Where they name as many as the batch lost, the
    others of its unknown ones are not lost, and not listed. Names are not certain where the details
    have more of them than the batch lost, nor where a record of that id still waits.

    So ``records`` adds up: that of the rows that are certain to no more than what
    `reconciliation` counts as expired, unknown or failed, that of all rows to no less. Of batches
    that it cannot reconcile, what cannot have landed is listed, but not as certain. A batch that
    failed as a whole, without any count, is a row with ``records`` null.

    Parameters
    ----------
    batches, wait_outcomes : pandas.DataFrame
        As from ``history.batches()`` and ``history.wait_outcomes()``.
    departures : pandas.DataFrame, optional
        As from ``history.departures()``, to learn from which error codes count what expired.
    observations : pandas.DataFrame, optional
        As from ``history.observations()``, to see since when the details name a record; without it
        they settle no wait.

    Returns
    -------
    pandas.DataFrame
        The latest first: schema_name, external_id, outcome, certain, records, cause (in words),
        error_code, error_message (as the batch has them), rule, lost_after and lost_by (UTC;
        between these it was lost, for an expiry both are its moment), root_schema_name,
        root_external_id (what it waited for in the end, as `wait_outcomes` has it),
        unknown_together, expired_at_least, expired_at_most, and the ids. No rows if nothing was.

    Raises
    ------
    FrameError
        If a frame lacks a needed column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import lost
    >>> batches = tables.BATCHES.conform(pd.DataFrame({
    ...     "tenant_id": ["t"], "batch_id": ["b"], "total_records": [5], "processed_records": [5],
    ...     "successful_records": [2], "pending_records": [0], "failed_records": [3],
    ...     "error_summary": ['{"INVALID_EMAIL": 3}'],
    ...     "error_details": ['[{"externalId": "C-1", "message": "no such domain"}]'],
    ... }))
    >>> table = lost(batches, tables.WAIT_OUTCOMES.empty())
    >>> print(table[["external_id", "outcome", "records", "cause"]].to_string(index=False))
    external_id outcome  records            cause
            C-1  failed        1   no such domain
            NaN  failed        2 INVALID_EMAIL: 3
    """
    batches = BATCHES.normalize(batches, _NEEDED, "lost")
    counts = endings_of_rows(wait_outcomes, batches, "lost")
    waits = WAIT_OUTCOMES.normalize(wait_outcomes, _OF_WAITS, "lost")
    if departures is not None:
        departures = DEPARTURES.normalize(departures, DEPARTURES.names, "lost")
    said = None
    if observations is not None:
        said = OBSERVATIONS.normalize(observations, _OF_OBSERVATIONS, "lost")
        said = said[said["ok"].astype("boolean").fillna(False).astype(bool)]
    return lost_of_counts(batches, waits, counts, departures, said)


def lost_of_counts(
    batches: pd.DataFrame,
    waits: pd.DataFrame,
    counts: Endings,
    departures: pd.DataFrame | None,
    said: pd.DataFrame | None,
    schema_names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The same, from the counts of all waits, and those of them that expired, whose end is unknown,
    or whose record the error details name.

    ``said`` has the error details of the good observations, each text of a batch once or often:
    tenant_id, batch_id, sent_at, received_at, error_details.
    """
    codes = counting_codes(counts, departures)
    account = accounts_of_batches(batches, counts, codes)
    named = _named(batches, account, waits, said)
    told = _told(waits, named)
    over = waits[waits["verdict"].isin(["expired", "unknown"])].join(told)
    over = over[~_landed(over, batches, account, named)]
    names = _schema_names(batches, waits) | dict(schema_names or {})
    failed = _failed(batches, named.drop(told["named"]))
    rest = _unnamed(batches, account, over, failed)
    parts = [part for part in (_of_waits(over, codes, names), failed, rest) if len(part)]
    rows = LOST.conform(pd.concat(parts)) if parts else LOST.empty()
    return LOST.in_order(rows).reset_index(drop=True)


def lost_in_part(found: pd.DataFrame, waits: pd.DataFrame, batches: pd.DataFrame) -> pd.DataFrame:
    """Of what was lost, what is about one of these waits, or else about one of these batches."""
    wait = pd.MultiIndex.from_frame(found[WAIT_KEY]).isin(pd.MultiIndex.from_frame(waits[WAIT_KEY]))
    batch = pd.MultiIndex.from_frame(batches[BATCH_KEY])
    of_batch = pd.MultiIndex.from_frame(found[BATCH_KEY]).isin(batch)
    return found[np.where(found["rule"].notna(), wait, of_batch)].reset_index(drop=True)


def _named(
    batches: pd.DataFrame, account: pd.DataFrame, waits: pd.DataFrame, said: pd.DataFrame | None
) -> pd.DataFrame:
    """The records that the details name, each once: with waits (whether one of that id still does),
    trusted (whether all of these names can be losses), sent_at and received_at (when an observation
    first named it; null if not known)."""
    named = failed_records(batches).drop_duplicates(_RECORD, ignore_index=True)
    still = waits[waits["verdict"].isin(["pending", "censored"])]
    known = pd.MultiIndex.from_frame(named[_RECORD])
    named["waits"] = known.isin(pd.MultiIndex.from_frame(still[_RECORD]))
    key = pd.MultiIndex.from_frame(batches[BATCH_KEY])
    odd = account[("unreconciled", "")] > 0
    most = _lost_of(account).mask(odd, _number(batches["failed_records"]).to_numpy())
    most = most.set_axis(key).reindex(pd.MultiIndex.from_frame(named[BATCH_KEY]))
    several = (~named["waits"]).groupby([named[name] for name in BATCH_KEY]).transform("sum")
    named["trusted"] = (several.to_numpy() <= most.to_numpy()) & ~named["waits"]
    first = _first_said(said, named)
    return named.join(first, on=_RECORD)


def _lost_of(account: pd.DataFrame) -> pd.Series:
    """How many of each batch were lost at most."""
    parts = account.drop(columns=[("landed", ""), ("waiting", ""), ("unprocessed", "")])
    return parts.sum(axis=1).astype("float64")


def _first_said(said: pd.DataFrame | None, named: pd.DataFrame) -> pd.DataFrame:
    """When an observation first named each record: sent_at and received_at, by its names."""
    times = ["sent_at", "received_at"]
    if said is None or said.empty or named.empty:
        never = pd.MultiIndex.from_arrays([[], [], []], names=_RECORD)
        return pd.DataFrame({name: pd.Series([], dtype=_TIME) for name in times}).set_axis(never)
    own = said[said["error_details"].notna()]
    texts = own.groupby([*BATCH_KEY, "error_details"], as_index=False)[times].min()
    # Each text with a batch of its own, so that what it names is told apart.
    each = texts.assign(batch_id=[str(n) for n in range(len(texts))])
    found = failed_records(each).drop_duplicates(_RECORD)
    place = found["batch_id"].astype("int64").to_numpy()
    rows = texts.iloc[place].assign(external_id=found["external_id"].to_numpy())
    return rows.groupby(_RECORD)[times].min()


def _told(waits: pd.DataFrame, named: pd.DataFrame) -> pd.DataFrame:
    """What the details say of waits that ended badly: named (the row), error_code, error_message.

    Where several waits of a batch have one external id, the details may mean any of them: one that
    expired, if there is one, and else nobody can tell which.
    """
    alone = ~waits.duplicated(_RECORD, keep=False)
    expired = waits["verdict"] == "expired"
    meant = waits.loc[expired | (alone & (waits["verdict"] == "unknown")), _RECORD]
    meant = meant.drop_duplicates(_RECORD)
    rows = named.reset_index(names="named")
    rows = rows[~rows["waits"]]
    found = meant.reset_index(names="_wait").merge(rows, on=_RECORD).set_index("_wait")
    after = found["sent_at"] > waits["last_seen"].reindex(found.index)
    settled = after.fillna(False) & found["trusted"]
    return found.assign(settled=settled)[["named", "settled", "error_code", "error_message"]]


def _schema_names(batches: pd.DataFrame, waits: pd.DataFrame) -> dict[str, str]:
    """The name of each schema that the rows name."""
    own = ["schema_definition_id", "schema_name"]
    both = pd.concat([batches[own], waits[own]]).dropna().drop_duplicates(own[0])
    return dict(zip(both[own[0]], both[own[1]], strict=True))


def _landed(
    over: pd.DataFrame, batches: pd.DataFrame, account: pd.DataFrame, named: pd.DataFrame
) -> pd.Series:
    """Which of these waits lost nothing: their batch's details name all that it lost, but not
    them."""
    key = pd.MultiIndex.from_frame(batches[BATCH_KEY])
    whole = (_lost_of(account) == _each(named, key)) & (account[("unreconciled", "")] == 0)
    whole &= _each(named[named["waits"]], key) == 0
    own = pd.MultiIndex.from_frame(over[BATCH_KEY]).isin(key[whole.to_numpy(bool)])
    return (over["verdict"] == "unknown") & over["named"].isna() & own


def _each(rows: pd.DataFrame, batches: pd.MultiIndex) -> pd.Series:
    """How many of the rows each batch has."""
    return rows.groupby(BATCH_KEY).size().reindex(batches).fillna(0).reset_index(drop=True)


def _of_waits(rows: pd.DataFrame, codes: list[str], names: Mapping[str, str]) -> pd.DataFrame:
    """A row for each wait that expired, or may have; with its error, where one is named."""
    expired = rows["verdict"] == "expired"
    is_named = rows["settled"].fillna(False).astype(bool)
    counted = [code.rpartition(".")[2] for code in codes]
    told = is_named & rows["error_code"].isin(counted)
    root = rows["root_schema_definition_id"].map(names).astype("str")
    what = root.fillna("").str.cat(rows["root_external_id"], sep=" ").str.strip()
    waited = "waited for " + what
    error = _error(rows["error_code"], rows["error_message"])
    failed = is_named & ~expired & ~told
    rows = rows.assign(
        outcome=np.select([expired | told, is_named], ["expired", "failed"], "unknown"),
        certain=expired | is_named,
        records=1,
        cause=error.where(failed, waited.fillna(error)),
        lost_after=rows["ended_after"],
        lost_by=rows["ended_by"],
        root_schema_name=root,
        expired_at_least=rows["unknown_together"] - rows["released_at_most"],
        expired_at_most=rows["unknown_together"] - rows["released_at_least"],
    )
    for name in ("lost_after", "lost_by"):
        rows[name] = rows[name].where(~(told & ~expired), rows["expires_at"])
    return rows


def _failed(batches: pd.DataFrame, named: pd.DataFrame) -> pd.DataFrame:
    """A row for each record that the details name."""
    own = batches[[*BATCH_KEY, "schema_definition_id", "schema_name", *_SPAN]]
    rows = named.merge(own, on=BATCH_KEY)
    error = _error(rows["error_code"], rows["error_message"])
    rows = rows.assign(outcome="failed", certain=rows["trusted"], records=1, cause=error)
    return _spanned(rows, rows["received_at"].fillna(rows["observed_at"]))


_SPAN = ["created_at", "started_at", "observed_at"]


def _spanned(rows: pd.DataFrame, lost_by: pd.Series) -> pd.DataFrame:
    """With the time in which the batch lost them."""
    after = rows["started_at"].fillna(rows["created_at"])
    return rows.assign(lost_after=after.where(~(after > lost_by), lost_by), lost_by=lost_by)


def _error(code: pd.Series, message: pd.Series) -> pd.Series:
    """The code and the message as one text; null without either."""
    both = code.str.cat(message, sep=": ")
    return both.fillna(code).fillna(message)


def _unnamed(
    batches: pd.DataFrame, account: pd.DataFrame, waits: pd.DataFrame, failed: pd.DataFrame
) -> pd.DataFrame:
    """A row for those of each batch of which only the number is known."""
    own = batches[[*BATCH_KEY, "schema_definition_id", "schema_name", *_SPAN]]
    key = pd.MultiIndex.from_frame(batches[BATCH_KEY])
    unseen = _each(waits[waits["verdict"] == "unknown"], key)
    listed = _each(failed, key)
    counted = account[("expired", "counts")]
    expired = (counted - unseen).clip(lower=0)
    unknown = (counted + account[("unknown", "")] - unseen).clip(lower=0) - expired
    refused = (account[("failed", "")] - listed).clip(lower=0)
    ended = _each(waits[waits["verdict"] == "expired"], key)  # of which the batch may count some
    doubtful = (_doubtful(batches, account) - listed - ended).clip(lower=0)
    cause = _summaries(batches)
    parts = [
        own.assign(outcome=outcome, certain=certain, records=count, cause=cause)[count > 0]
        for outcome, certain, count in (
            ("expired", True, expired),
            ("unknown", False, unknown),
            ("failed", True, refused),
            ("failed", False, doubtful),
        )
    ]
    told = _each(waits, key) + listed + expired + unknown + refused + doubtful
    whole = (batches["status"] == "failure") & (told == 0)
    parts.append(own.assign(outcome="failed", certain=True, cause=cause)[whole])
    rows = pd.concat(parts)
    rows = rows.assign(error_message=batches["error_message"].reindex(rows.index))
    return _spanned(rows, rows["observed_at"])


def _doubtful(batches: pd.DataFrame, account: pd.DataFrame) -> pd.Series:
    """How many of each batch may be lost by counts that do not add up: what it says failed, or what
    it neither says landed nor waits; and all that a failed batch did not process."""
    total, good, waiting, bad = (_number(batches[name]) for name in _COUNTS)
    processed = _number(batches["processed_records"]).where(
        batches["processed_records"].notna(), total
    )
    rest = (processed.where(processed < total, total) - good - waiting).clip(lower=bad)
    odd = (account[("unreconciled", "")] > 0) | batches["total_records"].isna()
    left = account[("unprocessed", "")].where(batches["status"] == "failure", 0)
    return rest.where(odd, left)


def _number(counts: pd.Series) -> pd.Series:
    return counts.astype("Float64").astype("float64").fillna(0)


def _summaries(batches: pd.DataFrame) -> pd.Series:
    """What each batch says of its errors: its message, or else what its summary counts most."""
    place, texts = pd.factorize(batches["error_summary"])
    read = np.array([*(_counted(text) for text in texts), None], object)[place]
    counted = pd.Series(pd.array(read, dtype="str"), index=batches.index)
    return batches["error_message"].fillna(counted)


def _counted(summary: str) -> str | None:
    """The three largest numbers of a summary, with what they count."""
    try:
        found = leaves(json.loads(summary))
    except (ValueError, RecursionError):
        return None
    numbers = [(path, n) for path, n in found if isinstance(n, int) and not isinstance(n, bool)]
    largest = sorted((-n, path) for path, n in numbers if path and 0 < n < 2**53)[:3]
    return ", ".join(f"{path}: {-n:,}" for n, path in largest) or None
