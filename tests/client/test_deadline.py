"""A request ends within ``deadline_s``, whichever part of the answer drips."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
import requests

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.client.transport import HaltedError
from reach_analytics.errors import ApiError, PayloadError, TransportError
from tests.support.hostile import DRIPS, answer, drip, ok, serve

BATCH = {"batchId": "b1", "status": "success"}
DEADLINE_S = 0.5
SLACK_S = 1.5  # for a busy machine; a drip lasts for 4 s


def client(url: str, **options) -> reach.Client:
    given = {"deadline_s": DEADLINE_S, "retry": RetryPolicy(attempts=1), "timeout": (2.0, 2.0)}
    return reach.Client(token="abc", tenant_id="t", base_url=url, **given | options)


@contextmanager
def ends_in_time():
    begun = time.monotonic()
    with pytest.raises(TransportError) as caught:
        yield
    assert time.monotonic() - begun < DEADLINE_S + SLACK_S
    assert caught.value.retryable


@pytest.mark.parametrize("part", DRIPS)
def test_an_answer_of_which_a_part_drips_is_cut_off(part):
    with serve(DRIPS[part]) as server, client(server.url) as own, ends_in_time() as _:
        own.batch("b1")


@pytest.mark.parametrize("part", ["the status line", "trailers"])
def test_a_user_s_own_session_is_bound_too(part):
    with serve(DRIPS[part]) as server, requests.Session() as session:
        with client(server.url, session=session) as own, ends_in_time():
            own.batch("b1")


def test_reused_connections_are_bound_too():
    """The second request goes out over a connection from the pool."""

    def good_then_drip(connection: socket.socket) -> None:
        connection.sendall(answer(body={"data": BATCH}, headers={"Connection": "keep-alive"}))
        while b"\r\n\r\n" not in connection.recv(65536):
            pass
        drip(b"HTTP/1.1 200 ")(connection)

    with serve(good_then_drip) as server, client(server.url) as own:
        assert own.batch("b1").batch_id == "b1"
        with ends_in_time():
            own.batch("b1")
    assert len(server.requests) == 1  # connections


def test_a_tls_handshake_that_drips_is_cut_off():
    with serve(drip(b"\x16\x03\x03\x40\x00")) as server:
        with client(server.url.replace("http:", "https:")) as own, ends_in_time():
            own.batch("b1")


def test_a_proxy_that_drips_is_cut_off():
    with serve(drip(b"HTTP/1.0 200 ")) as server, requests.Session() as session:
        session.trust_env = False
        session.proxies = {"https": server.url}
        with client("https://api.invalid", session=session) as own, ends_in_time():
            own.batch("b1")
    assert server.requests[0].startswith(b"CONNECT api.invalid:443")


def test_a_connection_that_is_never_accepted_is_abandoned():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        with client(f"http://127.0.0.1:{listener.getsockname()[1]}") as own, ends_in_time():
            own.batch("b1")
        for one in waiting:
            one.close()


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    place = tmp_path / "own.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    words += " -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", *words.split(), "-keyout", place, "-out", tmp_path / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    place.write_text(place.read_text() + (tmp_path / "cert.pem").read_text())
    return place


@pytest.mark.parametrize("part", ["the status line", "the size of a chunk", "the body"])
def test_an_answer_that_drips_through_tls_is_cut_off(certificate, part):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def in_tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(65536)
            DRIPS[part](wrapped)

    with serve(in_tls, greets=False) as server, requests.Session() as session:
        session.trust_env, session.verify = False, str(certificate)
        url = server.url.replace("http:", "https:")
        with client(url, session=session) as own, ends_in_time():
            own.batch("b1")


def test_what_was_cut_off_is_retried_as_the_policy_says():
    with serve(DRIPS["a header"], ok(BATCH)) as server:
        with client(server.url, retry=RetryPolicy(attempts=2, base_s=0.01)) as own:
            assert own.batch("b1").batch_id == "b1"
    assert len(server.requests) == 2


def test_quick_answers_are_unaffected_though_the_deadline_passes_in_between():
    with reach.sandbox.serve("demo") as sandbox:
        with reach.Client(**sandbox.credentials, deadline_s=1.0) as own:
            for _ in range(4):
                assert len(list(own.tenants())) == 3
                time.sleep(0.4)


def test_a_redirect_s_body_is_not_read_beyond_the_limit():
    body = answer(302, b"x" * 3_000_000, {"Location": "/elsewhere"})
    with serve(body) as server, client(server.url, max_bytes=1_000_000, deadline_s=5) as own:
        with pytest.raises(PayloadError, match="larger than"):
            own.batch("b1")
    with serve(answer(302, headers={"Location": "/elsewhere"})) as server:
        with client(server.url) as own, pytest.raises(ApiError, match="status 302"):
            own.batch("b1")


def test_a_halt_aborts_pending_requests_after_a_grace_period():
    ended = []

    def ask(own: reach.Client) -> None:
        try:
            own.batch("b1")
        except HaltedError as error:
            ended.append(error)

    with serve(DRIPS["a header"]) as server, client(server.url, deadline_s=60) as own:
        thread = threading.Thread(target=ask, args=[own])
        thread.start()
        while not server.requests:
            time.sleep(0.01)
        begun = time.monotonic()
        own.halt(grace_s=0.2)
        thread.join(3)
        assert 0.2 <= time.monotonic() - begun < 0.2 + SLACK_S
    assert len(ended) == 1


def test_an_answer_within_the_grace_period_is_not_lost():
    def slow(connection: socket.socket) -> None:
        time.sleep(0.3)
        connection.sendall(ok(BATCH))

    found = []
    with serve(slow) as server, client(server.url, deadline_s=60) as own:
        thread = threading.Thread(target=lambda: found.append(own.batch("b1")))
        thread.start()
        while not server.requests:
            time.sleep(0.01)
        own.halt(grace_s=2.5)
        thread.join(5)
    assert [document.batch_id for document in found] == ["b1"]


def test_the_watchdog_thread_ends_when_no_request_is_pending():
    before = threading.active_count()
    with serve(ok(BATCH)) as server, client(server.url, deadline_s=0.1) as own:
        own.batch("b1")
    ends_at = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert threading.active_count() <= before
