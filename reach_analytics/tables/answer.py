"""Frames of rows whose columns no table documents, with the dtypes of those that one does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as is_

from reach_analytics.errors import QueryError
from reach_analytics.tables.base import BOOL, FLOAT, INT, LENGTH, STRING, TIME

__all__ = ["frame_of"]

_MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_DAYS_OF_A_MONTH = 30
_DAY_US = 86_400_000_000


def frame_of(rows: pa.Table) -> pd.DataFrame:
    """Rows as a frame, whose dtypes depend on the types alone.

    Whole numbers are ``Int64``, others ``float64``; times ``datetime64[us, UTC]``, where those
    without an offset count as UTC; dates ``datetime64[s]``; lengths ``timedelta64[us]``, a month
    being 30 days; texts ``str``.

    Raises
    ------
    QueryError
        If a whole number needs more than 64 bits, or no frame holds a column's type.
    """
    plain = [_plain(rows.column(place), name) for place, name in enumerate(rows.column_names)]
    numbers = [str(place) for place in range(len(plain))]  # two columns may share a name
    nullable = {INT: pd.Int64Dtype(), BOOL: pd.BooleanDtype()}
    frame: pd.DataFrame = pa.Table.from_arrays(plain, names=numbers).to_pandas(
        types_mapper=nullable.get, split_blocks=True, self_destruct=True
    )
    return frame.set_axis(rows.column_names, axis=1)


def _plain(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The values in one of the types that frames have."""
    kind = values.type
    if is_.is_dictionary(kind):
        return _plain(values.cast(kind.value_type), name)
    if is_.is_integer(kind) or (is_.is_decimal(kind) and kind.scale == 0):
        try:
            return values.cast(INT)
        except pa.ArrowInvalid:
            raise QueryError(
                f"a number in column {name!r} needs more than 64 bits; cast it to DOUBLE or VARCHAR"
            ) from None
    if is_.is_floating(kind) or is_.is_decimal(kind):
        return values.cast(FLOAT)
    if is_.is_timestamp(kind):
        return values.cast(TIME, safe=False)
    if is_.is_date(kind):
        return values.cast(pa.timestamp("s"))
    if is_.is_large_string(kind) or is_.is_string_view(kind):
        return values.cast(STRING)
    if kind == pa.month_day_nano_interval():
        return pa.chunked_array([_lengths(chunk) for chunk in values.chunks], LENGTH)
    if is_.is_union(kind) or isinstance(kind, pa.BaseExtensionType):
        raise QueryError(f"no frame holds the type of column {name!r}; cast it to VARCHAR")
    return values


def _lengths(intervals: pa.Array) -> pa.Array:
    """Intervals of months, days and nanoseconds as lengths in microseconds."""
    data = intervals.buffers()[1]
    parts = np.frombuffer(data, _MONTH_DAY_NANO)[intervals.offset :][: len(intervals)]
    days = parts["months"].astype(np.int64) * _DAYS_OF_A_MONTH + parts["days"]
    lengths = pa.array(days * _DAY_US + parts["nanoseconds"] // 1000, pa.int64())
    known = pc.if_else(intervals.is_valid(), lengths, pa.scalar(None, pa.int64()))
    return known.cast(LENGTH)
