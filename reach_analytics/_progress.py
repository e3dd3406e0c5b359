"""Progress bars, on a terminal or in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_AFTER_S = 2.0
_EVERY_S = 0.2


def progress_bar(*arguments: Any, **options: Any) -> Any:
    """A tqdm bar that an interrupt may hit at any moment, also while it is made."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]  # which class it is depends on the front end
        monitor_interval = 0  # no thread, which would see to bars that have become slower
        disable = True  # until it is made: then an unfinished one has nothing to clear away

    options.setdefault("miniters", 1)  # each update may show, however fast the ones before were
    return Bar(*arguments, **options)


class SlowBar:
    """A bar for what takes more than two seconds, from then on until it ends.

    Parameters
    ----------
    shown : bool
        Whether there is one at all; also then only on a terminal or in a notebook.
    clock : callable
        Seconds that have passed.
    """

    def __init__(self, *, shown: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown, self._clock = shown, clock
        self._what: str | None = None
        self._since = self._drawn = 0.0
        self._steps = 0
        self._bar: Any = None

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Inside the block, ``what`` goes on; a block inside another is part of that."""
        if self._what is not None:
            yield
            return
        self._what, self._since, self._steps = what, self._clock(), 0
        try:
            yield
        finally:
            self._what = None
            if self._bar is not None:
                bar, self._bar = self._bar, None
                with suppress(OSError, ValueError):
                    bar.close()

    def step(self) -> None:
        """Another query begins."""
        self._steps += 1

    def tick(self, percent: float) -> None:
        """The query goes on; so much of it is done, as far as its engine knows."""
        now = self._clock()
        if self._what is None or now - max(self._since + _AFTER_S, self._drawn + _EVERY_S) < 0:
            return
        bar = self._bar  # which another thread may end meanwhile
        if bar is None:
            bar = self._bar = self._new()
        self._drawn = now
        with suppress(OSError, ValueError):  # its stream was closed, or its terminal is gone
            bar.set_postfix_str(f"step {self._steps}", refresh=False)
            bar.n = min(max(percent, 0), 100)
            bar.refresh()

    def _new(self) -> Any:
        off = None if self._shown and _has_stderr() else True
        if self._shown and _in_notebook():
            off = False  # its streams are no terminals
        bar = progress_bar(
            total=100,
            desc=self._what,
            leave=False,
            disable=off,
            bar_format="{desc}: {bar:20} {postfix} {elapsed}",
        )
        if not bar.disable:
            bar.start_t -= _AFTER_S
        return bar


def _has_stderr() -> bool:
    return sys.stderr is not None and not sys.stderr.closed


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return bool(shell) and type(shell).__name__ == "ZMQInteractiveShell"
