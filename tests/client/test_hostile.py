"""The client against answers that no good server gives, over real sockets."""

from __future__ import annotations

import gzip
import logging
import pickle
import socket
import traceback

import pytest

import reach_analytics as reach
from reach_analytics.errors import (
    ApiError,
    AuthError,
    NotFoundError,
    PagingError,
    PayloadError,
    TransportError,
)
from tests.support.clients import TOKEN, client
from tests.support.hostile import answer, ok, serve

ESCAPED = TOKEN.replace("s", "\\u0073").replace("t", "\\u0074").encode()
BATCH = {"batchId": "b1", "status": "success"}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_transient_faults_are_retried_until_an_answer_comes(status):
    waits: list[float] = []
    with serve(answer(status), answer(status), ok(BATCH)) as server:
        document = client(server.url, attempts=5, waits=waits).batch("b1")
    assert document.batch_id == "b1"
    assert len(server.requests) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 422, 501])
def test_other_refusals_are_final(status):
    with serve(answer(status, headers={"Location": "http://127.0.0.1:9/"})) as server:
        with pytest.raises(ApiError) as caught:
            client(server.url, attempts=5).batch("b1")
    assert (caught.value.status, caught.value.retryable) == (status, False)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (403, AuthError), (404, NotFoundError), (500, ApiError)]
)
def test_refusals_have_their_own_types_and_say_what_the_server_said(status, kind):
    body = {"success": False, "message": "nope", "data": None}
    with serve(answer(status, body)) as server:
        with pytest.raises(kind, match=rf"GET /api/batches/b1: status {status}, 'nope'"):
            client(server.url).batch("b1")


def test_attempts_are_bounded():
    with serve(answer(503)) as server, pytest.raises(ApiError) as caught:
        client(server.url, attempts=4).batch("b1")
    assert caught.value.retryable
    assert len(server.requests) == 4


def test_retry_after_in_seconds_is_honoured():
    waits: list[float] = []
    with serve(answer(429, headers={"Retry-After": "7"}), ok(BATCH)) as server:
        client(server.url, attempts=2, waits=waits).batch("b1")
    assert waits == [pytest.approx(7, abs=1)]


def test_retry_after_as_a_date_is_measured_against_the_answers_own_date():
    """The server's clock is years off; only the difference counts."""
    headers = {
        "Date": "Mon, 01 Jan 2001 00:00:00 GMT",
        "Retry-After": "Mon, 01 Jan 2001 00:00:09 GMT",
    }
    waits: list[float] = []
    with serve(answer(503, headers=headers), ok(BATCH)) as server:
        client(server.url, attempts=2, waits=waits).batch("b1")
    assert waits == [pytest.approx(9, abs=1)]


@pytest.mark.parametrize("value", ["0", "-3", "soon", "nan", ""])
def test_an_invalid_retry_after_means_the_usual_backoff(value):
    waits: list[float] = []
    with serve(answer(429, headers={"Retry-After": value}), ok(BATCH)) as server:
        client(server.url, attempts=2, waits=waits).batch("b1")
    [wait] = waits
    assert 0 <= wait <= 0.5


def test_retry_after_beyond_the_bound_gives_up_and_says_how_long():
    with serve(answer(429, headers={"Retry-After": "86400"})) as server:
        with pytest.raises(ApiError) as caught:
            client(server.url, attempts=5).batch("b1")
    assert caught.value.retry_after == 86400
    assert len(server.requests) == 1


def test_success_false_is_a_refusal_even_with_status_200():
    body = {"success": False, "message": "quota", "data": BATCH}
    with serve(answer(200, body)) as server, pytest.raises(ApiError, match="success: false"):
        client(server.url).batch("b1")


