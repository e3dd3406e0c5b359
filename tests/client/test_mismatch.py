"""The first value that does not fit a type: the one that msgspec would reject."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach_analytics._plausible import MOST
from reach_analytics.client._mismatch import Mismatch, first_mismatch
from reach_analytics.client.documents import Count, Identifier, Time


class Inner(msgspec.Struct, rename="camel"):
    some_count: Count | None = None
    at: Time | None = None


class Outer(msgspec.Struct, rename="camel"):
    outer_id: Identifier
    is_open: bool
    rate: float = 0.0
    inner: Inner | None = None
    many: list[Inner] | None = None
    free: dict[str, object] | None = None
    rest: msgspec.Raw = msgspec.Raw(b"null")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**60, -(2**70), 1.0, 1.5, -2.0, 1e300, "", "x", "2026-03-02T10:00:00Z"]),
)
INNER = st.fixed_dictionaries({}, optional={"someCount": SCALARS, "at": SCALARS})
OUTER = st.fixed_dictionaries(
    {},
    optional={
        "outerId": st.just("o") | SCALARS,
        "isOpen": st.booleans() | SCALARS,
        "rate": SCALARS,
        "inner": INNER | SCALARS,
        "many": st.lists(INNER | SCALARS, max_size=3) | SCALARS,
        "free": st.just({}) | SCALARS,
    },
)


def place_rejected(value) -> str | None:
    """Where msgspec finds a value wrong, without the indices of lists; None if it does not."""
    try:
        msgspec.convert(value, Outer)
    except msgspec.ValidationError as error:
        _, _, place = str(error).partition(" - at `")
        return re.sub(r"\[(\.\.\.|\d+)\]", "[]", place.removesuffix("`")) or "$"
    return None


@given(OUTER | SCALARS | st.lists(SCALARS, max_size=2))
def test_there_is_a_mismatch_exactly_where_msgspec_rejects_a_value(value):
    place, found = place_rejected(value), first_mismatch(value, Outer)
    assert (place is None) == (found is None)
    if found is not None:
        where = re.sub(r"\[\d+\]", "[]", found.where)
        # Of a field that is absent, msgspec names the object.
        assert (where.rpartition(".")[0] if found.found == "nothing" else where) == place


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], Mismatch("$", "array", "object")),
        ({"isOpen": True}, Mismatch("$.outerId", "nothing", "a value")),
        ({"outerId": "", "isOpen": 1}, Mismatch("$.outerId", "str ''", "a text that is not empty")),
        ({"outerId": "o", "isOpen": 1}, Mismatch("$.isOpen", "int '1'", "bool")),
        (
            {"outerId": "o", "isOpen": True, "inner": {"someCount": -1}},
            Mismatch("$.inner.someCount", "int '-1'", f"int from 0 to {MOST} or null"),
        ),
        (
            {"outerId": "o", "isOpen": True, "many": [{}, {"at": "soon"}]},
            Mismatch("$.many[1].at", "str 'soon'", "an ISO 8601 timestamp or null"),
        ),
        (
            {"outerId": "o", "isOpen": True, "rate": "high" * 100},
            Mismatch("$.rate", f"str '{'high' * 15}'…", "number"),
        ),
    ],
)
def test_it_says_where_and_what_in_words(value, expected):
    assert first_mismatch(json.loads(json.dumps(value)), Outer) == expected
