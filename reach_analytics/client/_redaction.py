"""Keeping the token out of what a server answers, and of what libraries log."""

from __future__ import annotations

import html
import logging
import re
from functools import lru_cache
from urllib.parse import quote

import requests


def redact(body: bytes, response: requests.Response) -> bytes:
    """The body without the request's token, should the server echo it in any encoding."""
    token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
    for secret in (token, token.rpartition(".")[2]):
        if len(secret) < 8:
            continue
        for encoded in {secret, html.escape(secret), quote(secret, safe="")}:
            body = body.replace(encoded.encode(), b"***")
        if b"\\" in body:
            body = _escaped(secret).sub(b"***", body)
    return body


@lru_cache(maxsize=8)
def _escaped(secret: str) -> re.Pattern[bytes]:
    """A pattern for the secret in JSON, any of its characters escaped."""
    return re.compile(
        b"".join(
            b"(?:\\\\?" + re.escape(c.encode()) + b"|\\\\u00(?i:%02x))" % ord(c) for c in secret
        )
    )


class _NoRawHeaders(logging.Filter):
    """Keeps headers that cannot be parsed, in which a server may echo the token, out of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "Failed to parse headers" not in str(record.msg)


for _name in ("urllib3.connection", "urllib3.connectionpool"):  # depends on the version
    logging.getLogger(_name).addFilter(_NoRawHeaders())