def truncated_in_transit(connection: socket.socket) -> None:
    connection.sendall(answer(body=b"x" * 1000)[:-600])


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@pytest.mark.parametrize("fault", [truncated_in_transit, reset, b""], ids=["cut", "reset", "empty"])
def test_broken_connections_are_retried_and_then_reported(fault):
    with serve(fault, ok(BATCH)) as server:
        assert client(server.url, attempts=2).batch("b1").batch_id == "b1"
    with serve(fault) as server, pytest.raises(TransportError) as caught:
        client(server.url, attempts=2).batch("b1")
    assert caught.value.retryable
    assert len(server.requests) == 2


def test_silence_hits_the_read_timeout():
    with serve(lambda connection: connection.recv(1)) as server:
        with pytest.raises(TransportError, match="no answer within the time limit"):
            client(server.url, timeout=(1.0, 0.1)).batch("b1")


def test_an_answer_that_drips_hits_the_deadline():
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 9999\r\n\r\n")
        connection.settimeout(0.02)
        for _ in range(500):
            connection.sendall(b" ")
            try:
                connection.recv(1)
                return
            except TimeoutError:
                continue

    with serve(drip) as server, pytest.raises(TransportError) as caught:
        client(server.url, timeout=(1.0, 5.0), deadline_s=0.2).batch("b1")
    assert "0.2 s" in str(caught.value)


def test_a_body_that_is_not_what_its_encoding_says_is_a_transport_error():
    with serve(answer(body=b"plain", headers={"Content-Encoding": "gzip"})) as server:
        with pytest.raises(TransportError, match="could not be decompressed"):
            client(server.url).batch("b1")


def test_chunked_answers_are_read():
    body = b'{"success": true, "data": {"batchId": "b1", "status": "success"}}'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[:10], body[10:])) + b"0\r\n\r\n"
    with serve(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks) as server:
        assert client(server.url).batch("b1").batch_id == "b1"


def test_nothing_listening_is_a_transport_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(TransportError, match="the connection failed"):
        client(url).batch("b1")


