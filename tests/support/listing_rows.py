"""Rows and pages of listings, as bytes."""

from __future__ import annotations

from tests.support.hostile import answer


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
