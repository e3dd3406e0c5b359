"""A hand-made HTTP server that answers exactly the bytes a test gives it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Hostile:
    """The requests to the server so far, and its address."""

    url: str
    requests: list[bytes] = field(default_factory=list)

    def paths(self) -> list[str]:
        return [head.split(b" ", 2)[1].decode() for head in self.requests]

    def header(self, name: str, index: int = -1) -> str | None:
        for line in self.requests[index].split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode().lower() == name.lower():
                return value.strip().decode()
        return None


def answer(status: int = 200, body: bytes | dict = b"", headers: dict[str, str] | None = None):
    """A well-formed HTTP answer."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    head = {"Content-Length": str(len(content)), "Connection": "close", **(headers or {})}
    lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in head.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def ok(data: object) -> bytes:
    return answer(body={"success": True, "message": "OK", "data": data})


@contextmanager
def serve(
    *answers: bytes | Callable[[socket.socket], None], greets: bool = True
) -> Iterator[Hostile]:
    """Give the n-th connection the n-th answer, and later ones the last.

    A callable gets the socket, after the request has been read; without ``greets``, before.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hostile = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(
            target=_run, args=(listener, hostile, answers, greets), daemon=True
        )
        thread.start()
        yield hostile
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _run(listener: socket.socket, hostile: Hostile, answers, greets: bool) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            request = b""
            while greets and b"\r\n\r\n" not in request:
                piece = connection.recv(65536)
                if not piece:
                    break
                request += piece
            hostile.requests.append(request)
            reply = answers[min(len(hostile.requests), len(answers)) - 1]
            try:
                if callable(reply):
                    reply(connection)
                else:
                    connection.sendall(reply)
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client hung up first, which some tests are about


def drip(
    before: bytes = b"", each: bytes = b"x", *, every_s: float = 0.05, lasts_s: float = 4.0
) -> Callable[[socket.socket], None]:
    """An answer that begins with ``before`` and then drips ``each`` until the client hangs up, or
    for a limited time, so that a failing test ends."""

    def send(connection: socket.socket) -> None:
        ends_at = time.monotonic() + lasts_s
        connection.sendall(before)
        connection.settimeout(every_s)
        while time.monotonic() < ends_at:
            connection.sendall(each)
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return send


_OK = b"HTTP/1.1 200 X\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_GZIP = _OK + b"Content-Length: 99999\r\nContent-Encoding: gzip\r\n\r\n"

DRIPS: dict[str, Callable[[socket.socket], None]] = {
    "the status line": drip(b"HTTP/1.1 200 "),
    "a header": drip(_OK + b"X-Long: "),
    "headers": drip(_OK, b"X: y\r\n"),
    "100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": drip(_OK + b"Content-Length: 99999\r\n\r\n", b" "),
    "a body without a length": drip(_OK + b"\r\n", b" "),
    "the size of a chunk": drip(_CHUNKED, b"0"),
    "a chunk's extension": drip(_CHUNKED + b"5;"),
    "chunks": drip(_CHUNKED, b"1\r\n \r\n"),
    "trailers": drip(_CHUNKED + b"0\r\n", b"X: y\r\n"),
    "the header of gzip": drip(_GZIP + b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"),  # the name in it
    "the body in gzip": drip(_GZIP + b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\xff\xff\0\0", b" "),
    "the body of a redirect": drip(
        b"HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 9999\r\n\r\n"
    ),
    "the body of a refusal": drip(b"HTTP/1.1 404 X\r\nContent-Length: 9999\r\n\r\n"),
}