def test_a_huge_answer_is_refused_also_when_it_was_sent_compressed():
    bomb = answer(body=gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"})
    with serve(bomb) as server, pytest.raises(PayloadError, match="larger than 1,000,000 bytes"):
        client(server.url, max_bytes=1_000_000).batch("b1")


@pytest.mark.parametrize(
    ("body", "found", "retryable"),
    [
        (b"<!DOCTYPE html><p>Bad gateway", "HTML", True),
        (b"", "an empty body", True),
        (b'{"success": true, "data": {"batchId": "b', "breaks off", True),
        (b"{]", "malformed", True),
        (b"\xff\xfe", "malformed", True),
        (b"[1, 2]", "array", False),
        (b'{"success": "yes", "data": {}}', "str 'yes'", False),
        (b'{"success": true}', "nothing", False),
        (b"[" * 100_000, "deep nesting", False),
    ],
)
def test_bodies_without_an_envelope_are_told_apart(body, found, retryable):
    with serve(answer(body=body)) as server, pytest.raises(PayloadError) as caught:
        client(server.url).batch("b1")
    error = caught.value
    assert found in error.found
    assert error.retryable == retryable
    assert error.path == "/api/batches/b1"
    assert error.status == 200


def test_a_transient_bad_body_is_requested_again():
    with serve(answer(body=b"<html>"), ok(BATCH)) as server:
        assert client(server.url, attempts=2).batch("b1").status == "success"


@pytest.mark.parametrize(
    ("data", "where", "found"),
    [
        ({"status": "success"}, "$.data.batchId", "nothing"),
        ({"batchId": "", "status": "success"}, "$.data.batchId", "''"),
        ({"batchId": "b1"}, "$.data.status", "nothing"),
        ({"batchId": 7, "status": "success"}, "$.data.batchId", "int '7'"),
        ({**BATCH, "progress": {"totalRecords": "12"}}, "$.data.progress.totalRecords", "str '12'"),
        ({**BATCH, "progress": {"totalRecords": 1.5}}, "$.data.progress.totalRecords", "1.5"),
        ({**BATCH, "createdAt": "yesterday"}, "$.data.createdAt", "yesterday"),
        ({**BATCH, "errors": []}, "$.data.errors", "array"),
        (
            {**BATCH, "pendingResources": [{}, {"missingDependencies": [{"externalId": 5}]}]},
            "$.data.pendingResources[1].missingDependencies[0].externalId",
            "int '5'",
        ),
        ([], "$.data", "array"),
        (None, "$.data", "null"),
    ],
)
def test_wrong_documents_say_where_and_what(data, where, found):
    with serve(ok(data)) as server, pytest.raises(PayloadError) as caught:
        client(server.url, attempts=3).batch("b1")
    assert caught.value.where == where
    assert found in caught.value.found
    assert where in str(caught.value)
    assert not caught.value.retryable
    assert len(server.requests) == 1


def page(rows: list, *, more: bool = False, cursor: object = None, total: object = None) -> bytes:
    pagination = {"hasNextPage": more, "total": total, "cursor": cursor}
    return ok({"results": rows, "pagination": pagination})


def test_pages_are_fetched_only_when_their_rows_are_wanted():
    with serve(page([BATCH], more=True, cursor="c2"), page([BATCH], total=2)) as server:
        listing = client(server.url).batches()
        assert len(server.requests) == 0
        next(listing)
        assert len(server.requests) == 1
        assert len(list(listing)) == 1
        assert server.paths()[1] == "/api/batches?limit=100&cursor=c2"
    assert (listing.received, listing.total, listing.shortfall, listing.complete) == (2, 2, 0, True)


def test_a_listing_that_falls_short_of_its_total_says_so(caplog):
    with serve(page([BATCH], total=5)) as server, caplog.at_level(logging.WARNING):
        listing = client(server.url).batches()
        assert len(list(listing)) == 1
    assert listing.shortfall == 4
    assert "received 1 rows of 5 announced" in caplog.text


def test_a_repeated_cursor_ends_the_listing_with_an_error():
    with serve(page([BATCH], more=True, cursor="same")) as server:
        with pytest.raises(PagingError, match="the same cursor again"):
            list(client(server.url).batches())
    assert len(server.requests) == 2


@pytest.mark.parametrize("cursor", [None, ""])
def test_more_pages_without_a_cursor_is_an_error(cursor):
    with serve(page([BATCH], more=True, cursor=cursor)) as server, pytest.raises(PagingError):
        list(client(server.url).batches())


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"pagination": {"hasNextPage": False}}, "$.data.results"),
        ({"results": []}, "$.data.pagination"),
        ({"results": {}, "pagination": {"hasNextPage": False}}, "$.data.results"),
        ({"results": [], "pagination": {"hasNextPage": 1}}, "$.data.pagination.hasNextPage"),
        ({"results": [], "pagination": {"total": 3}}, "$.data.pagination.hasNextPage"),
    ],
)
def test_a_page_of_the_wrong_shape_says_where(data, where):
    with serve(ok(data)) as server, pytest.raises(PayloadError) as caught:
        list(client(server.url).batches())
    assert caught.value.where == where


def test_a_listing_continues_after_an_unreadable_row():
    with serve(page([BATCH, {"batchId": "b2", "status": 1}, BATCH])) as server:
        listing = client(server.url).batches()
        next(listing)
        with pytest.raises(PayloadError) as caught:
            next(listing)
        assert (caught.value.where, caught.value.batch_id) == ("$.data.results[1].status", "b2")
        assert next(listing).batch_id == "b1"


@pytest.mark.parametrize("batch_id", ["a/b", "a?x=1#y", "100%", "ä ö", "a%2Fb", "..%2f..", "a\nb"])
def test_batch_ids_cannot_leave_their_path_segment(batch_id):
    from urllib.parse import unquote

    with serve(ok(BATCH)) as server:
        client(server.url).batch(batch_id)
    path = server.paths()[0].removesuffix("?includePendingDetails=true")
    assert path.startswith("/api/batches/")
    segment = path.removeprefix("/api/batches/")
    assert not set("/?#") & set(segment)
    assert unquote(segment) == batch_id


