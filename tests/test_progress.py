"""Progress bars."""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from tqdm import tqdm

import reach_analytics as reach
from reach_analytics._progress import SlowBar, progress_bar


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


def drawn(capsys, seconds: list[float], **options) -> str:
    """What is drawn by ticks at these seconds after the beginning."""
    now = [0.0]
    bar = SlowBar(clock=lambda: now[0], **options)
    bar._new = lambda: progress_bar(total=100, desc=bar._what, disable=not bar._shown, leave=False)
    with bar.during("release rates"), bar.during("health"):
        bar.step()
        for second in seconds:
            now[0] = second
            bar.tick(40)
    return capsys.readouterr().err


def test_what_takes_long_gets_a_bar_with_the_name_of_the_whole(capsys):
    assert "release rates:  40%" in drawn(capsys, [0.1, 1.9, 2.1])
    assert drawn(capsys, [0.1, 1.9]) == ""
    assert drawn(capsys, [0.1, 5.0], shown=False) == ""


def test_a_bar_goes_with_what_it_stands_for(capsys):
    now = [0.0]
    bar = SlowBar(clock=lambda: now[0])
    bar._new = lambda: progress_bar(total=100, desc=bar._what, disable=False, leave=False)

    def interrupted():
        with bar.during("backlog"):
            now[0] = 3.0
            bar.tick(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert bar._bar is None
    capsys.readouterr()
    now[0] = 9.0
    bar.tick(50)  # of nothing that goes on
    assert capsys.readouterr().err == ""


def test_a_bar_may_end_while_another_thread_draws_it():
    now = [0.0]
    bar = SlowBar(clock=lambda: now[0])
    drawing, ended = threading.Event(), threading.Event()

    class Slow(MagicMock):
        def set_postfix_str(self, *_, **__):
            drawing.set()
            assert ended.wait(10)

    bar._new = Slow
    failed: list[BaseException] = []

    def draw() -> None:
        try:
            bar.tick(10)
        except BaseException as error:  # which would end the query
            failed.append(error)

    with bar.during("backlog"):
        now[0] = 3.0
        other = threading.Thread(target=draw)
        other.start()
        assert drawing.wait(10)
    ended.set()
    other.join(10)
    assert not failed


@pytest.mark.parametrize("state", ["absent", "closed", "closed later"])
def test_a_query_goes_on_where_no_bar_can_be_drawn(monkeypatch, tmp_path, state):
    stream = None if state == "absent" else (tmp_path / "stderr").open("w")
    monkeypatch.setattr(sys, "stderr", stream)
    if state == "closed":
        stream.close()
    now = [0.0]
    bar = SlowBar(clock=lambda: now[0])
    if state == "closed later":
        bar._new = lambda: progress_bar(total=100, disable=False)
    with bar.during("backlog"):
        bar.step()
        for second in (3.0, 4.0):
            now[0] = second
            bar.tick(10)
            if state == "closed later":
                stream.close()
    assert bar._bar is None


def test_a_history_tells_what_goes_on(monkeypatch):
    """On a terminal, with a query that takes long; nothing without one, or where nobody asks."""
    monkeypatch.setattr("reach_analytics._progress._AFTER_S", 0.0)
    monkeypatch.setattr("reach_analytics._interrupts._BETWEEN_TRIES_S", 0.001)
    told = []
    monkeypatch.setattr(SlowBar, "_new", lambda bar: told.append(bar._what) or MagicMock())
    shipped = Path(__file__).parents[1] / "data" / "demo"
    history = reach.open_history(shipped)
    history.release_rates()
    assert set(told) == {"release rates"}
    history.tables.read(history.tables.pending)
    assert set(told) == {"release rates"}
