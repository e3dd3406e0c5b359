"""Signals to a command: an interrupt is neither lost nor a traceback, at start or end.

This is loaded before signals are handled, so it imports little.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from types import CodeType, FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED = 128 + signal.SIGINT  # the exit code that a shell gives to a program so ended
_AGAIN_S = 0.01
_ENDING = (signal.SIGINT, signal.SIGTERM)
_deferred: set[int] = set()
_outermost: list[CodeType] = []


def handle_signals(outermost: CodeType) -> None:
    """Handle signals from now on; ``outermost`` is the function that the command runs in."""
    _outermost[:] = [outermost]
    # A script that starts a command with & has SIGINT ignored, which stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = _rescue
    atexit.register(_ignore)  # registered first, it runs last


def interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a signal as Ctrl-C, with KeyboardInterrupt, but not during an import.

    Native libraries cannot take it while they load: it is lost, becomes an ImportError or a
    SystemError, or aborts the process.
    """
    if not _is_importing(frame):
        raise KeyboardInterrupt
    _defer(number)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether an import is running, in a frame below `main`."""
    while frame is not None and frame.f_code not in _outermost:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _rescue(lost: UnraisableHookArgs) -> None:
    """Raise again an interrupt that was lost in a destructor."""
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
        return  # the command has ended in the meantime
    _deferred.discard(number)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


def end_with(code: int) -> None:
    """The work is done: from here on a signal only exits sooner, with the same code."""
    _deferred.clear()
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(code))
    # If the interrupt came through an eval() of text, Python remembers it although it was caught,
    # and would exit by the signal instead of with the code. The next eval() clears that.
    eval("0")
    with suppress(OSError):  # stdout is closed; the interpreter reports it at exit
        sys.stdout.flush()


def _ignore() -> None:
    """At exit no thread is left to wait for, and the interpreter drops its handlers."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
