"""What the batches' counts tell of the waits that left together, between two observations.

The counts of a departure run from its base to its own observation. Where observations overlap,
others may have left in that span as well: those of earlier departures with the same base surely,
those whose base lies before it possibly, and so those last seen by observations that overlap the
departure's own. Without overlaps there are none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import ibis
import pyarrow as pa

from reach_analytics.queries.engine import Runner

__all__ = ["Conventions", "bounds", "departed"]

_DEPARTURE = ["batch", "departure"]
_COUNTED = ["base", "good", "bad", "settled_before", "errors_before", "errors_after"]
_MOST_CODES = 50
_MIN_DEPARTURES, _MIN_EXPIRED = 2, 3


@dataclass(frozen=True)
class Conventions:
    """How the API counts what was released and what expired.

    Attributes
    ----------
    expired_counts_as_failed : bool, optional
        By default as departures with known ends show it.
    released_may_fail : bool
    slack : timedelta
        How far this machine's clock and the API's may be apart.
    expiry_numbers : callable
        Maps a summary of errors to what it counts by each code that names expiry.
    """

    expired_counts_as_failed: bool | None
    released_may_fail: bool
    slack: timedelta
    expiry_numbers: Callable[[str], Mapping[str, float]]


def departed(gone: ibis.Table, departures: ibis.Table, run: Runner) -> ibis.Table:
    """One row per departure: what left, and what the batch counted meanwhile.

    Columns: _DEPARTURE; left, released, expired, open (how many, by the verdicts so far); good, bad
    (rises of the counts; null if not known), settled_before, errors_before, errors_after;
    others_released, others_expired (in the span for certain), others_may_be_released,
    others_may_be_expired (at most), and alone (whether no others are in the span).
    """
    left = gone.group_by(_DEPARTURE).aggregate(
        left=gone.count(), released=gone.released.sum(), expired=gone.expired.sum()
    )
    left = left.mutate(open=left["left"] - left.released - left.expired)
    counted = departures.select(
        *_DEPARTURE,
        "base",
        "overlapping",
        "errors_before",
        "errors_after",
        good="successes",
        bad="failures",
        settled_before=departures.settled_before.fill_null(False),
    )
    told = left.left_join(counted, _DEPARTURE).select(*left.columns, *counted.columns[2:])
    told = told.mutate(
        settled_before=told.settled_before.fill_null(False),
        overlapping=told.overlapping.fill_null(0),
    )
    return run.keep(_with_others(run.keep(told)))


def _with_others(told: ibis.Table) -> ibis.Table:
    """With what else left in the span of each departure.

    Departures in order have bases in order, so that those of the same base are the earlier ones
    that surely left after it, and those that may have are the ones found gone after it.
    """
    earlier = ibis.window(group_by=["batch", "base"], order_by="departure", preceding=(None, 1))
    surely = told.mutate(
        others_released=told.released.sum().over(earlier).fill_null(0),
        others_expired=told.expired.sum().over(earlier).fill_null(0),
    )
    other = told.select(
        "batch",
        other="departure",
        may_be_released=told["left"] - told.expired,
        may_be_expired=told["left"] - told.released,
    )
    own = told.select(*_DEPARTURE, "base")
    within = own.inner_join(other, ["batch", other.other < own.departure, other.other > own.base])
    possibly = within.group_by(_DEPARTURE).aggregate(
        others_may_be_released=within.may_be_released.sum(),
        others_may_be_expired=within.may_be_expired.sum(),
    )
    joined = surely.left_join(possibly, _DEPARTURE)
    joined = joined.select(*surely.columns, *possibly.columns[2:])
    return joined.mutate(
        alone=joined.others_may_be_released.isnull() & (joined.overlapping == 0),
        **{name: joined[name].fill_null(0) + joined.overlapping for name in possibly.columns[2:]},
    )


def bounds(told: ibis.Table, conventions: Conventions, run: Runner) -> ibis.Table:
    """At least and at most how many of the ``open`` waits of each departure were released: least
    and most by the batch's counts, low and high by the codes that count what expired."""
    as_failed = conventions.expired_counts_as_failed
    if as_failed is None:
        as_failed = _convention(told, run)
    told = _by_counts(told, as_failed, conventions.released_may_fail)
    told = _by_codes(told, conventions, run)
    least, most = told.least, told.most
    agree = (ibis.greatest(least, told.low) <= ibis.least(most, told.high)) & (
        told.low <= told.high
    )
    none, every = ibis.literal(0), told.open
    return told.select(
        *_DEPARTURE,
        "open",
        "least",
        "most",
        low=ibis.ifelse(agree, told.low, none),
        high=ibis.ifelse(agree, told.high, every),
    )


def _convention(told: ibis.Table, run: Runner) -> bool | None:
    """Whether expired records count as failed, where departures with known ends agree on it."""
    known = (told.open == 0) & told.settled_before & told.alone & (told.expired > 0)
    telling = told.filter(known)
    counted = telling.good + telling.bad
    votes = telling.aggregate(
        yes=(counted == telling["left"]).any(), no=(counted == telling.released).any()
    )
    [vote] = run.read(votes).to_pylist()
    return bool(vote["yes"]) if bool(vote["yes"]) != bool(vote["no"]) else None


