"""Charts of a frame or of a history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, cast

import pandas as pd
import plotly.graph_objects as go

__all__ = ["draw", "drawn_from"]

Options = ParamSpec("Options")


def drawn_from(
    measure: str, *, also: Mapping[str, str] | None = None, **options: Any
) -> Callable[
    [Callable[Concatenate[Any, Options], go.Figure]],
    Callable[Concatenate[Any, Options], go.Figure],
]:
    """A chart that takes a `History`, too, in place of the frame of its ``measure``.

    Parameters
    ----------
    measure : str
        The method of a history that gives the frame.
    also : mapping, optional
        Other arguments of the chart → the methods that give them.
    **options
        What the measure is asked with, where nothing else is said.
    """

    def decorated(
        plot: Callable[Concatenate[Any, Options], go.Figure],
    ) -> Callable[Concatenate[Any, Options], go.Figure]:
        @wraps(plot)
        def drawn(source: Any, *arguments: Options.args, **given: Options.kwargs) -> go.Figure:
            if isinstance(source, pd.DataFrame) or not callable(getattr(source, measure, None)):
                return plot(source, *arguments, **given)
            others: dict[str, Any] = {name: getattr(source, of)() for name, of in more.items()}
            frame = getattr(source, measure)(**options)
            return plot(frame, *arguments, **{**others, **given})

        more = dict(also or {})
        vars(drawn).update(measure=measure, also=more, options=options)
        return cast("Callable[Concatenate[Any, Options], go.Figure]", drawn)

    return decorated


def draw(plot: Callable[..., go.Figure], history: Any, given: Mapping[str, Any]) -> go.Figure:
    """A chart of a history, with options of its measure and of its own.

    An option that both have is the measure's.
    """
    source: dict[str, Any] = vars(plot)
    measure = getattr(history, source["measure"])
    of_measure = signature(measure).parameters
    asked = source["options"] | {name: one for name, one in given.items() if name in of_measure}
    own = {name: one for name, one in given.items() if name not in of_measure}
    others = {
        name: getattr(history, of)() for name, of in source["also"].items() if name not in own
    }
    return plot(measure(**asked), **others, **own)
