"""Start and end of a command, so that no signal at either point is lost or prints a traceback.

This module is all that is loaded before signals are handled, so it imports little.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from reach_analytics.cli._signals import INTERRUPTED, end_with, handle_signals


def main() -> NoReturn:
    """Entry point of the process: run the command line, and exit with its code."""
    try:
        handle_signals(main.__code__)
        code = _run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    end_with(code)
    sys.exit(code)


def _run() -> int:
    from reach_analytics.cli._run import run

    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
