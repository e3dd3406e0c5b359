"""Signals while a command is loading, and after its work is done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

import reach_analytics as reach
from tests.support.effort import count

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Prints a line first, since signals cannot be handled while the interpreter itself starts.
BEGIN = """
import sys
from reach_analytics.cli import main
print("begins", file=sys.stderr, flush=True)
main()
"""
# Sends itself a signal as soon as a module of this name is searched for during import.
STRIKE = """
import os, sys

class Striking:
    struck = False

    def find_spec(self, name, path=None, target=None):
        if name == {module!r} and not self.struck:
            self.struck = True
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Striking())
"""
NOISE = ("Traceback", "Fatal Python error", "Exception ignored", "terminate called", "panicked")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(directory with a store in it, environment of a sandbox whose clock runs)."""
    place = tmp_path_factory.mktemp("signals")
    with reach.sandbox.serve("demo") as sandbox:
        sandbox.advance(sandbox.scenario.moments[8])
        with reach.Client(**sandbox.credentials) as client:
            reach.collect(client, reach.Store(place / "s"), progress=False)
        sandbox.run(60)
        yield place, {**os.environ, **sandbox.environment}


def start(place, code: str, *arguments: str, **options) -> subprocess.Popen:
    directory, env = place
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=directory,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code as a shell has it, and what was printed."""
    out, err = process.communicate(timeout=60)
    assert not any(noise in err for noise in NOISE), err
    code = process.returncode
    return 128 - code if code < 0 else code, out, err


RANDOM = random.Random(20)
COMMANDS = {
    "--version": [],
    "--help": [],
    "health": ["--store", "s"],
    "report": ["page.html", "--store", "s"],
    "export": ["files", "--store", "s"],
    "collect": ["--store", "new"],
    "watch": ["--store", "new", "--until", "2h"],
    "sandbox": [],
}
RUNS = [
    (command, number, RANDOM.uniform(0, 1.5))
    for command in COMMANDS
    for number in (signal.SIGINT, signal.SIGTERM)
    for _ in range(1 if command.startswith("--") else count(3, 1))
]


@pytest.mark.parametrize(("command", "number", "delay"), RUNS)
def test_a_signal_at_any_moment_ends_a_command_with_its_exit_code_and_no_traceback(
    place, command, number, delay
):
    process = start(place, BEGIN, command, *COMMANDS[command])
    assert process.stderr.readline() == "begins\n"
    time.sleep(delay)
    process.send_signal(number)
    code, _, _ = ended(process)
    assert code in (0, 130, 143)


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("health", "typer"),
        ("health", "typer.core"),
        ("health", "reach_analytics.cli.commands.collecting"),
        ("health", "reach_analytics.history"),
        ("health", "pandas"),
        ("health", "numpy.linalg"),
        ("health", "_duckdb"),
        ("report", "plotly"),
        ("collect", "reach_analytics.client"),
        ("collect", "deltalake"),
        ("watch", "reach_analytics.collector"),
    ],
)
def test_ctrl_c_during_an_import_ends_the_command_with_130(place, command, module):
    """Libraries do not see it: it takes effect after their import."""
    strike = STRIKE.format(module=module, number=int(signal.SIGINT))
    code, out, _ = ended(start(place, strike + BEGIN, command, *COMMANDS[command]))
    # On a busy machine a watch may have begun before the interrupt finds a moment without an
    # import: then it is stopped, hours before it would end, and sums up what it did.
    assert code == 130 or (command == "watch" and code == 0 and "observations" in out), (code, out)


def test_an_import_that_swallows_exceptions_does_not_swallow_ctrl_c(place):
    swallowing = """
import importlib
begin = importlib.import_module
def import_module(name, package=None):
    try:
        return begin(name, package)
    except BaseException:
        raise ImportError("lost") from None
importlib.import_module = import_module
"""
    strike = STRIKE.format(module="pandas", number=int(signal.SIGINT))
    code, _, err = ended(start(place, swallowing + strike + BEGIN, "health", "--store", "s"))
    assert (code, "lost" in err) == (130, False)


def test_ctrl_c_in_a_destructor_is_not_lost(place):
    """Python can only print what a destructor raises."""
    destructor = """
import os, signal, sys, time
import reach_analytics.errors
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
import pandas, reach_analytics.history
opened = reach_analytics.history.open_history
def open_history(*given, **options):
    Dying()
    time.sleep(5)
    return opened(*given, **options)
reach_analytics.history.open_history = open_history
"""
    began = time.monotonic()
    assert ended(start(place, destructor + BEGIN, "health", "--store", "s"))[0] == 130
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_work_is_done_changes_neither_output_nor_exit_code(place, number):
    """After the last line, a pool is still to be closed."""
    late = f"""
import atexit, os, time
import reach_analytics.cli._run as commands
def strike():
    os.kill(os.getpid(), {int(number)})
    time.sleep(0.05)
    print("too late")
run = commands.run
def run_and_strike():
    atexit.register(strike)
    run()
commands.run = run_and_strike
"""
    code, out, _ = ended(start(place, late + BEGIN, "--version"))
    assert (code, out) == (0, f"{reach.__version__}\n")
    code, out, err = ended(start(place, late + BEGIN, "health", "--store", "nowhere"))
    assert (code, out, "no store at nowhere" in err) == (1, "", True)


def test_a_command_that_ignores_ctrl_c_continues(place):
    """As shell scripts do for what they start with &."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    strike = STRIKE.format(module="pandas", number=int(signal.SIGINT))
    process = start(place, strike + BEGIN, "health", "--store", "s", preexec_fn=ignore)
    code, out, _ = ended(process)
    assert code == 0
    assert "Health" in out
