"""Every odd scalar in every field of a batch document, as hand-made bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
LATER = START + timedelta(minutes=30)

DEEP = b"[" * 2000 + b"]" * 2000

SCALARS: dict[str, dict[str, bytes]] = {
    "nothing": {
        "null": b"null",
        "empty": b'""',
        "list": b"[]",
        "object": b"{}",
        "true": b"true",
        "list of null": b"[null]",
    },
    "numbers": {
        "0": b"0",
        "-1": b"-1",
        "1.5": b"1.5",
        "-0.0": b"-0.0",
        "1e308": b"1e308",
        "-1e308": b"-1e308",
        "1e999": b"1e999",
        "10**12": b"1000000000000",
        "2**53": b"9007199254740992",
        "10**18": b"1000000000000000000",
        "2**63-1": b"9223372036854775807",
        "-2**63": b"-9223372036854775808",
        "2**64": b"18446744073709551616",
        "5000 digits": b"9" * 5000,
        "NaN": b"NaN",
        "Infinity": b"Infinity",
        "-Infinity": b"-Infinity",
    },
    "texts": {
        "x": b'"x"',
        "markup": b'"<script>alert(1)</script>"',
        "surrogate": b'"cut \\ud83d"',
        "two surrogates": b'"\\udc00\\ud800"',
        "no UTF-8": b'"\xff\xfe"',
        "raw controls": b'"a\x01\x1b[2J\nb"',
        "escaped controls": b'"a\\u0000\\u001b\\r\\nb\\u2028\\u202e"',
        "spaces": b'"   "',
        "long": b'"' + b"long " * 4000 + b'"',
        "number": b'"12"',
    },
    "times": {
        "zero": b'"0001-01-01T00:00:00Z"',
        "before zero": b'"0001-01-01T00:00:00+01:00"',
        "behind the end": b'"9999-12-31T23:59:59-14:00"',
        "end": b'"9999-12-31T23:59:59.9999999Z"',
        "epoch": b'"1970-01-01T00:00:00Z"',
        "1970": b'"1970-01-01T00:00:01Z"',
        "1969": b'"1969-12-31T23:59:59Z"',
        "2000": b'"2000-01-01"',
        "2100": b'"2100-01-01T00:00:00Z"',
        "2261": b'"2261-12-31T23:59:59Z"',
        "3000": b'"3000-01-01T00:00:00Z"',
        "year 10000": b'"+010000-01-01T00:00:00Z"',
        "zeros": b'"0000-00-00 00:00:00"',
    },
    "depths": {
        "60 deep": b"[" * 60 + b"]" * 60,
        "900 deep": b"[" * 900 + b"]" * 900,
        "2000 deep": DEEP,
        "2000 objects": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    },
}

FIELDS = [
    *("batchId", "status", "batchType", "schemaName", "schemaDefinitionId"),
    *("createdAt", "startedAt", "completedAt", "progress", "errors", "pendingResources", "novel"),
    *(
        f"progress.{name}"
        for name in (
            *("totalRecords", "processedRecords", "successfulRecords", "pendingRecords"),
            *("failedRecords", "successRate", "novel"),
        )
    ),
    *("errors.summary", "errors.details", "errors.message", "errors.novel"),
    "pendingResources.0",
    *(
        f"pendingResources.0.{name}"
        for name in (
            *("id", "resourceExternalId", "schemaDefinitionId", "schemaName", "createdAt"),
            *("expiresAt", "missingDependencies", "novel", "missingDependencies.0"),
        )
    ),
    *(
        f"pendingResources.0.missingDependencies.0.{name}"
        for name in ("schemaDefinitionId", "externalId", "schemaName", "novel")
    ),
]
_HERE = "\N{OBJECT REPLACEMENT CHARACTER}"


def document(batch_id: str, prefix: str, *, later: bool = False) -> dict:
    """A batch of schema ``prefix`` in the middle of its life; a wait has ended ``later``."""
    waits = [
        {
            "id": f"{batch_id}-p{number}",
            "resourceExternalId": f"{batch_id}-R{number}",
            "schemaDefinitionId": f"{prefix}-id",
            "schemaName": prefix,
            "createdAt": (START - timedelta(hours=1)).isoformat(),
            "expiresAt": (START + timedelta(hours=5 * number + 5)).isoformat(),
            "missingDependencies": [
                {
                    "schemaDefinitionId": f"{prefix}-id2",
                    "externalId": f"{prefix}-M{number}",
                    "schemaName": f"{prefix} parents",
                }
            ],
        }
        for number in range(1 if later else 2)
    ]
    counts = {
        "totalRecords": 10,
        "processedRecords": 10,
        "successfulRecords": 7 if later else 6,
        "pendingRecords": len(waits),
        "failedRecords": 2,
        "successRate": 70.0 if later else 60.0,
    }
    return {
        "batchId": batch_id,
        "status": "partial_success",
        "batchType": "PARTNER_RESOURCE_JSON_INGEST",
        "schemaName": prefix,
        "schemaDefinitionId": f"{prefix}-id",
        "createdAt": (START - timedelta(hours=2)).isoformat(),
        "startedAt": (START - timedelta(hours=1.9)).isoformat(),
        "completedAt": (START - timedelta(hours=1)).isoformat(),
        "progress": counts,
        "errors": {"summary": {"INVALID": 2}, "details": [{"record": 3}], "message": "two failed"},
        "pendingResources": waits,
    }


def odd(batch_id: str, field: str, scalar: bytes, *, later: bool = False) -> bytes:
    """A separate batch with this scalar in this field, as JSON."""
    whole = document(batch_id, "odd", later=later)
    place: dict | list = whole
    *path, last = field.split(".")
    for name in path:
        place = place[int(name) if isinstance(place, list) else name]
    place[int(last) if isinstance(place, list) else last] = _HERE
    return json.dumps(whole).encode().replace(json.dumps(_HERE).encode(), scalar)


def cells(kind: str | None = None) -> Iterator[tuple[str, str, bytes]]:
    """(field, name of the scalar, scalar) of all cells, or of those of one kind of scalars."""
    for own in SCALARS.values() if kind is None else [SCALARS[kind]]:
        for name, scalar in own.items():
            for field in FIELDS:
                yield field, name, scalar
