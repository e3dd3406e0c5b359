"""A plan as files to upload, in order."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.report._files import slug, write_folder
from reach_analytics.report.export import write_csv
from reach_analytics.tables import UPLOAD_PLAN

__all__ = ["ids_as_text", "write_upload_files"]

MOST_ROWS = 1_000  # records that the API takes in one batch
_MARK = "Upload files of reach_analytics"
_OWN = re.compile(r"\d{3,}-[a-z0-9-]+\.(csv|json)|README\.txt")
_WHY = {"deadlock": "waits on a deadlock", "too late": "comes too late"}


@dataclass(frozen=True)
class _File:
    """One file: the rows of a tenant and schema in a block, at most `MOST_ROWS`."""

    name: str
    plan: pd.DataFrame
    rows: pd.DataFrame


def write_upload_files(
    plan: pd.DataFrame,
    directory: str | os.PathLike[str],
    *,
    source: pd.DataFrame | None = None,
    on: str = "external_id",
    tenant: str | None = None,
    schema: str | None = None,
) -> list[Path]:
    """Write what a plan says to upload as files, in the order in which to upload them.

    For each block, tenant and schema there is a CSV and a JSON file with the same rows, at most
    1,000 each (what a batch takes), numbered in order; and a ``README.txt`` that says what each
    frees and by when. What frees nothing is in none, and said there.

    The files hold ``external_id`` and ``needed_by``; with ``source``, the whole rows of that
    frame instead, so that they can be sent as they are. In CSV every cell stands as it is: a
    spreadsheet may run one that begins with ``=``, ``+``, ``-`` or ``@`` as a formula.

    Parameters
    ----------
    plan : pandas.DataFrame
        As from ``history.upload_plan()``, or some of its rows.
    directory : str or path
        Created whole or not at all. One that exists must be empty, or hold nothing but files that
        this function wrote, which are replaced.
    source : pandas.DataFrame, optional
        Your own rows of one tenant and schema.
    on : str
        The column of ``source`` with the external ids.
    tenant, schema : str, optional
        Only what is of these, by name or id; with ``source`` needed where the plan has several.

    Returns
    -------
    list of pathlib.Path
        ``README.txt``, then the files in order.

    Raises
    ------
    FrameError
        If ``plan`` lacks a documented column.
    ValueError
        If ``tenant`` or ``schema`` are not in the plan, ``source`` lacks ``on`` or is not told
        whose rows it has, or the directory holds something else.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from reach_analytics import tables, write_upload_files
    >>> plan = tables.UPLOAD_PLAN.conform(pd.DataFrame([{
    ...     "position": 1, "block": 1, "tenant_id": "t", "schema_name": "contacts",
    ...     "external_id": "C-1", "frees": 3, "running_total": 3, "block_frees": 3,
    ...     "guarantee": "optimal",
    ... }]))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     files = write_upload_files(plan, directory)
    ...     [path.name for path in files]
    ['README.txt', '001-t-contacts.csv', '001-t-contacts.json']
    """
    UPLOAD_PLAN.check(plan, UPLOAD_PLAN.names, "write_upload_files")
    chosen = _chosen(plan, tenant, schema)
    useful = chosen[chosen["reason"].isna()]
    if source is not None:
        _check_source(useful, source, on)
    files = [*_files(useful, source, on)]
    told = _readme(files, chosen, source, on)
    folder = Path(directory).absolute()
    _check_folder(folder)
    return _written(folder, files, told)


def ids_as_text(ids: pd.Series, name: str) -> pd.Series:
    """External ids as texts: whole numbers without a fraction, whatever their dtype.

    Raises
    ------
    ValueError
        If one is neither a text nor a whole number.
    """

    def text(value: Any) -> str | None:
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return None
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if is_number and float(value).is_integer():
            return str(int(value))
        found = f"found {value!r}"
        raise ValueError(f"{name} must hold external ids, as texts or whole numbers; {found}")

    return pd.Series([text(one) for one in ids], index=ids.index, dtype="str")


def _chosen(plan: pd.DataFrame, tenant: str | None, schema: str | None) -> pd.DataFrame:
    """The rows of the plan that are of a tenant and a schema, by name or id."""
    asked = {"tenant": (tenant, "tenant_name", "tenant_id")}
    asked["schema"] = (schema, "schema_name", "schema_definition_id")
    for what, (wanted, *columns) in asked.items():
        if wanted is None:
            continue
        own = pd.Series(False, index=plan.index)
        for name in columns:
            if name in plan.columns:
                own |= plan[name] == wanted
        if not own.any():
            there = plan[next(name for name in columns if name in plan.columns)]
            names = ", ".join(map(repr, there.dropna().unique()[:10])) or "none"
            raise ValueError(f"the plan has no {what} {wanted!r}; there are: {names}")
        plan = plan[own]
    return plan


def _check_source(plan: pd.DataFrame, source: pd.DataFrame, on: str) -> None:
    if on not in source.columns:
        raise ValueError(
            f"source has no column {on!r}; say on=, one of {', '.join(map(str, source.columns))}"
        )
    for name, column in (("tenant", "tenant_id"), ("schema", "schema_definition_id")):
        several = plan[column].nunique(dropna=False)
        if several > 1:
            raise ValueError(
                f"the plan has {several} {name}s: say {name}=, whose rows source holds"
            )


def _files(plan: pd.DataFrame, source: pd.DataFrame | None, on: str) -> Iterator[_File]:
    """The files in order: block by block, and in a block by its first row."""
    rows = plan.sort_values("position", kind="stable")
    groups = rows.groupby(["block", "tenant_id", "schema_definition_id"], dropna=False, sort=False)
    number = 0
    places = None
    if source is not None:
        places = ids_as_text(source[on], on).reset_index(drop=True)
    for _, own in groups:
        for first in range(0, len(own), MOST_ROWS):
            part = own.iloc[first : first + MOST_ROWS]
            for content in _contents(part, source, places):
                number += 1
                yield _File(f"{number:03}-{_label(part)}", part, content)


def _contents(
    plan: pd.DataFrame, source: pd.DataFrame | None, ids: pd.Series | None
) -> Iterator[pd.DataFrame]:
    """What a file holds of these rows of the plan; of a source, in as many files as it takes."""
    if source is None or ids is None:
        yield plan[["external_id", "needed_by"]]
        return
    order = pd.Series(range(len(plan)), index=plan["external_id"])
    place = ids.map(order[~order.index.duplicated()])
    rows = source.iloc[place.dropna().sort_values(kind="stable").index]
    for first in range(0, len(rows), MOST_ROWS):
        yield rows.iloc[first : first + MOST_ROWS]


def _label(plan: pd.DataFrame) -> str:
    """The tenant and schema of these rows, as part of the name of a file."""
    row = plan.iloc[0]
    tenant = row["tenant_name"] if "tenant_name" in plan.columns else row["tenant_id"]
    return f"{slug(tenant, 'tenant')}-{slug(row['schema_name'], 'schema')}"


def _readme(files: list[_File], plan: pd.DataFrame, source: pd.DataFrame | None, on: str) -> str:
    """What each file frees, and what is in none."""
    lines = [
        _MARK,
        "",
        "Upload these in the order of their numbers; each is there as CSV and JSON.",
    ]
    lines += ["All of a block must arrive before what it frees is released.", ""]
    for file in files:
        lines += _about(file)
    if not files:
        lines.append("There is nothing to upload.")
    for reason, rows in plan[plan["reason"].notna()].groupby("reason"):
        names = _names(rows["external_id"])
        lines += ["", f"In no file, since it {_WHY.get(str(reason), reason)}: {names}."]
    if source is not None:
        useful = plan[plan["reason"].isna()]
        absent = useful[~useful["external_id"].isin(ids_as_text(source[on], on))]
        if len(absent):
            lines += ["", f"Not in your own rows, so in no file: {_names(absent['external_id'])}."]
    lines += [
        "",
        "A spreadsheet may run a cell that begins with = + - or @ as a formula: import the",
    ]
    lines += ["columns as text, or take the JSON.", ""]
    return "\n".join(lines)


def _about(file: _File) -> list[str]:
    """What a file holds, and what that frees."""
    row, last = file.plan.iloc[0], file.plan.iloc[-1]
    tenant = row["tenant_name"] if "tenant_name" in file.plan.columns else row["tenant_id"]
    needed = file.plan["needed_by"].min()
    by = "" if pd.isna(needed) else f", needed by {needed:%Y-%m-%d %H:%M %Z}"
    return [
        f"{file.name}: {len(file.rows):,} of {_plain(row['schema_name'])} for {_plain(tenant)}{by}",
        f"    block {row['block']}, which frees {row['block_frees']:,} in all; "
        f"{last['running_total']:,} are free after it and what comes before",
    ]


def _names(ids: pd.Series) -> str:
    shown = ", ".join(map(_plain, ids.head(20)))
    return f"{shown} and {len(ids) - 20:,} more" if len(ids) > 20 else shown


def _plain(value: object) -> str:
    """Foreign text on one line."""
    text = value if isinstance(value, str) else "–"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _check_folder(folder: Path) -> None:
    """A `ValueError` if there is something that is not of this function."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is no directory; choose another")
    there = sorted(folder.iterdir()) if folder.exists() else []
    if not there:
        return
    readme = folder / "README.txt"
    marked = readme.is_file() and readme.read_text("utf-8", "replace").startswith(_MARK)
    foreign = [path.name for path in there if path.is_dir() or not _OWN.fullmatch(path.name)]
    if not marked or foreign:
        raise ValueError(
            f"{folder} holds {(foreign or [there[0].name])[0]!r}, which is none of the files that "
            "write_upload_files writes; choose an empty directory"
        )


def _written(folder: Path, files: list[_File], told: str) -> list[Path]:
    """The files, put in place together."""
    names = ["README.txt", *(f"{file.name}.{end}" for file in files for end in ("csv", "json"))]

    def write(draft: Path) -> None:
        (draft / "README.txt").write_text(told, encoding="utf-8")
        for file in files:
            write_csv(file.rows, draft / f"{file.name}.csv")
            text = _json(file.rows)
            (draft / f"{file.name}.json").write_text(text, encoding="utf-8")

    write_folder(folder, write)
    return [folder / name for name in names]


def _json(rows: pd.DataFrame) -> str:
    """The rows as a JSON list: times in ISO 8601, absent values null."""
    text = rows.to_json(orient="records", date_format="iso", date_unit="us", default_handler=str)
    return json.dumps(json.loads(text), ensure_ascii=False, indent=2) + "\n"
