"""What a table is: its columns, their types, and how a frame is made to conform to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Protocol, TypeAlias

import pandas as pd
import pyarrow as pa

from reach_analytics.errors import FrameError

__all__ = [
    "BOOL",
    "DATE",
    "FLOAT",
    "INT",
    "LENGTH",
    "MISSING_DEPENDENCY",
    "PENDING_RESOURCE",
    "PENDING_RESOURCES",
    "STRING",
    "TIME",
    "TIMES",
    "Column",
    "ExportsArrow",
    "Frame",
    "Table",
    "as_utc",
    "plain",
    "without",
]

STRING = pa.string()


INT = pa.int64()


FLOAT = pa.float64()


BOOL = pa.bool_()


TIME = pa.timestamp("us", tz="UTC")


TIMES = pa.list_(TIME)


DATE = pa.date32()


LENGTH = pa.duration("us")


MISSING_DEPENDENCY = pa.struct(
    [("schema_definition_id", STRING), ("external_id", STRING), ("schema_name", STRING)]
)


PENDING_RESOURCE = pa.struct(
    [
        ("id", STRING),
        ("resource_external_id", STRING),
        ("schema_definition_id", STRING),
        ("schema_name", STRING),
        ("created_at", TIME),
        ("expires_at", TIME),
        ("missing_dependencies", pa.list_(MISSING_DEPENDENCY)),
    ]
)


PENDING_RESOURCES = pa.list_(PENDING_RESOURCE)


class ExportsArrow(Protocol):
    """A table of Polars, pyarrow, DuckDB, Ibis or whatever else exports Arrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule with a stream of record batches."""
        ...


Frame: TypeAlias = pd.DataFrame | ExportsArrow
"""What a measure takes."""


def as_utc(times: pd.Series) -> pd.Series:
    """Times as UTC with microseconds; those without an offset count as UTC."""
    return pd.to_datetime(times, utc=True).dt.as_unit("us")


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type, meaning with unit, and whether it may be null."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = True

    @property
    def dtype(self) -> str:
        """The pandas dtype this column has in every frame, empty ones included."""
        if pa.types.is_int64(self.type):
            return "Int64" if self.nullable else "int64"
        if pa.types.is_boolean(self.type):
            return "boolean" if self.nullable else "bool"
        if pa.types.is_timestamp(self.type):
            return "datetime64[us, UTC]"
        plain = {STRING: "str", FLOAT: "float64", DATE: "datetime64[s]", LENGTH: "timedelta64[us]"}
        return plain.get(self.type, "object")


_FIRST = ["tenant_name", "schema_name", "external_id"]
_FIRST += ["missing_schema_name", "missing_external_id"]
_LAST = ["observed_at", "state_hash", "tenant_id", "batch_id", "pending_id", "schema_definition_id"]
_LAST += [f"{role}_schema_definition_id" for role in ("missing", "root", "above")]
_LAST += ["run_id"]


@dataclass(frozen=True)
class Table:
    """A table: its name, what one row is, the columns that identify a row, and all its columns.

    In a frame, which has a way to ``get_it``, names stand first and the ids that nobody reads last.
    """

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition: str | None = None
    # Whether all rows of a key are in one partition, so that others need not be searched.
    partition_follows_key: bool = False
    get_it: str = field(default="", kw_only=True)
    # By what its rows are in order, after the columns that a frame is grouped by, nulls last; with
    # a minus, descending.
    order: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if self.get_it:
            object.__setattr__(self, "columns", _for_people(self.columns))

    @cached_property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [column.name for column in self.columns]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of this table."""
        return pa.schema([pa.field(c.name, c.type, c.nullable) for c in self.columns])

    def conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with exactly this table's columns, order and dtypes, and a fresh index."""
        chosen = frame.reindex(columns=self.names).reset_index(drop=True)
        times = [c.name for c in self.columns if pa.types.is_timestamp(c.type)]
        chosen = chosen.assign(**{name: as_utc(chosen[name]) for name in times})
        return chosen.astype({column.name: column.dtype for column in self.columns})

    def only(self, names: Sequence[str]) -> Table:
        """The table with these of its columns alone."""
        own = {column.name: column for column in self.columns}
        return replace(self, columns=tuple(own[name] for name in names))

    def in_order(self, frame: pd.DataFrame, groups: Sequence[str] = ()) -> pd.DataFrame:
        """The frame by ``groups``, then in this table's order; its index is kept."""
        names = [*groups, *(name.removeprefix("-") for name in self.order)]
        rising = [True] * len(groups) + [not name.startswith("-") for name in self.order]
        return frame.sort_values(names, ascending=rising, kind="stable") if names else frame

    def empty(self) -> pd.DataFrame:
        """A frame of this table without rows."""
        return self.conform(pd.DataFrame(columns=self.names))

    def to_pandas(self, rows: pa.Table) -> pd.DataFrame:
        """Arrow rows as a frame with this table's columns, order and dtypes."""
        nullable = {INT: pd.Int64Dtype(), BOOL: pd.BooleanDtype()}
        typed = rows.select(self.names).cast(self.schema)
        frame: pd.DataFrame = typed.to_pandas(
            types_mapper=nullable.get, split_blocks=True, self_destruct=True
        )
        wanted = {c.name: c.dtype for c in self.columns if not c.nullable}
        return frame.astype({k: v for k, v in wanted.items() if str(frame[k].dtype) != v})

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """A normalized frame as Arrow rows with this table's columns; those it lacks are null."""
        present = [column for column in self.columns if column.name in frame.columns]
        known = pa.Table.from_pandas(
            frame[[column.name for column in present]],
            schema=pa.schema([(column.name, column.type) for column in present]),
            preserve_index=False,
        )
        columns = [
            known[c.name] if c in present else pa.nulls(len(frame), c.type) for c in self.columns
        ]
        return pa.table(dict(zip(self.names, columns, strict=True)))

    def check(self, frame: Frame, columns: Iterable[str], caller: str) -> None:
        """Raise a `FrameError` that says what to pass if the frame lacks one of ``columns``."""
        self.normalize(frame, columns, caller)

    def normalize(self, frame: Frame, columns: Iterable[str], caller: str) -> pd.DataFrame:
        """The frame as measures read it: pandas, a fresh index, this table's dtypes.

        Whatever exports Arrow is taken, and any of pandas' dtype backends. Raises a `FrameError`
        that says what to pass if it lacks one of ``columns``.
        """
        known = self.to_frame(frame, caller)
        lacking = [name for name in columns if name not in known.columns]
        if lacking:
            raise FrameError(self._lacking(lacking, known, caller))
        fresh = known.reset_index(drop=True)
        fresh = fresh.assign(**{name: plain(fresh[name]) for name in _foreign(fresh)})
        odd = {
            c.name: c for c in self.columns if c.name in fresh and fresh[c.name].dtype != c.dtype
        }
        times = {n: as_utc(fresh[n]) for n, c in odd.items() if pa.types.is_timestamp(c.type)}
        texts = {n: fresh[n].astype("str") for n, c in odd.items() if c.type == STRING}
        return fresh.assign(**times, **texts)

    def to_frame(self, frame: Frame, caller: str) -> pd.DataFrame:
        """A pandas frame as it is; anything else that exports Arrow as one; else a `TypeError`."""
        if isinstance(frame, pd.DataFrame):
            return frame
        if not hasattr(frame, "__arrow_c_stream__"):
            raise TypeError(
                f"{caller} takes a pandas DataFrame, or whatever exports Arrow (Polars, pyarrow, "
                f"DuckDB, Ibis), found {type(frame).__name__}"
                + (f"; pass {self.get_it}" if self.get_it else "")
            )
        rows = pa.table(frame)
        typed = {column.name: column.type for column in self.columns}
        whole = [n for n in rows.column_names if typed.get(n, rows.schema.field(n).type) == INT]
        table: pd.DataFrame = rows.to_pandas(types_mapper={INT: pd.Int64Dtype()}.get)
        return table.astype({name: "Int64" for name in whole})

    def identified(self, frame: pd.DataFrame, columns: Iterable[str], caller: str) -> pd.DataFrame:
        """The frame; a `FrameError` if one of the ids in ``columns`` is null somewhere.

        For measures that follow a batch or tenant from row to row. A store holds no such row.
        """
        for name in columns:
            nameless = int(frame[name].isna().sum())
            if nameless:
                raise FrameError(
                    f"{caller} follows each `{name}`; found {nameless:,} rows where it is null; "
                    "leave these out, or give them one"
                )
        return frame

    def _lacking(self, names: list[str], frame: pd.DataFrame, caller: str) -> str:
        """Which columns are missing, and what to do about it."""
        found = f"found no column {', '.join(f'`{name}`' for name in names)}"
        foreign = [name for name in names if name not in self.names]
        if not foreign:
            get_it = f"; pass {self.get_it}" if self.get_it else ""
            return f"{caller} needs a `{self.name}` frame; {found}{get_it}"
        # The frame lacks nothing: the name is none of its columns, as in `by`.
        near = [near for name in foreign for near in _near(name, frame.columns)]
        meant = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ";"
        return f"{caller} {found}{meant} There are: {', '.join(map(str, frame.columns))}"


