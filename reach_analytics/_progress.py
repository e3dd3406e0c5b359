"""Progress bars, on a terminal or in a notebook."""

from __future__ import annotations

from typing import Any


def progress_bar(*arguments: Any, **options: Any) -> Any:
    """A tqdm bar that an interrupt may hit at any moment, also while it is made."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]  # which class it is depends on the front end
        monitor_interval = 0  # no thread, which would see to bars that have become slower
        disable = True  # until it is made: then an unfinished one has nothing to clear away

    options.setdefault("miniters", 1)  # each update may show, however fast the ones before were
    return Bar(*arguments, **options)
