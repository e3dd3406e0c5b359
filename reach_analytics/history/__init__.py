"""What a store remembers, as DataFrames, measures and files."""

from reach_analytics.history.facade import History
from reach_analytics.history.opening import open_history

__all__ = ["History", "open_history"]
