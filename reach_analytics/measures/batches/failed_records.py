"""Which failed records the batches' error details name, whatever their shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from reach_analytics.measures.batches.errors import leaves
from reach_analytics.tables import BATCH_KEY

__all__ = ["failed_records"]

_COLUMNS = [*BATCH_KEY, "external_id", "error_code", "error_message"]
_ID = ("externalid", "resourceexternalid", "recordexternalid")
_CODE = ("code", "errorcode", "type", "errortype")
_MESSAGE = ("message", "errormessage", "reason", "error", "detail", "description")


def failed_records(batches: pd.DataFrame) -> pd.DataFrame:
    """The records that the error details name: tenant_id, batch_id, external_id, error_code,
    error_message; in the order of the batches and their details.

    No shape of the details is documented. A record is an object with an external id, in any
    spelling (``externalId``, ``external_id``, ``resourceExternalId``); its code and message are
    those beside the id, or else the first ones further in.
    """
    told = batches.loc[batches["error_details"].notna(), [*BATCH_KEY, "error_details"]]
    rows = [
        (tenant, batch, *record)
        for tenant, batch, details in told.itertuples(index=False)
        for record in _named(details)
    ]
    return pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(_COLUMNS, "str"))


def _named(details: str) -> Iterator[tuple[str, str | None, str | None]]:
    try:
        value = json.loads(details)
    except (ValueError, RecursionError):
        return
    for record in _objects(value):
        lowered = {_plain(name): inner for name, inner in record.items()}
        external_id = _id_of(record) or ""
        yield external_id, _first(lowered, record, _CODE), _first(lowered, record, _MESSAGE)


def _id_of(record: Mapping[str, Any]) -> str | None:
    """The external id that an object has; None without one."""
    lowered = {_plain(name): inner for name, inner in record.items()}
    return next((_text(lowered[name]) for name in _ID if name in lowered), None)


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """The outermost objects with an external id in a JSON value, in document order; without
    recursion. What is inside of one, as what it refers to, is no record of its own."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, dict) and _id_of(one) is not None:
            yield one
        elif isinstance(one, dict | list):
            inner: Iterable[Any] = one.values() if isinstance(one, dict) else one
            stack += reversed([each for each in inner if isinstance(each, dict | list)])


def _first(
    lowered: Mapping[str, Any], record: Mapping[str, Any], names: tuple[str, ...]
) -> str | None:
    """The text under the first of these names that the record has; else the first further in."""
    own = next((text for name in names if (text := _text(lowered.get(name))) is not None), None)
    if own is not None:
        return own
    for path, leaf in leaves(record):
        if _plain(re.split(r"[.\[]", re.sub(r"\[\d+\]$", "", path))[-1]) in names:
            text = _text(leaf)
            if text is not None:
                return text
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _text(value: Any) -> str | None:
    """A text that says something, or a whole number, as a text a store can hold."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value).strip() if isinstance(value, str) else str(value)
    return text.encode("utf-8", "replace").decode() or None
