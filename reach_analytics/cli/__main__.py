"""``python -m reach_analytics.cli``: the same as ``reach-analytics``."""

from reach_analytics.cli import main

main()
