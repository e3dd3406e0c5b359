"""The verdicts as pandas once gave them: a second opinion on those of `queries.verdicts`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration
from reach_analytics.measures._shared.arrays import Flags, Ints
from reach_analytics.measures._verdicts.tallies import convention, released_bounds, tallies
from reach_analytics.measures.waits.expiry_codes import _judged, rises
from reach_analytics.tables import (
    BATCH_KEY,
    BATCHES,
    DEPARTURES,
    MISSING_INTERVALS,
    RESOURCE_KEY,
    WAIT_INTERVALS,
    WAIT_OUTCOMES,
    Frame,
    as_utc,
)
from tests.support.earlier import presence

__all__ = ["wait_outcomes"]

_OWN = ["tenant_id", "schema_definition_id", "external_id"]
_NAMES = ["tenant_id", "batch_type", "status", "created_at", "started_at", "completed_at"]
_NAMES += ["successful_records"]
_TIMES = ["created_at", "expires_at", "first_seen", "last_seen", "gone_by", "last_sent_at"]


def wait_outcomes(
    wait_intervals: Frame,
    missing_intervals: Frame,
    departures: Frame | None = None,
    batches: Frame | None = None,
    *,
    tolerance: str | pd.Timedelta = "5s",
    expired_counts_as_failed: bool | None = None,
    released_may_fail: bool = True,
) -> pd.DataFrame:
    """What became of each wait; see `measures.wait_outcomes`."""
    wait_intervals = WAIT_INTERVALS.normalize(wait_intervals, WAIT_INTERVALS.names, "wait_outcomes")
    missing_intervals = MISSING_INTERVALS.normalize(
        missing_intervals, MISSING_INTERVALS.names, "wait_outcomes"
    )
    slack = parse_duration(tolerance, "tolerance", minimum=pd.Timedelta(0))
    rows = wait_intervals.assign(**{name: as_utc(wait_intervals[name]) for name in _TIMES})
    order = ["tenant_id", "batch_id", "first_seen", "pending_id", "external_id"]
    rows = rows.sort_values(order, ignore_index=True)
    rows = rows.assign(verdict=pd.Series(pd.NA, rows.index, dtype="str"), rule="")
    links = presence.links(rows, missing_intervals)
    _by_time(rows, slack)
    _by_dependencies(rows, links, batches, slack)
    table, number = _tallies(rows, _departures(departures))
    bounds = _by_counts(rows, table, number, expired_counts_as_failed, released_may_fail)
    return WAIT_OUTCOMES.conform(rows.assign(**_ends(rows), **bounds, **roots(rows, links)))


def _departures(given: Frame | None) -> pd.DataFrame:
    if given is None:
        return DEPARTURES.empty()
    return DEPARTURES.normalize(given, DEPARTURES.names, "wait_outcomes")


def _decide(rows: pd.DataFrame, where: pd.Series, verdict: str, rule: str) -> None:
    """Give the verdict to the rows where it applies and none was given before."""
    new = where.fillna(False).astype(bool) & rows["verdict"].isna()
    rows.loc[new, ["verdict", "rule"]] = verdict, rule


def _by_time(rows: pd.DataFrame, slack: pd.Timedelta) -> None:
    """Rules 2, 3 and 4: the moments alone."""
    gone = rows["gone_by"].notna()
    _decide(rows, ~gone & (rows["last_sent_at"] > rows["last_seen"]), "censored", "2")
    _decide(rows, ~gone, "pending", "seen")
    _decide(rows, rows["gone_by"] <= rows["expires_at"] - slack, "released", "3")
    _decide(rows, rows["last_seen"] >= rows["expires_at"] + slack, "expired", "4")


def _by_dependencies(
    rows: pd.DataFrame, links: pd.DataFrame, batches: Frame | None, slack: pd.Timedelta
) -> None:
    """Rules 5a and 5b: what other resources show of the dependencies."""
    keys = presence.presence(links, rows)
    last = links[links["at_last"]].reset_index(drop=True)
    interval = last["interval"].to_numpy()
    own = keys.reindex(last["key"]).reset_index(drop=True)
    expires, seen = (
        rows[n].iloc[interval].reset_index(drop=True) for n in ("expires_at", "last_seen")
    )

    def undone(after: pd.Series, by: pd.Series) -> pd.Series:
        tenant = last["tenant_id"]
        return pd.Series(
            may_have_deleted(batches, tenant, after - slack, by + slack, "wait_outcomes")
        )

    steady = own["steady"].astype(bool)
    late = next_missing(links, last["key"], expires + slack)
    lacking = steady & late.notna() & ~undone(seen, late)
    in_time = steady & (own["there_by"] <= expires - slack)
    lacks = _counts(interval, lacking, len(rows)) > 0
    known = rows["missing_count"].astype("float64").to_numpy()
    # Of several that came one after the other, the first may have been gone when the last came.
    alone = pd.Series((known == 1)[interval])
    in_time &= alone | ~undone(seen, own["there_by"].fillna(expires))
    # Never where the list was left out; nor where it was empty and still waited, which shows that
    # nothing is released at once there, as the rule assumes.
    complete = (_counts(interval, in_time, len(rows)) == known) & (known > 0)
    in_view = rows["last_seen"] <= rows["expires_at"] - slack
    _decide(rows, pd.Series(lacks), "expired", "5a")
    _decide(rows, pd.Series(complete) & in_view, "released", "5b")


def _counts(numbers: np.ndarray, flags: pd.Series, size: int) -> np.ndarray:
    return np.bincount(numbers[flags.to_numpy(bool)], minlength=size)


def _by_counts(
    rows: pd.DataFrame,
    table: pd.DataFrame,
    number: Ints,
    as_failed: bool | None,
    may_fail: bool,
) -> dict[str, pd.Series]:
    """Rules 5c to 6: what the batches counted from a base to the departure's observation.

    ``table`` has a row per departure, and ``number`` says which is whose.
    """
    if as_failed is None:
        as_failed = convention(table)
    least, most = released_bounds(table, as_failed, may_fail)
    agree = least <= most  # counts that contradict each other prove nothing
    least, most = least.where(agree, 0.0), most.where(agree, table["open"])
    low, high = _by_codes(table)
    told = (least.clip(lower=low) <= most.clip(upper=high)) & (low <= high)
    low, high = low.where(told, 0.0), high.where(told, table["open"])

    def of(values: pd.Series) -> pd.Series:
        return values.reindex(number).set_axis(rows.index)

    gone = pd.Series(number >= 0, rows.index)
    some = of(table["open"] > 0)
    ends = rows["expires_at"].notna()  # what cannot expire has not
    _decide(rows, gone & ends & some & of(most == 0), "expired", "5c")
    _decide(rows, gone & some & of(least == table["open"]), "released", "5d")
    _decide(rows, gone & ends & some & of(high == 0), "expired", "5e")
    _decide(rows, gone & some & of(low == table["open"]), "released", "5e")
    _decide(rows, gone, "unknown", "6")
    unknown = rows["verdict"] == "unknown"
    bounds = {
        "unknown_together": table["open"],
        "released_at_least": least.clip(lower=low),
        "released_at_most": most.clip(upper=high),
    }
    return {name: of(values).where(unknown) for name, values in bounds.items()}


def _by_codes(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """At least and at most how many of the open ones were released, by the codes that count what
    expired."""
    risen = rises(table)
    low = pd.Series(0.0, table.index)
    high = table["open"].astype("float64")
    for code in trusted(table, risen):
        rise = risen[code] - table["expired"]
        most_expired = (rise - table["others_expired"]).clip(lower=-1)
        min_expired = (rise - table["others_may_be_expired"]).where(table["settled_before"])
        low = low.clip(lower=(table["open"] - most_expired).fillna(0))
        high = high.clip(upper=(table["open"] - min_expired).fillna(np.inf))
    return low, high


def _ends(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """When each wait ended, as an interval, and how long after its expiry an expired one went."""
    expired, expires = rows["verdict"] == "expired", rows["expires_at"]
    # Nothing waits beyond its expiry, whatever became of it.
    over = (expires < rows["gone_by"]) & (expires > rows["last_seen"])
    by = rows["gone_by"].mask(over, expires)
    late = rows["last_seen"] - expires
    # Where the clocks differ, the last observation may be a little later than the expiry.
    after = rows["last_seen"].mask((expires < rows["last_seen"]) & rows["gone_by"].notna(), expires)
    return {
        "ended_after": after.mask(expired, expires),
        "ended_by": by.mask(expired, expires),
        "sweep_lag_low": late.where(late > pd.Timedelta(0), pd.Timedelta(0)).where(expired),
        "sweep_lag_high": (rows["gone_by"] - expires).where(expired),
    }


def may_have_deleted(
    batches: Frame | None, tenant: pd.Series, after: pd.Series, by: pd.Series, caller: str
) -> Flags:
    """Whether a batch of the tenant that deletes may have run in each span (after, by].

    A batch may delete from its start to its completion, whatever its schema: with ``cascade`` it
    deletes what refers to its records, too, and a status does not show it. One that is over and
    deleted nothing explains nothing.
    """
    found = np.zeros(len(tenant), bool)
    if batches is None:
        return found
    batches = BATCHES.normalize(batches, _NAMES, caller)
    deletes = batches["batch_type"].str.contains("delete", case=False).fillna(False).astype(bool)
    over = as_utc(batches["completed_at"]).where(batches["status"] != "processing")
    idle = over.notna() & (batches["successful_records"] == 0).fillna(False).astype(bool)
    own = batches[deletes & ~idle]
    began = as_utc(own["started_at"]).fillna(as_utc(own["created_at"]))
    ended = over[own.index]
    # Without a start or an end, it may have begun or go on at any time.
    begins = _micros(began, np.iinfo(np.int64).min)
    ends = _micros(ended, np.iinfo(np.int64).max)
    since, until = _micros(after, 0), _micros(by, 0)
    places = pd.Series(np.arange(len(tenant))).groupby(tenant.to_numpy()).indices
    for name, mine in own.reset_index().groupby("tenant_id").indices.items():
        rows = places.get(name, [])
        # Those that began before the span is over, less those that had ended before it began.
        begun = np.searchsorted(np.sort(begins[mine]), until[rows], "right")
        done = np.searchsorted(np.sort(ends[mine]), since[rows], "right")
        found[rows] = begun > done
    return found & (after.notna() & by.notna()).to_numpy(bool)


def _micros(times: pd.Series, unknown: int) -> Ints:
    micros = times.astype("int64").where(times.notna(), unknown)
    return np.asarray(micros.to_numpy(), np.int64)


def next_missing(links: pd.DataFrame, key: pd.Series, since: pd.Series) -> pd.Series:
    """For each key, the first time from ``since`` on at which a resource last lists it as missing:
    when the answer to that observation was received; null if there is none."""
    keys = np.concatenate([key.to_numpy("int64"), links["key"].to_numpy("int64")])
    times = pd.concat([since, links["last_missing"]], ignore_index=True)
    listed = np.repeat([False, True], [len(key), len(links)])
    # In order of time within each key, a moment asked about before an observation at that moment;
    # then the nearest observation after each.
    order = np.lexsort((listed, times.to_numpy("datetime64[us]"), keys))
    behind = np.where(listed[order], np.arange(len(order)), len(order))
    behind = np.minimum.accumulate(behind[::-1])[::-1]
    found = np.append(order, -1)[behind]
    same = (found >= 0) & (keys[found] == keys[order]) if len(order) else np.zeros(0, bool)
    answer = np.empty(len(order), np.int64)
    answer[order] = np.where(same, found, -1)
    asked = answer[: len(key)]
    came = pd.concat([since, links["last_missing_by"]], ignore_index=True)
    late = came.reindex(asked).reset_index(drop=True)
    return late.where((asked >= 0) & since.notna().to_numpy())


def roots(wait_intervals: pd.DataFrame, links: pd.DataFrame) -> dict[str, pd.Series]:
    """What each wait depended on last, followed up the chain of waiting resources.

    Of several dependencies the one that most waits depended on counts; ties go by name. What waits
    in a cycle depends on its first member by name.
    """
    last = links[links["at_last"]]
    named = pd.concat(
        [last[RESOURCE_KEY], wait_intervals[_OWN].set_axis(RESOURCE_KEY, axis=1)], ignore_index=True
    )
    number = named.groupby(RESOURCE_KEY, dropna=False).ngroup().to_numpy()
    missing, own = number[: len(last)], number[len(last) :]
    size = int(number.max(initial=-1)) + 1
    width = np.bincount(missing, minlength=size)
    order = np.lexsort((missing, -width[missing], last["interval"]))
    interval, first = np.unique(last["interval"].to_numpy()[order], return_index=True)
    choice = np.full(len(wait_intervals), -1)
    choice[interval] = missing[order][first]
    above = np.arange(size)
    waits = np.flatnonzero(choice >= 0)
    waits = waits[np.argsort(-choice[waits], kind="stable")]  # the first by name is set last
    above[own[waits]] = choice[waits]
    root = np.array([-1 if first < 0 else _up(int(first), above) for first in choice], np.int64)
    names = named.iloc[np.unique(number, return_index=True)[1]].reset_index(drop=True)
    found = names.reindex(root).reset_index(drop=True)
    return {
        "root_schema_definition_id": found["schema_definition_id"],
        "root_external_id": found["external_id"],
    }


def _tallies(rows: pd.DataFrame, departures: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """`tallies`, and for each wait the number of its row, -1 for one that is not gone."""
    names = [*BATCH_KEY, "departure"]
    gone = rows["departure"].notna().to_numpy(bool)
    grouped = rows.loc[gone].groupby(names, dropna=False)
    number = np.full(len(rows), -1)
    number[gone] = grouped.ngroup()
    counts = grouped.size().to_frame("left").reset_index()
    for verdict in ("released", "expired"):
        is_so = (rows.loc[gone, "verdict"] == verdict).fillna(False)
        counts[verdict] = np.bincount(number[gone], is_so, len(counts)).astype(np.int64)
    return tallies(counts, departures), number


def _up(key: int, above: np.ndarray) -> int:
    """Where the steps up from a key end; of a cycle, the first of its members."""
    passed: list[int] = []
    while key not in passed:
        passed.append(key)
        key = int(above[key])
    return min(passed[passed.index(key) :])


def trusted(table: pd.DataFrame, risen: pd.DataFrame) -> list[str]:
    """The codes that count what expired, by departures whose verdicts are all certain."""
    found = _judged(table, risen)
    return [str(code) for code in found.loc[found["used"].astype(bool), "code"]]
