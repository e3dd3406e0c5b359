"""The memory: two Delta tables, which are plain Parquet files and a transaction log."""

from reach_analytics.store.store import TABLE_VERSION, Appended, Store

__all__ = ["TABLE_VERSION", "Appended", "Compacted", "Store"]


def __getattr__(name: str) -> object:
    if name != "Compacted":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reach_analytics.store.compaction import Compacted

    return Compacted
