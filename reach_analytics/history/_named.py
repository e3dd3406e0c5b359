"""Methods of a history that give frames: with names in them, and by name where that is asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any, TypeVar

import pandas as pd

from reach_analytics.tables import TENANT_NAME

C = TypeVar("C", bound=type)

_AS_ASKED = {"sql"}  # whose query says which columns


def with_names(owner: C) -> C:
    """The class, whose public methods name the tenants and schemas in the frames that they give.

    ``by`` takes ``tenant_name`` as well, which groups by the tenant: no two have one name.
    """
    for name, method in list(vars(owner).items()):
        if isfunction(method) and not name.startswith("_") and name not in _AS_ASKED:
            setattr(owner, name, _named(method))
    return owner


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
