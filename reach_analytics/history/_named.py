"""Methods of a history that give frames: with names in them, by name where that is asked, and with
times in its zone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any, TypeVar

import pandas as pd

from reach_analytics.tables import TENANT_NAME

C = TypeVar("C", bound=type)

_AS_GIVEN = {"join", "named"}  # whose frames are those of others
_AS_ASKED = {"sql"}  # whose query says which columns


def with_names(owner: C) -> C:
    """The class, whose public methods name the tenants and schemas in the frames that they give.

    ``by`` takes ``tenant_name`` as well, which groups by the tenant: no two have one name.
    """
    for name, method in list(vars(owner).items()):
        if not isfunction(method) or name.startswith("_") or name in _AS_GIVEN:
            continue
        setattr(owner, name, _zoned(method if name in _AS_ASKED else _named(method)))
    return owner


def in_zone(frame: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """The frame with its times in a zone."""
    if timezone == "UTC":
        return frame
    times = frame.select_dtypes("datetimetz").columns
    return frame.assign(**{name: frame[name].dt.tz_convert(timezone) for name in times})


def _zoned(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def zoned(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = method(self, *arguments, **options)
        return in_zone(answer, self.timezone) if isinstance(answer, pd.DataFrame) else answer

    return zoned


def _named(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def named(self: Any, *arguments: Any, **options: Any) -> Any:
        by = options.get("by")
        names = [by] if isinstance(by, str) else list(by or ())
        if TENANT_NAME.name not in names:
            answer = method(self, *arguments, **options)
            return self._catalog.named(answer) if isinstance(answer, pd.DataFrame) else answer
        inside = ["tenant_id" if name == TENANT_NAME.name else name for name in names]
        if "tenant_id" in names:
            inside.remove("tenant_id")
        answer = method(self, *arguments, **{**options, "by": inside})
        return _by_name(answer, names, self._catalog.names_of)

    return named


def _by_name(
    answer: pd.DataFrame, names: list[str], names_of: Callable[[pd.Series], pd.Series]
) -> pd.DataFrame:
    """Groups of tenants, by their names and in the order of these; their ids stand last."""
    named = answer.assign(**{TENANT_NAME.name: names_of(answer["tenant_id"])})
    others = [name for name in answer.columns if name not in (*names, "tenant_id")]
    in_order = named.sort_values(names, kind="stable", ignore_index=True)
    return in_order[[*dict.fromkeys([*names, *others, "tenant_id"])]]
