"""The command line ``reach-analytics``: parsing and printing only."""

from reach_analytics.cli import answers, collecting
from reach_analytics.cli.app import app, main

__all__ = ["answers", "app", "collecting", "main"]