@pytest.mark.parametrize("batch_id", ["", ".", ".."])
def test_batch_ids_that_are_not_a_segment_are_refused(batch_id):
    with pytest.raises(ValueError, match="batch_id"):
        client("http://127.0.0.1:9").batch(batch_id)


def test_the_token_is_sent_even_if_netrc_has_an_entry_for_the_host(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session = __import__("requests").Session()  # unlike our own on loopback, this one reads netrc
    with serve(ok(BATCH)) as server:
        client(server.url, session=session).batch("b1")
    assert server.header("Authorization") == f"Bearer {TOKEN}"
    assert server.header("reach-tenant-id") == "t1"


def echo_everywhere(status: int) -> bytes:
    body = {"success": False, "message": f"bad token {TOKEN}", "data": {"batchId": TOKEN}}
    return answer(status, body)


@pytest.mark.parametrize(
    "reply",
    [
        echo_everywhere(401),
        echo_everywhere(503),
        echo_everywhere(200),
        answer(body=f"<html>{TOKEN}".encode()),
        ok({"batchId": "b1", "status": "success", "createdAt": TOKEN}),
        ok({"batchId": "b1", "status": 5, TOKEN: TOKEN}),
        b"",
        b"Bearer header.payload.signature-that-must-not-leak\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + TOKEN.encode() + b"\r\nabc",
        b"HTTP/1.1 200 X\r\nsignature-that-must-not-leak\r\nContent-Length: 0\r\n\r\n",
        answer(401, ESCAPED.join([b'{"message": "', b'"}'])),
        answer(body=b'{"success": true, "data": {"batchId": "b1", "status": %s}}' % ESCAPED),
    ],
)
def test_the_token_is_never_shown_even_if_the_server_echoes_it(reply, caplog):
    secret = "signature-that-must-not-leak"
    with serve(reply) as server, caplog.at_level(logging.DEBUG):
        own = client(server.url, attempts=2)
        with pytest.raises(reach.ReachError) as caught:
            own.batch("b1")
    shown = "".join(traceback.format_exception(caught.value))
    error: BaseException | None = caught.value
    while error is not None:
        shown += repr(error) + repr(vars(error))
        assert not getattr(error, "request", None)
        error = error.__cause__ or error.__context__
    shown += repr(own) + caplog.text
    assert secret not in shown
    assert secret.encode() not in pickle.dumps(caught.value)


def test_an_echoed_token_does_not_get_into_a_document():
    with serve(ok({**BATCH, "schemaName": f"x {TOKEN}"})) as server:
        assert client(server.url).batch("b1").schema_name == "x ***"


@pytest.mark.parametrize("spelling", [r"abc\/def+ghi", r"abc/def\u002bghi", r"\u0061bc/def+ghi"])
def test_escaped_spellings_of_the_token_are_found_too(spelling):
    body = b'{"success": true, "data": {"batchId": "b1", "status": "%s"}}' % spelling.encode()
    with serve(answer(body=body)) as server:
        own = reach.Client(token="abc/def+ghi", tenant_id="t", base_url=server.url)
        assert own.batch("b1").status == "***"


def test_cookies_of_one_tenant_are_not_sent_with_another_s_requests():
    cookie = {"Set-Cookie": "sid=1; Path=/"}
    body = {"success": True, "data": BATCH}
    with serve(answer(200, body, cookie)) as server:
        own = client(server.url)
        own.batch("b1")
        own.for_tenant("t2").batch("b1")
    assert server.header("Cookie") is None


@pytest.mark.parametrize("limits", [{"timeout": (None, 1)}, {"deadline_s": 0}, {"threads": 0}])
def test_a_client_without_limits_is_refused(limits):
    with pytest.raises(ValueError, match="must be"):
        client("http://127.0.0.1:9", **limits)


def test_errors_survive_pickling_with_their_attributes():
    error = ApiError("no", status=503, retryable=True, retry_after=2.0)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.status, copy.retryable, copy.retry_after) == ("no", 503, True, 2.0)
