"""All commands together, and how errors end them."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from reach_analytics._interrupts import is_interrupt
from reach_analytics.cli._output import printable
from reach_analytics.cli.app import app
from reach_analytics.cli.commands import answers, collecting

__all__ = ["answers", "app", "collecting", "run"]


def run() -> None:
    """Run a command: errors that a user can fix become one line on stderr and exit code 1."""
    from reach_analytics.errors import ReachError

    try:
        app()
    except (ReachError, ValueError, OSError, ModuleNotFoundError) as error:
        _say(str(error))
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a panic of delta-rs is not an Exception
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        if os.environ.get("REACH_TRACEBACK"):
            raise
        first = str(error).strip().partition("\n")[0]
        _say(
            f"an unexpected {type(error).__name__}, which is a bug here or in a library: "
            f"{first}; to report it, set REACH_TRACEBACK=1 for a traceback"
        )


def _say(what: str) -> NoReturn:
    print(f"reach-analytics: {printable(what)}", file=sys.stderr)
    raise SystemExit(1) from None
