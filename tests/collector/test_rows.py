"""Unreadable rows of a listing: their messages, and their positions."""

from __future__ import annotations

import pytest

from reach_analytics.client import Client
from reach_analytics.collector._observe.observer import Observer
from reach_analytics.errors import PayloadError
from tests.support.clients import client
from tests.support.hostile import answer, serve
from tests.support.listing_rows import page, row


def told(own: Client) -> tuple[list[str], list[str]]:
    """The errors of failed observations, by batch, and the problems, of all pages."""
    observer, failed, problems = Observer("run", own.now), [], []
    for found in own.batches().iter_pages():
        observations, wrong = observer.rows("t", found)
        failed += [
            f"{observation.batch_id}: {observation.error}"
            for observation in observations
            if observation.error
        ]
        problems += [problem.message for problem in wrong]
    return failed, problems


def test_the_message_names_page_row_and_batch():
    first = page(row("a"), row("b"), cursor=b'"2"')
    second = page(row("c"), b'{"batchId":"lost","x":}', b'{"status":"s"}', b'{"x":}')
    with serve(first, second) as server:
        failed, problems = told(client(server.url))
    [lost] = failed
    assert lost.startswith("lost: GET /api/batches: expected JSON at $.data.results[1]")
    assert "(batch 'lost')" in lost
    assert lost.endswith("in row 2 of page 2")
    places = [problem.rpartition(", in ")[2] for problem in problems]
    assert places == ["row 3 of page 2", "row 4 of page 2"]


def test_a_truncated_page_is_reported_as_a_whole():
    with serve(answer(body=page(row("a")).partition(b"\r\n\r\n")[2][:-9])) as server:
        with pytest.raises(PayloadError, match="breaks off"):
            told(client(server.url))
