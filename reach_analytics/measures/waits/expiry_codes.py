"""Which of the batches' error codes count what expired."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.measures._verdicts.endings import certain, departures_of_rows
from reach_analytics.measures._verdicts.tallies import tallies
from reach_analytics.measures.batches.errors import leaves
from reach_analytics.tables import DEPARTURES, EXPIRY_CODES, Frame

__all__ = ["codes_of_counts", "expiry_codes", "expiry_counts", "expiry_numbers", "rises"]

_NAMES_EXPIRY = re.compile(r"expir|time[\s_-]?out|timed[\s_-]?out", re.IGNORECASE)
_MOST_CODES = 50
_MIN_DEPARTURES, _MIN_EXPIRED = 2, 3


def expiry_codes(wait_outcomes: Frame, departures: pd.DataFrame) -> pd.DataFrame:
    """The codes in the batches' error summaries that name expiry, and whether they count it.

    The API documents no codes. One that names expiry (``expir…``, ``timeout``) is taken for a count
    of what expired if it rose by just that many at every departure whose ends are all certain
    without it (by the rules 3, 4, 5a and 5b), in at least 2 departures and 3 expired waits, and
    contradicts no other. Then it tells how many expired where nothing else does: rule ``5e`` of
    `wait_outcomes`, and `reconciliation`.

    Parameters
    ----------
    wait_outcomes, departures : pandas.DataFrame
        As from ``history.wait_outcomes()`` and ``history.departures()``.

    Returns
    -------
    pandas.DataFrame
        One row per code: code (its path in the summary), departures (with ends all certain, of
        which some expired, and where it agrees), expired (waits that expired in these),
        contradictions (departures where it cannot be the count of what expired), used. The most
        telling first. No rows if no summary names expiry.

    Raises
    ------
    FrameError
        If a frame lacks a needed column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import expiry_codes
    >>> len(expiry_codes(tables.WAIT_OUTCOMES.empty(), tables.DEPARTURES.empty()))
    0
    """
    counts = departures_of_rows(wait_outcomes, "expiry_codes")
    departures = DEPARTURES.normalize(departures, DEPARTURES.names, "expiry_codes")
    return codes_of_counts(counts, departures)


def codes_of_counts(counts: pd.DataFrame, departures: pd.DataFrame) -> pd.DataFrame:
    """The codes, from how many left at each departure; see `Endings`."""
    table = tallies(certain(counts), departures)
    return EXPIRY_CODES.conform(_judged(table, rises(table)))


def rises(table: pd.DataFrame) -> pd.DataFrame:
    """By how much each code that names expiry rose at each departure: a column each; null where
    that is not known."""
    texts = pd.concat([table["errors_before"], table["errors_after"]], ignore_index=True)
    found = _numbers(texts).fillna(0)  # a code that a summary does not name has not occurred
    before, after = (
        part.set_axis(table.index) for part in (found[: len(table)], found[len(table) :])
    )
    change = after - before
    known = table["errors_before"].notna() & table["errors_after"].notna()
    change.loc[~known.to_numpy(bool)] = np.nan
    return change


def expiry_counts(summaries: pd.Series, codes: list[str]) -> pd.DataFrame:
    """What each summary of errors counts by these codes: a column each, 0 where it does not name
    it."""
    if not codes:
        return pd.DataFrame(index=summaries.index)
    return _numbers(summaries, codes).reindex(columns=codes).fillna(0)


def _numbers(texts: pd.Series, codes: list[str] | None = None) -> pd.DataFrame:
    """The numbers of each summary by code; each text is read once.

    Of all codes, only the commonest that two summaries name: one that is named once, as an id
    would be, can prove nothing.
    """
    place, distinct = pd.factorize(texts)
    read = [expiry_numbers(text) for text in distinct]
    if codes is None:
        often: Counter[str] = Counter()
        for numbers, count in zip(read, np.bincount(place[place >= 0]).tolist(), strict=True):
            often.update(dict.fromkeys(numbers, count))
        codes = sorted(name for name, count in often.most_common(_MOST_CODES) if count > 1)
    found = np.full((len(read) + 1, len(codes)), np.nan)
    column = {name: n for n, name in enumerate(codes)}
    for row, numbers in enumerate(read):
        for name in numbers.keys() & column.keys():
            found[row, column[name]] = numbers[name]
    return pd.DataFrame(found[place], columns=codes, index=texts.index)  # -1 is the last row


def expiry_numbers(text: str) -> dict[str, float]:
    """What a summary of errors counts by each code that names expiry."""
    try:
        content = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return dict(_named(content))


def _named(content: Any) -> Iterator[tuple[str, float]]:
    for path, leaf in leaves(content):
        number = isinstance(leaf, int | float) and not isinstance(leaf, bool)
        if number and abs(leaf) < 2**53 and _NAMES_EXPIRY.search(path):
            yield path, float(leaf)


def _judged(table: pd.DataFrame, risen: pd.DataFrame) -> pd.DataFrame:
    """Each code beside what is known of the ends of each departure."""
    clear = (table["settled_before"] & table["alone"]).to_numpy(bool)
    all_known = clear & (table["open"] == 0).to_numpy(bool)
    least, most = table["expired"], table["expired"] + table["open"]
    rows: list[dict[str, Any]] = []
    for code in risen.columns:
        rise = risen[code]
        told = rise.notna().to_numpy(bool)
        off = told & clear & ~rise.between(least, most).to_numpy(bool)
        agree = told & all_known & ~off & (least > 0).to_numpy(bool)
        expired = int(table.loc[agree, "expired"].sum())
        enough = agree.sum() >= _MIN_DEPARTURES and expired >= _MIN_EXPIRED
        rows.append(
            {
                "code": code,
                "departures": int(agree.sum()),
                "expired": expired,
                "contradictions": int(off.sum()),
                "used": bool(enough and not off.any()),
            }
        )
    return EXPIRY_CODES.in_order(pd.DataFrame(rows, columns=EXPIRY_CODES.names))
