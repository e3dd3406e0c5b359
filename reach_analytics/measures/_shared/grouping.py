"""Groups and time buckets, the same for every measure that has them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration, parse_timezone
from reach_analytics.tables import BATCHES, TIME

By = str | Sequence[str] | None


def group_names(by: By, taken: Collection[str], of: str) -> list[str]:
    """The columns to group by, as a list; a `ValueError` if one occurs twice or is ``taken``."""
    names = [by] if isinstance(by, str) else list(by or ())
    if set(taken) & set(names) or len(set(names)) < len(names):
        raise ValueError(f"by takes columns of {of}, each once, found {names}")
    return names


def time_column(name: str) -> str:
    """The name, if it is that of a time of `batches`; a `ValueError` if not."""
    times = [column.name for column in BATCHES.columns if column.type == TIME]
    if name not in times:
        raise ValueError(f"time must be one of {', '.join(times)}, found {name!r}")
    return name


Freq = str | timedelta
CALENDAR = ("W", "M", "Q", "Y")


def bucket(times: pd.Series, freq: Freq, timezone: str = "UTC") -> pd.Series:
    """The start of each time's bucket: widths in days or less, or a calendar unit.

    Buckets begin when clocks of the zone show a multiple of the width, so that a day may have 23 or
    25 hours; those of an hour, or a part of it, are all alike.
    """
    wall = times.dt.tz_convert(timezone).dt.tz_localize(None)
    if freq in CALENDAR:
        starts = wall.dt.to_period(freq).dt.start_time
    elif _divides_an_hour(width := _width(freq)):
        shift = wall - times.dt.tz_convert("UTC").dt.tz_localize(None)
        even: pd.Series = (wall.dt.floor(width) - shift).dt.tz_localize("UTC").astype(times.dtype)
        return even
    else:
        starts = wall.dt.floor(width)
    return _clocked(starts, timezone).astype(times.dtype)


def _clocked(wall: pd.Series, timezone: str) -> pd.Series:
    """When clocks of a zone show these times, in UTC: the first time if twice, the next one that
    there is if never."""
    first = np.ones(len(wall), bool)
    aware = wall.dt.tz_localize(timezone, ambiguous=first, nonexistent="shift_forward")
    found: pd.Series = aware.dt.tz_convert("UTC")
    return found


def _divides_an_hour(width: pd.Timedelta) -> bool:
    return pd.Timedelta(hours=1) % width == pd.Timedelta(0)


def _width(freq: Freq) -> pd.Timedelta:
    try:
        if not (isinstance(freq, str) and freq[-1:] in "wW"):
            return parse_duration(freq, "freq")
    except ValueError:
        pass
    raise ValueError(
        "freq must be a length of time like '15min', '1h' or '7D', or one of "
        f"{CALENDAR}, found {freq!r}"
    )


_APART = 20  # times as far from the middle as half of all
_TOGETHER = pd.Timedelta(days=2)  # whatever half of all do


def in_bulk(times: pd.Series) -> pd.Series:
    """Whether each time lies where the others do, as a chart over time shows them.

    A wrong date ("since 1970") would squeeze all others into one point of the axis. Far off is
    what lies more than twenty times as far from the median as half of all times, and two days.
    """
    far = (times - times.median()).abs()
    limit = max(_APART * far.median(), _TOGETHER) if times.notna().any() else _TOGETHER
    bulk: pd.Series = far <= limit
    return bulk


def numbered_groups(rows: pd.DataFrame, names: list[str]) -> tuple[pd.Series, pd.DataFrame]:
    """The number of each row's group, in the order of their keys, and the key of each number."""
    if not names:
        return pd.Series(0, rows.index), pd.DataFrame(index=range(min(1, len(rows))))
    number = rows.groupby(names, dropna=False).ngroup()
    first = ~number.duplicated()
    labels = rows.loc[first, names].set_axis(pd.Index(number[first])).sort_index()
    return number, labels