def plain(values: pd.Series) -> pd.Series:
    """A column of another dtype backend as pandas' own would have it."""
    if isinstance(values.dtype, pd.StringDtype):
        return values.astype("str")
    if isinstance(values.dtype, pd.ArrowDtype):
        mapper = {INT: pd.Int64Dtype(), BOOL: pd.BooleanDtype()}.get
        kept: pd.Series = pa.table({"values": pa.array(values)}).to_pandas(types_mapper=mapper)[
            "values"
        ]
        return kept.set_axis(values.index)
    return values.astype("float64")


def _foreign(frame: pd.DataFrame) -> list[str]:
    """The columns of another dtype backend that the measures do not read as they are."""
    return [
        str(name)
        for name, dtype in frame.dtypes.items()
        if isinstance(dtype, pd.ArrowDtype | pd.Float64Dtype | pd.Float32Dtype)
        or (isinstance(dtype, pd.StringDtype) and dtype.na_value is pd.NA)
    ]


def _near(name: str, columns: Iterable[str]) -> list[str]:
    """The columns that ``name`` may stand for, best first."""
    begin = [column for column in columns if column.startswith(f"{name}_")]
    return begin or get_close_matches(name, list(columns), n=2)


def _for_people(columns: Iterable[Column]) -> tuple[Column, ...]:
    def place(column: Column) -> int:
        if column.name in _FIRST:
            return _FIRST.index(column.name) - len(_FIRST)
        return 1 + _LAST.index(column.name) if column.name in _LAST else 0

    return tuple(sorted(columns, key=place))


def without(columns: Iterable[Column], *names: str) -> tuple[Column, ...]:
    """The columns but those of these names."""
    return tuple(column for column in columns if column.name not in names)
