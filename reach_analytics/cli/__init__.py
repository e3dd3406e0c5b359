"""The command line ``reach-analytics``: parsing and printing only.

Its commands are in `commands`, which takes a while to load: see `start`.
"""

from reach_analytics.cli.start import main

__all__ = ["main"]
