"""A hand-made HTTP server that answers just what a test tells it to, byte for byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Hostile:
    """What was asked of the server so far, and where it is."""

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
def serve(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[Hostile]:
    """Give the n-th connection the n-th answer, and later ones the last.

    A callable gets the socket, after the request has been read.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hostile = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_run, args=(listener, hostile, answers), daemon=True)
        thread.start()
        yield hostile
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _run(listener: socket.socket, hostile: Hostile, answers) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
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
