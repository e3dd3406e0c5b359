"""Looking at batches and remembering what was seen."""

from reach_analytics.collector.collect import collect
from reach_analytics.collector.schedule import Policy
from reach_analytics.collector.summary import Problem, RunSummary
from reach_analytics.collector.watch import watch

__all__ = ["Policy", "Problem", "RunSummary", "collect", "watch"]
