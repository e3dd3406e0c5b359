"""The memory: two Delta tables, which are plain Parquet files and a transaction log."""

from importlib import import_module

from reach_analytics.store.damage import Damage
from reach_analytics.store.store import TABLE_VERSION, Appended, Store

__all__ = ["TABLE_VERSION", "Appended", "Compacted", "Damage", "Repair", "Store"]

_LATER = {"Compacted": "compaction", "Repair": "findings"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
