"""Everything this package raises, apart from ``ValueError`` and ``TypeError`` for wrong arguments.

Each error carries what a caller needs to decide as attributes, above all ``retryable``: whether
repeating the same request may help. The message is for people: what was found, what was expected,
what to do. No message contains a token.
"""

from __future__ import annotations

__all__ = [
    "ApiError",
    "AuthError",
    "ConfigError",
    "DamagedStoreError",
    "ForeignStoreError",
    "FrameError",
    "MissingExtraError",
    "NotFoundError",
    "PagingError",
    "PayloadError",
    "QueryError",
    "ReachError",
    "StoreError",
    "StoreNotFoundError",
    "StoreVersionError",
    "TransportError",
    "UnknownNameError",
]


class ReachError(Exception):
    """Base of every error of this package.

    Attributes
    ----------
    retryable : bool
        Whether the same call may succeed later without any change.
    """

    retryable: bool = False


class ConfigError(ReachError):
    """The client cannot be built as asked: no token, an unsafe URL, no tenant."""


class TransportError(ReachError):
    """No complete answer arrived: refused connection, timeout, connection dropped half-way.

    Attributes
    ----------
    path : str
        The requested path, without host and query.
    """

    def __init__(self, message: str, *, path: str = "", retryable: bool = True) -> None:
        super().__init__(message)
        self.path = path
        self.retryable = retryable


class ApiError(ReachError):
    """The API answered with an error.

    Attributes
    ----------
    status : int
        HTTP status; 200 when the envelope said ``success: false``.
    path : str
        The requested path, without host and query.
    retry_after : float or None
        Seconds the server asked to wait, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        path: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.path = path
        self.retryable = retryable
        self.retry_after = retry_after


class AuthError(ApiError):
    """401 or 403: the token is wrong, has expired, or may not access this tenant."""


class NotFoundError(ApiError):
    """404: no such batch, or it belongs to another tenant."""


class PayloadError(ReachError):
    """An answer arrived in full but is not what the API's reference describes.

    Attributes
    ----------
    where : str
        Location in the answer, as ``$.data.progress.totalRecords``; ``$`` is the whole body.
    found, expected : str
        What was there, shortened, and what should have been.
    path : str
        The requested path, without host and query.
    status : int or None
        HTTP status of the answer.
    batch_id : str or None
        The batch that the invalid part belongs to, if that could be read.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "$",
        found: str = "",
        expected: str = "",
        path: str = "",
        status: int | None = None,
        batch_id: str | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.where = where
        self.found = found
        self.expected = expected
        self.path = path
        self.status = status
        self.batch_id = batch_id
        self.retryable = retryable


class PagingError(PayloadError):
    """A listing cannot be followed to its end: a cursor is repeated or missing."""


class StoreError(ReachError):
    """The store cannot be read or written as asked."""


class StoreNotFoundError(StoreError):
    """There is no store at this location."""


class ForeignStoreError(StoreError):
    """Something other than a store of this package is at this location."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of this package."""


class DamagedStoreError(StoreError):
    """Part of the store is lost or cannot be read; `Store.repair` says what can be done.

    Attributes
    ----------
    damages : tuple of str
        What is wrong, one entry per damage.
    """

    def __init__(self, message: str, *, damages: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.damages = damages


class FrameError(ReachError, ValueError):
    """A DataFrame handed to a measure or a plot lacks the columns it documents."""


class QueryError(ReachError, ValueError):
    """An SQL query is not one, names what there is not, or would do more than read."""


class UnknownNameError(ReachError, ValueError):
    """Nothing has the name or id that was asked for; the message tells the nearest ones."""


class MissingExtraError(ReachError, ImportError):
    """Something needs a package that a plain installation does not bring."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed: "
            f"pip install 'reach-analytics[{extra}]'"
        )
