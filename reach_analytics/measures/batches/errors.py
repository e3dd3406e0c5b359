"""What the batches' error objects say, whatever their shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

from reach_analytics.tables import BATCHES, ERRORS, Frame

__all__ = ["errors", "leaves"]

_OWN = ["tenant_id", "batch_id", "observed_at", "schema_name"]
_SOURCES = {"message": "error_message", "summary": "error_summary", "details": "error_details"}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def errors(batches: Frame) -> pd.DataFrame:
    """Every value in the batches' errors, one row each, with its path.

    The shape of the API's error objects is not documented, so none is assumed: each leaf of the
    JSON becomes a row. Group by ``pattern`` (the path without list positions) to count them.

    Parameters
    ----------
    batches : pandas.DataFrame
        As from ``history.batches()``.

    Returns
    -------
    pandas.DataFrame
        tenant_id, batch_id, observed_at, schema_name, source (``message``, ``summary``,
        ``details``), path (as ``records[3].message``; empty where the value is the whole), pattern
        (as ``records[].message``), value (text; JSON for an empty object or list; null for null),
        number (where it is one). Text that is not readable JSON is one row with that text. Batch by
        batch in the order given, in the order of the JSON. No rows if no batch reports errors.

    Raises
    ------
    FrameError
        If ``batches`` lacks a needed column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics.measures import errors
    >>> batches = pd.DataFrame({
    ...     "tenant_id": ["t"], "batch_id": ["b"], "observed_at": [pd.NaT], "schema_name": ["s"],
    ...     "error_message": [None], "error_summary": ['{"INVALID": 2}'],
    ...     "error_details": ['[{"id": "x"}, {"id": "y"}]'],
    ... })
    >>> print(errors(batches)[["source", "path", "pattern", "value"]].to_string(index=False))
     source   path pattern value
    summary INVALID INVALID     2
    details  [0].id   [].id     x
    details  [1].id   [].id     y
    """
    batches = BATCHES.normalize(batches, [*_OWN, *_SOURCES.values()], "errors")
    affected = ERRORS.in_order(batches[batches[list(_SOURCES.values())].notna().any(axis=1)])
    rows = [
        {**own, "source": source, "path": path, "pattern": re.sub(r"\[\d+\]", "[]", path), **leaf}
        for record in affected[[*_OWN, *_SOURCES.values()]].to_dict("records")
        for own in [{name: record[name] for name in _OWN}]
        for source, column in _SOURCES.items()
        for path, leaf in _values(source, record[column])
    ]
    return ERRORS.conform(pd.DataFrame(rows, columns=ERRORS.names))


def _values(source: str, content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if pd.isna(content):
        return
    if source == "message":
        yield "", _leaf(content)
        return
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):  # no JSON, an endless number, or nested beyond reading
        yield "", _leaf(str(content))
        return
    for path, leaf in leaves(value):
        yield path, _leaf(leaf)


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of a JSON value with their paths, in document order; without recursion, since
    an answer may be nested arbitrarily deep."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict) and value:
            stack += [(_member(path, name), inner) for name, inner in reversed(value.items())]
        elif isinstance(value, list) and value:
            stack += [(f"{path}[{i}]", value[i]) for i in range(len(value) - 1, -1, -1)]
        else:
            yield path, value


def _member(path: str, name: str) -> str:
    if not _PLAIN.fullmatch(name):
        return f"{path}[{_valid(json.dumps(name, ensure_ascii=False))}]"
    return f"{path}.{name}" if path else name


def _leaf(value: Any) -> dict[str, Any]:
    if value is None or isinstance(value, str):
        return {"value": value and _valid(value), "number": None}
    number = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = None  # beyond what a float holds; the text has it
    return {"value": _valid(json.dumps(value, ensure_ascii=False)), "number": number}


def _valid(text: str) -> str:
    """The text with lone surrogates, which no file can hold, replaced."""
    return text.encode("utf-8", "replace").decode()