def each_group(
    rows: pd.DataFrame, names: list[str], measure: Callable[[pd.DataFrame], pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    """What the measure finds in each group, with the group's columns; all rows are one without."""
    if not names:
        if len(rows):
            yield measure(rows)
        return
    for key, own in rows.groupby(names, dropna=False):
        table = measure(own)
        labels = pd.DataFrame([key] * len(table), columns=names, index=table.index)
        yield pd.concat([labels, table], axis=1)


def gathered(
    parts: Iterator[pd.DataFrame], names: list[str], rows: pd.DataFrame, empty: pd.DataFrame
) -> pd.DataFrame:
    """The groups' tables below each other: the group's columns, then those of ``empty``."""
    dtypes: dict[str, Any] = {name: rows[name].dtype for name in names}
    dtypes |= {name: empty[name].dtype for name in empty.columns}
    found = [part for part in parts if len(part)]
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return table.reindex(columns=[*names, *empty.columns]).astype(dtypes)


def finished(table: pd.DataFrame, groups: list[str], like: pd.DataFrame) -> pd.DataFrame:
    """The groups as columns in front of the measure's own, in its dtypes."""
    shown = [name for name in groups if name != "_all" and name not in like.columns]
    flat = table.reset_index()
    flat = flat.reindex(columns=[*shown, *like.columns])
    return flat.astype({name: like[name].dtype for name in like.columns})


def bucket_ends(starts: pd.Series, freq: Freq, timezone: str = "UTC") -> pd.Series:
    """The end of each bucket, given its start."""
    if freq not in CALENDAR and _divides_an_hour(_width(freq)):
        return starts + _width(freq)
    wall = starts.dt.tz_convert(timezone).dt.tz_localize(None)
    if freq in CALENDAR:
        following = (wall.dt.to_period(freq) + 1).dt.start_time
    else:
        following = wall.dt.floor(_width(freq)) + _width(freq)
    return _clocked(following, timezone)


_MOST = 100_000


def bucket_starts(
    first: pd.Timestamp, last: pd.Timestamp, freq: Freq, timezone: str = "UTC"
) -> pd.DatetimeIndex:
    """The starts of all buckets from that of ``first`` to that of ``last``, and one more.

    Raises
    ------
    ValueError
        If that is more than a hundred thousand.
    """
    ends = pd.Series(pd.DatetimeIndex([first, last])).dt.as_unit("us")
    start, stop = bucket(ends, freq, timezone)
    after = bucket_ends(pd.Series([stop]), freq, timezone).iloc[0]
    begin, end = (at.tz_convert(timezone).tz_localize(None) for at in (start, stop))
    if freq in CALENDAR:
        wall = pd.period_range(begin, end, freq=str(freq)).start_time
    else:
        width = _width(freq)
        if (stop - start) / width > _MOST:
            raise ValueError(f"freq {freq!r} gives more than {_MOST:,} buckets; take a wider one")
        if _divides_an_hour(width):
            return pd.date_range(start, after, freq=width)
        wall = pd.date_range(begin.floor(width), end, freq=width)
    starts = _clocked(pd.Series(wall).dt.as_unit("us"), timezone)
    return pd.DatetimeIndex([*starts.drop_duplicates(), after])


@dataclass(frozen=True)
class Buckets:
    """Buckets of a width, by the clocks of a zone; see `bucket`."""

    freq: Freq
    timezone: str

    @classmethod
    def of(cls, freq: Freq | None, timezone: str) -> Buckets | None:
        """The buckets that are asked for, if any.

        Raises
        ------
        ValueError
            If there is no such zone.
        """
        zone = parse_timezone(timezone)
        return None if freq is None else cls(freq, zone)

    def start(self, times: pd.Series) -> pd.Series:
        """The start of each time's bucket."""
        return bucket(times, self.freq, self.timezone)

    def end(self, starts: pd.Series) -> pd.Series:
        """The end of each bucket."""
        return bucket_ends(starts, self.freq, self.timezone)

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """The starts of all buckets between two times, and one more."""
        return bucket_starts(first, last, self.freq, self.timezone)
