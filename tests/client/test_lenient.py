"""JSON that is none by the letter: what can be read of it, and what is lost with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach_analytics._meant import MENDED
from reach_analytics.client import lenient
from reach_analytics.client.documents import batch_from_json
from reach_analytics.client.lenient import UnreadableError
from reach_analytics.collector.fingerprint import state_hash
from reach_analytics.errors import PayloadError
from tests.client.hostile import answer, serve
from tests.client.test_hostile import client
from tests.strategies import free

ODD = {
    "surrogate": b'"cut \\ud83d"',
    "NaN": b"NaN",
    "control": b'"a\x01b"',
    "no UTF-8": b'"\xff"',
    "deep": b"[" * 2000 + b"]" * 2000,
    "endless": b"1e999",
    "many digits": b"9" * 5000,
}


def row(batch_id: str, more: bytes = b"null", field: str = "novel") -> bytes:
    return b'{"batchId":"%s","status":"success","%s":%s}' % (
        batch_id.encode(),
        field.encode(),
        more,
    )


def page(*rows: bytes, total: bytes = b"5", cursor: bytes = b"null") -> bytes:
    end = b'{"hasNextPage":%s,"total":%s,"cursor":%s}'
    more = b"false" if cursor == b"null" else b"true"
    data = b'{"results":[%s],"pagination":%s}' % (b" , ".join(rows), end % (more, total, cursor))
    return answer(body=b'{"success":true,"message":"","data":%s}' % data)


@pytest.mark.parametrize("field", ["novel", "errors"])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_row_hides_neither_its_page_nor_those_behind_it(odd, field):
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
        ("schemaName", b'"cut \\ud83d"', "cut \\ud83d", {lenient.NOT_UNICODE: 1}),
        ("schemaName", b'"\xff\xc3\xa9"', "\\udcff\u00e9", {lenient.NOT_UNICODE: 1}),
        ("schemaName", b'"a\x01\tb"', "a\x01\tb", None),
        ("schemaName", b'"\\ud83d\\ude00"', "\N{GRINNING FACE}", None),
        ("schemaName", b"NaN", None, {lenient.NO_NUMBER: 1}),
    ],
)
def test_a_text_is_kept_as_what_can_be_stored_of_it(field, value, kept, mended):
    document = batch_from_json(row("b", value, field))
    assert document.schema_name == kept
    assert document.extra.get(MENDED) == mended
    assert json.dumps(document.extra).encode("utf-8")


def test_different_halves_of_pairs_stay_different():
    """As a question mark or replacement character, two batches or keys would be one."""
    ids = {batch_from_json(row("b\\ud83d" + half)).batch_id for half in ("", "\\ud83e", "\\udfff")}
    ids.add(batch_from_json(row("b\\ud83e")).batch_id)
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"NaN", "NaN"), (b"-Infinity", "-Infinity"), (b"1e999", "1e999"), (b"9" * 5000, "9" * 5000)],
)
def test_a_number_that_is_none_is_absent_and_kept_as_text(value, found):
    progress = b'{"successRate":%s,"totalRecords":%s,"failedRecords":2}' % (value, value)
    document = batch_from_json(row("b", progress, "progress"))
    assert (document.success_rate, document.total_records) == (None, None)
    assert document.failed_records == 2
    assert document.extra["progress"] == {"successRate": found, "totalRecords": found}
    assert document.extra[MENDED] == {lenient.NO_NUMBER: 2}


def test_what_was_mended_does_not_hang_on_the_order_of_a_list():
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
def test_what_cannot_be_read_at_all_is_lost_alone_and_named(broken):
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
def test_what_no_brackets_hold_together_is_not_taken_apart(raw):
    for take in (lenient.members, lenient.elements):
        with pytest.raises(UnreadableError):
            take(raw)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), free))
def test_a_sound_object_is_taken_apart_into_what_it_holds(plain):
    for text in (json.dumps(plain), json.dumps(plain, ensure_ascii=False, indent=1)):
        parts = lenient.members(text.encode())
        assert {name: json.loads(part) for name, part in parts.items()} == plain
        whole = json.dumps(list(plain.values())).encode()
        assert [json.loads(part) for part in lenient.elements(whole)] == list(plain.values())


@given(free)
def test_a_sound_value_is_read_as_it_is(plain):
    assert lenient.value(json.dumps(plain).encode()) == (plain, {})


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw):
    for read in (lenient.value, lenient.members, lenient.elements):
        try:
            read(raw)
        except UnreadableError:
            continue


def test_a_long_text_without_an_end_costs_no_more_than_its_length():
    """Two million quotes or escapes: with a search that begins anew at each, this never ends."""
    for raw in (
        b'{"a":"' + b"\\" * 2_000_001,
        b"[" + b'"' * 2_000_001,
        b'"' + b"\\u0041" * 300_000,
    ):
        with pytest.raises(UnreadableError):
            lenient.value(raw)
