"""HTTP as the API does it: its envelope, its errors, and reading requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._world.schema import is_deep
from reach_analytics.sandbox.assumptions import MAX_DEPTH

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A request's body; an unknown name is refused."""


class Envelope(Response):
    """``success``, ``message`` and ``data`` as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


def ok(data: Any, message: str = "OK", *, status: int = 200) -> Response:
    return Envelope({"success": True, "message": message, "data": data}, status)


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Envelope({"success": False, "message": message, "data": None}, status, headers)


async def on_refusal(_: Request, error: Exception) -> Response:
    """The answer to an HTTPException."""
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail, dict(error.headers or {}))


async def on_hang_up(_: Request, error: Exception) -> Response:
    """For a client that disconnected before its body had arrived: nobody reads this."""
    return refusal(400, "the body is incomplete")


async def on_error(_: Request, error: Exception) -> Response:
    """The answer to a bug in the sandbox; the server's log has the traceback."""
    return refusal(500, f"a bug in the sandbox: {type(error).__name__}")


def route(path: str, **endpoints: Endpoint) -> Route:
    """A route with an endpoint for each method, so that 405 names them all."""

    async def dispatch(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request)

    return Route(path, dispatch, methods=list(endpoints))


async def read_body(
    request: Request,
    type: type[T],
    *,
    whole_floats: bool = False,
    limit: int = assumptions.MAX_BODY_BYTES,
) -> T:
    """The request's JSON body; 400, 413 or 415 if it is not of this type.

    With ``whole_floats``, 2.0 counts as an integer, as in JSON Schema.
    """
    demand_json(request)
    body = await read_bytes(request, limit)
    try:
        content = msgspec.json.decode(body)
        if is_deep(content):
            raise RecursionError
        return msgspec.convert(_whole_floats(content) if whole_floats else content, type)
    except RecursionError:
        raise HTTPException(400, f"the body is nested more than {MAX_DEPTH} deep") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"the body is not valid: {error}") from None


def demand_json(request: Request) -> None:
    """Refuse a body that is not declared as JSON with 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(415, f"the body must be application/json, found {kind or 'no type'!r}")


def _whole_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole_floats(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def read_bytes(request: Request, limit: int) -> bytearray:
    """The request's body; 413 if it is larger than the limit, unread if its header says so."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    # One growing buffer: freeing it returns all memory to the system, unlike a thousand small ones.
    body = bytearray()
    async for part in request.stream():
        if len(body) + len(part) > limit:
            raise _too_large(limit)
        body += part
    return body


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limit} bytes")


def flag(request: Request, name: str) -> bool:
    """A query parameter that is true or false; false if it is absent."""
    return choice(request, name, ("false", "true")) == "true"


def choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """A query parameter with a few choices; the first if it is absent."""
    text = request.query_params.get(name, choices[0])
    if text not in choices:
        raise HTTPException(400, f"{name} must be {' or '.join(choices)}")
    return text


def whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A query parameter that is a whole number in a range."""
    text = request.query_params.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not low <= number <= high:
        raise HTTPException(400, f"{name} must be a whole number from {low} to {high}")
    return number
