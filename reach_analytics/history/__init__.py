"""The contents of a store as DataFrames, measures and files."""

from reach_analytics.history.history import History
from reach_analytics.history.open import open_history

__all__ = ["History", "open_history"]
