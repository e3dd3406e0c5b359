"""Progress bars."""

from __future__ import annotations

import gc
import sys
import threading
import time

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


def test_a_bar_that_becomes_slower_still_shows_where_it_is(capsys):
    with progress_bar(total=100_000, disable=False) as bar:
        for _ in range(2_000):
            bar.update(10)
            time.sleep(0.0002)  # fast enough for tqdm to skip most updates by itself
        time.sleep(0.2)
        capsys.readouterr()
        bar.update(1)
        assert "20001/100000" in capsys.readouterr().err
