"""Which method of a history a progress bar stands for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def named_on_a_bar(owner: C) -> C:
    """The class, whose public methods each tell the ``_bar`` of their object what goes on."""
    for name, method in list(vars(owner).items()):
        if isfunction(method) and not name.startswith("_"):
            setattr(owner, name, _named(method, name.replace("_", " ")))
    return owner


def _named(method: Callable[..., Any], what: str) -> Callable[..., Any]:
    @wraps(method)
    def told(self: Any, *arguments: Any, **options: Any) -> Any:
        with self._bar.during(what):
            return method(self, *arguments, **options)

    return told
