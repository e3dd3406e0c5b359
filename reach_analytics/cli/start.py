"""Where a command begins and ends, so that no signal at either edge is lost or makes a traceback.

This module is all that is loaded before signals are heeded, so it imports little.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED = 128 + signal.SIGINT  # the exit code that a shell gives to a program so ended
_AGAIN_S = 0.01
_ENDING = (signal.SIGINT, signal.SIGTERM)
_deferred: set[int] = set()


def main() -> NoReturn:
    """Entry point of the process: run the command line, and end with its exit code."""
    try:
        # A script that starts a command with & has SIGINT ignored, which stays so.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook = _rescue
        atexit.register(_ignore)  # registered first, it runs last
        code = _run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    _end_with(code)
    sys.exit(code)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal as Ctrl-C, with KeyboardInterrupt, but not before an import is over.

    Native libraries do not stand it while they load: it is lost, becomes an ImportError or a
    SystemError, or aborts the process.
    """
    if not _is_importing(frame):
        raise KeyboardInterrupt
    _defer(number)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether something is being imported here, since `main` began."""
    while frame is not None and frame.f_code is not main.__code__:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _rescue(lost: UnraisableHookArgs) -> None:
    """Raise again the interrupt that a destructor could not let through."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        _defer(signal.SIGINT)
    else:
        sys.__unraisablehook__(lost)


def _defer(number: int) -> None:
    if number not in _deferred:
        _deferred.add(number)
        again = threading.Timer(_AGAIN_S, _send_again, [number])
        again.daemon = True
        again.start()


def _send_again(number: int) -> None:
    if number not in _deferred:
        return  # the command has ended meanwhile
    _deferred.discard(number)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


def _run() -> int:
    from reach_analytics.cli.commands import run

    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end_with(code: int) -> None:
    """The work is done: from here on a signal hastens the end and changes nothing about it."""
    _deferred.clear()
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(code))
    # Had the interrupt come up through an eval() of text, Python would remember it, though it was
    # caught, and end by the signal instead of with the code. The next eval() has it forget that.
    eval("0")
    with suppress(OSError):  # nobody reads any more; the interpreter says so when it ends
        sys.stdout.flush()


def _ignore() -> None:
    """No thread is left to wait for, and the interpreter is about to forget its handlers."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
