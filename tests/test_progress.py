"""Progress bars."""

from __future__ import annotations

import gc
import sys
import threading

import pytest
from tqdm import tqdm

from reach_analytics._progress import progress_bar


def test_a_bar_that_is_interrupted_while_it_is_made_leaves_nothing_to_complain_of(monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        progress_bar(desc="x")
    gc.collect()
    assert complaints == []


def test_a_bar_starts_no_thread_and_counts_what_it_iterates_over(capsys):
    before = threading.enumerate()
    bar = progress_bar(range(3), "passes", disable=False)
    assert list(bar) == [0, 1, 2]
    assert threading.enumerate() == before
    assert "3/3" in capsys.readouterr().err
