"""The store: two Delta tables, which are plain Parquet files and a transaction log."""

from importlib import import_module

from reach_analytics.store.damage import Damage
from reach_analytics.store.store import TABLE_VERSION, AppendResult, Store

__all__ = ["TABLE_VERSION", "AppendResult", "CompactionResult", "Damage", "Repair", "Store"]

_LATER = {"CompactionResult": "compaction", "Repair": "_findings"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
