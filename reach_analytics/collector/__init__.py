"""Fetching batch statuses and writing them to the store."""

from reach_analytics.collector._schedule.policy import PollingPolicy
from reach_analytics.collector.collect import collect
from reach_analytics.collector.summary import Problem, RunSummary
from reach_analytics.collector.watch import watch

__all__ = ["PollingPolicy", "Problem", "RunSummary", "collect", "watch"]
