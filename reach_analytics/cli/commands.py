"""All commands together, and how errors end them."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from reach_analytics._interrupts import is_interrupt
from reach_analytics.cli import answers, collecting
from reach_analytics.cli.app import app
from reach_analytics.cli.printing import printable

__all__ = ["answers", "app", "collecting", "run"]


def run() -> None:
    """Run a command: errors that a user can mend become one line on stderr and exit code 1."""
    from reach_analytics.errors import ReachError

    try:
        app()
    except (ReachError, ValueError, OSError) as error:
        _say(str(error))
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # delta-rs' panics are no Exceptions
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        if os.environ.get("REACH_TRACEBACK"):
            raise
        first = str(error).strip().partition("\n")[0]
        _say(
            f"an unexpected {type(error).__name__}, which is a fault of ours or of a library: "
            f"{first}; with REACH_TRACEBACK=1 it shows where, for whoever reports it"
        )


def _say(what: str) -> NoReturn:
    print(f"reach-analytics: {printable(what)}", file=sys.stderr)
    raise SystemExit(1) from None
