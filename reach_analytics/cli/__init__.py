"""The command line ``reach-analytics``: parsing and printing only.

Its commands are in `commands`, which is slow to load: see `_start`.
"""

from reach_analytics.cli._start import main

__all__ = ["main"]
