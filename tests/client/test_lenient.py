"""Invalid JSON: what can still be read, and what is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach_analytics._plausible import MENDED
from reach_analytics.client import _lenient
from reach_analytics.client._lenient import UnreadableError
from reach_analytics.client.documents import batch_from_json
from reach_analytics.collector._observe.fingerprint import state_hash
from reach_analytics.errors import PayloadError
from tests.support.clients import client
from tests.support.hostile import answer, serve
from tests.support.listing_rows import page, row
from tests.support.strategies import free

ODD = {
    "surrogate": b'"cut \\ud83d"',
    "NaN": b"NaN",
    "control": b'"a\x01b"',
    "no UTF-8": b'"\xff"',
    "deep": b"[" * 2000 + b"]" * 2000,
    "endless": b"1e999",
    "many digits": b"9" * 5000,
}


@pytest.mark.parametrize("field", ["novel", "errors"])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_row_hides_neither_its_page_nor_later_ones(odd, field):
    value = b'{"details":%s}' % ODD[odd] if field == "errors" else ODD[odd]
    first = page(row("a"), row("odd", value, field), row("c"), cursor=b'"2"')
    with serve(first, page(row("d"), row("e"))) as server:
        found = [document.batch_id for document in client(server.url).batches()]
    assert found == ["a", "odd", "c", "d", "e"]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_about_one_batch_is_read(odd):
    body = b'{"success":true,"data":%s}' % row("b1", ODD[odd])
    with serve(answer(body=body)) as server:
        document = client(server.url).batch("b1")
    assert document.extra["novel"] not in (None, "")
    assert len(state_hash(document, has_pending_details=False)) == 32


@pytest.mark.parametrize(
    ("field", "value", "kept", "mended"),
    [
        ("schemaName", b'"cut \\ud83d"', "cut \\ud83d", {_lenient.NOT_UNICODE: 1}),
        ("schemaName", b'"\xff\xc3\xa9"', "\\udcff\u00e9", {_lenient.NOT_UNICODE: 1}),
        ("schemaName", b'"a\x01\tb"', "a\x01\tb", None),
        ("schemaName", b'"\\ud83d\\ude00"', "\N{GRINNING FACE}", None),
        ("schemaName", b"NaN", None, {_lenient.NO_NUMBER: 1}),
    ],
)
def test_text_is_kept_as_far_as_it_can_be_stored(field, value, kept, mended):
    document = batch_from_json(row("b", value, field))
    assert document.schema_name == kept
    assert document.extra.get(MENDED) == mended
    assert json.dumps(document.extra).encode("utf-8")


def test_different_surrogate_halves_stay_different():
    """As a question mark or replacement character, two batches or keys would be one."""
    ids = {batch_from_json(row("b\\ud83d" + half)).batch_id for half in ("", "\\ud83e", "\\udfff")}
    ids.add(batch_from_json(row("b\\ud83e")).batch_id)
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"NaN", "NaN"), (b"-Infinity", "-Infinity"), (b"1e999", "1e999"), (b"9" * 5000, "9" * 5000)],
)
def test_an_invalid_number_is_absent_and_kept_as_text(value, found):
    progress = b'{"successRate":%s,"totalRecords":%s,"failedRecords":2}' % (value, value)
    document = batch_from_json(row("b", progress, "progress"))
    assert (document.success_rate, document.total_records) == (None, None)
    assert document.failed_records == 2
    assert document.extra["progress"] == {"successRate": found, "totalRecords": found}
    assert document.extra[MENDED] == {_lenient.NO_NUMBER: 2}


def test_repairs_do_not_depend_on_the_order_of_a_list():
    one, two = b'{"id":"1","schemaName":"\\ud800"}', b'{"id":"2","createdAt":"0001-01-01"}'
    marks = {
        state_hash(
            batch_from_json(row("b", b"[%s]" % b",".join(order), "pendingResources")),
            has_pending_details=True,
        )
        for order in ((one, two), (two, one))
    }
    assert len(marks) == 1


@pytest.mark.parametrize(
    "broken", [b'{"batchId":"lost","x":}', b'{"x":tru,"batchId":"lost"}', b'{"batchId":"lost" "x"}']
)
def test_only_the_unreadable_row_is_lost_and_it_is_named(broken):
    with serve(page(row("a"), broken, row("c"))) as server:
        listing = client(server.url).batches()
        assert next(listing).batch_id == "a"
        with pytest.raises(PayloadError, match=r"at \$\.data\.results\[1\]") as caught:
            next(listing)
        assert next(listing).batch_id == "c"
    assert caught.value.batch_id == ("lost" if b'" "' not in broken else None)


@pytest.mark.parametrize(
    ("total", "told"),
    [(b"2", 2), (b"2.0", 2), *((odd, None) for odd in (b"-1", b'"2"', b"NaN", b"1e308", b"1.5"))],
)
def test_an_odd_total_costs_no_rows(total, told):
    with serve(page(row("a"), row("b"), total=total)) as server:
        listing = client(server.url).batches()
        assert len(list(listing)) == 2
    assert listing.total == told


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[1", b'{"a"', b'{"a":1', b"{]", b'{"a:1}', b"[1,]", b"{,}", b"[1] 2"]
)
def test_unbalanced_brackets_are_not_split(raw):
    for take in (_lenient.members, _lenient.elements):
        with pytest.raises(UnreadableError):
            take(raw)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), free))
def test_a_valid_object_is_split_into_its_members(plain):
    for text in (json.dumps(plain), json.dumps(plain, ensure_ascii=False, indent=1)):
        parts = _lenient.members(text.encode())
        assert {name: json.loads(part) for name, part in parts.items()} == plain
        whole = json.dumps(list(plain.values())).encode()
        assert [json.loads(part) for part in _lenient.elements(whole)] == list(plain.values())


@given(free)
def test_a_valid_value_is_read_unchanged(plain):
    assert _lenient.value(json.dumps(plain).encode()) == (plain, {})


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw):
    for read in (_lenient.value, _lenient.members, _lenient.elements):
        try:
            read(raw)
        except UnreadableError:
            continue


def test_a_long_unterminated_text_takes_linear_time():
    """Two million quotes or escapes: a search restarting at each would never end."""
    for raw in (
        b'{"a":"' + b"\\" * 2_000_001,
        b"[" + b'"' * 2_000_001,
        b'"' + b"\\u0041" * 300_000,
    ):
        with pytest.raises(UnreadableError):
            _lenient.value(raw)
