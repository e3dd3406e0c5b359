"""Errors of requests and urllib3 as errors of this package."""

from __future__ import annotations

import requests
import urllib3

from reach_analytics.errors import ConfigError, ReachError, TransportError


def failure_of(error: Exception, path: str) -> ReachError:
    """The error for what requests, or urllib3 while reading the body, raised."""
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return ConfigError(f"the base URL cannot be used: {type(error).__name__}")
    if isinstance(error, requests.RequestException):
        retryable = not isinstance(error, requests.exceptions.SSLError)
        words = _in_words(error)
    else:
        retryable, words = True, _in_words_raw(error)
    return TransportError(
        f"GET {path}: {words} ({type(error).__name__})", path=path, retryable=retryable
    )


def _in_words(error: requests.RequestException) -> str:
    kinds = requests.exceptions
    if isinstance(error, kinds.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, kinds.Timeout):
        return "no answer within the time limit"
    if isinstance(error, kinds.SSLError):
        return "the server's certificate was not accepted"
    if isinstance(error, kinds.ProxyError):
        return "the proxy could not be reached"
    return "the connection failed"


def _in_words_raw(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "the answer stopped arriving within the time limit"
    if isinstance(error, urllib3.exceptions.DecodeError):
        return "the answer could not be decompressed"
    return "the connection broke while the answer was arriving"
