"""Benchmarks run at full size only on request; otherwise they are small correctness tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def full_size(request) -> bool:
    """Whether ``--benchmark-enable`` was given."""
    return bool(request.config.getoption("benchmark_enable"))
