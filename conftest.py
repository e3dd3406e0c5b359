"""Which files are tested where an optional package is missing, those that need none; and an option
that makes pictures."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

# By package, what a file that needs it says.
NEEDS = {
    "starlette": r"\bsandbox\b",
    "networkx": r"\bnetworkx\b|\bnx\.",
    "statsmodels": r"\bstatsmodels\b",
    "playwright": r"\bplaywright\b|\bpytest\.mark\.browser\b",
    "pyspark": r"\bpyspark\b",
    "schemathesis": r"\bschemathesis\b",
}
MISSING = [re.compile(says) for package, says in NEEDS.items() if find_spec(package) is None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--screenshots DIR``: the pictures of the README, and sheets of all charts."""
    parser.addoption("--screenshots", metavar="DIR", help="make pictures there, to look at")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a file that needs what is not installed, with all its tests."""
    if not MISSING or collection_path.suffix != ".py" or collection_path.name == "conftest.py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    return True if any(says.search(text) for says in MISSING) else None
