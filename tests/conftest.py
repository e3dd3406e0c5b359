"""Shared fixtures: a sandbox that is started once, and a store collected from it."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

import reach_analytics as reach
from tests.support.effort import examples
from tests.support.evil import evil  # noqa: F401  a fixture

settings.register_profile(
    "default",
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")

# A shell that starts the tests with & has SIGINT ignored, and so would every child of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No token, tenant or proxy of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("REACH_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """(sandbox at its last moment, store collected at six moments). Only to be read."""
    pytest.importorskip("starlette")
    store = reach.Store(tmp_path_factory.mktemp("demo") / "store")
    with reach.sandbox.serve("demo") as sandbox:
        for moment in sandbox.scenario.moments[3::4]:
            sandbox.advance(moment)
            with reach.Client(**sandbox.credentials) as client:
                reach.collect(client, store, progress=False)
        yield sandbox, store


@pytest.fixture
def sandbox(demo):
    return demo[0]


@pytest.fixture
def store(demo):
    return demo[1]


@pytest.fixture
def history(store):
    return reach.open_history(store)
