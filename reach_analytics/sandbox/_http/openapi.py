"""The contract of the routes as an OpenAPI 3.1 document, ``openapi.json`` beside this file.

It states what the API's reference documents, and what the sandbox adds where nothing is (see
`assumptions`). Other servers and clients can be checked against it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import msgspec


@cache
def as_json() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The document."""
    text = resources.files(__package__).joinpath("openapi.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(text)
    return found