def _by_counts(told: ibis.Table, as_failed: bool | None, may_fail: bool) -> ibis.Table:
    """With ``least`` and ``most``. A rise that other records of the batch may have caused bounds
    from above only. Counts that contradict what left, or went back, prove nothing."""
    surely = told.released + told.others_released
    at_most = told.released + told.others_may_be_released
    counted = told.good + told.bad
    above = [counted - surely] if may_fail else [counted - surely, told.good - surely]
    below = [told.good - at_most]
    if as_failed is False:
        below.append(counted - at_most)
    # Without both counts nothing is known.
    least = below[0] if len(below) == 1 else ibis.greatest(below[0], below[1].fill_null(-_MANY))
    least = ibis.ifelse(told.settled_before, least.fill_null(-_MANY), 0)
    if as_failed:
        # Those that expired count as failed, so the others did not expire.
        failed = told.bad - told.expired - told.others_expired
        least = ibis.greatest(least, (told.open - failed).fill_null(-_MANY))
    least = ibis.greatest(least, 0)
    most = ibis.least(told.open, *[bound.fill_null(_MANY) for bound in above])
    back = ((told.good < 0) | (told.bad < 0)).fill_null(False)
    agree = (least <= most) & ~back
    return told.mutate(least=ibis.ifelse(agree, least, 0), most=ibis.ifelse(agree, most, told.open))


_MANY = 2**60  # more than any count


def _by_codes(told: ibis.Table, conventions: Conventions, run: Runner) -> ibis.Table:
    """With ``low`` and ``high``, by the codes that count what expired."""
    told, codes = _with_rises(told, conventions, run)
    low, high = ibis.literal(0, "int64"), told.open.cast("int64")
    for rise in _trusted(told, codes, run):
        risen = told[rise] - told.expired
        most_expired = ibis.greatest(risen - told.others_expired, -1)
        min_expired = risen - told.others_may_be_expired
        known = told[rise].notnull()
        low = ibis.ifelse(known, ibis.greatest(low, told.open - most_expired), low)
        high = ibis.ifelse(
            known & told.settled_before, ibis.least(high, told.open - min_expired), high
        )
    return told.mutate(low=low, high=high)


def _with_rises(
    told: ibis.Table, conventions: Conventions, run: Runner
) -> tuple[ibis.Table, list[str]]:
    """With by how much each code that names expiry rose, a column each; null if not known.

    Of all codes, only the commonest that two summaries name: one that is named once, as an id would
    be, can prove nothing. Each text is read once.
    """
    both = [told.select(text=told[name]) for name in ("errors_before", "errors_after")]
    texts = both[0].union(both[1]).filter(ibis._.text.notnull())
    distinct = run.read(texts.group_by("text").aggregate(n=texts.count())).to_pydict()
    numbers = {text: conventions.expiry_numbers(text) for text in distinct["text"]}
    often: Counter[str] = Counter()
    for text, count in zip(distinct["text"], distinct["n"], strict=True):
        often.update(dict.fromkeys(numbers[text], count))
    codes = sorted(code for code, count in often.most_common(_MOST_CODES) if count > 1)
    if not codes:
        return told, []
    naming = [text for text in numbers if numbers[text].keys() & set(codes)]
    columns = {
        f"code_{n}": pa.array([numbers[text].get(code, 0.0) for text in naming], pa.float64())
        for n, code in enumerate(codes)
    }
    read = ibis.memtable(pa.table({"text": pa.array(naming, pa.string()), **columns}))
    for when in ("before", "after"):
        own = read.rename({f"{name}_{when}": name for name in columns} | {f"text_{when}": "text"})
        wide = told.left_join(own, [told[f"errors_{when}"] == own[f"text_{when}"]])
        told = wide.drop(f"text_{when}")
    known = told.errors_before.notnull() & told.errors_after.notnull()
    rises = {
        name: ibis.ifelse(
            known,
            told[f"{name}_after"].fill_null(0.0) - told[f"{name}_before"].fill_null(0.0),
            ibis.null("float64"),
        )
        for name in columns
    }
    wide = told.mutate(**rises)
    return run.keep(wide.drop(*[f"{n}_{w}" for n in columns for w in ("before", "after")])), [
        *columns
    ]


def _trusted(told: ibis.Table, rises: list[str], run: Runner) -> list[str]:
    """The rises of codes that count what expired: at each departure whose ends are all known the
    code rose by just that many, and nowhere does it contradict what is known."""
    if not rises:
        return []
    clear = told.settled_before & told.alone
    asked = {}
    for name in rises:
        rise = told[name]
        fits = rise.between(told.expired, told.expired + told.open)
        agree = clear & (told.open == 0) & fits & (told.expired > 0)
        asked[f"{name}_off"] = (clear & rise.notnull() & ~fits).any()
        asked[f"{name}_departures"] = agree.sum()
        asked[f"{name}_expired"] = told.expired.sum(where=agree)
    [found] = run.read(told.aggregate(**asked)).to_pylist()
    return [
        name
        for name in rises
        if not found[f"{name}_off"]
        and (found[f"{name}_departures"] or 0) >= _MIN_DEPARTURES
        and (found[f"{name}_expired"] or 0) >= _MIN_EXPIRED
    ]
