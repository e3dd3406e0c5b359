"""Looking at batches and remembering what was seen."""

from reach_analytics.collector.collect import Problem, RunSummary, collect

__all__ = ["Problem", "RunSummary", "collect"]
