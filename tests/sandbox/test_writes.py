"""Batches, tenants and schema definitions written over HTTP, as the API documents them."""

from __future__ import annotations

import json
import socket
import time
from datetime import timedelta

import msgspec
import pytest
import requests

from reach_analytics import sandbox as sandboxes
from reach_analytics.sandbox import scenario

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def running():
    quiet = msgspec.structs.replace(scenario.find("healthy"), streams=[])
    with sandboxes.serve(quiet) as sandbox:
        yield sandbox


@pytest.fixture
def own(running):
    running.reset()
    return running


@pytest.fixture
def call(own):
    tenant = next(iter(own.world.tenants))

    def call(method: str, path: str, body=None, *, token=None, tenant=tenant, data=None, **query):
        headers = {"Authorization": f"Bearer {token or own.token()}"}
        if tenant:
            headers["reach-tenant-id"] = tenant
        return requests.request(
            method, own.url + path, json=body, data=data, params=query, headers=headers, timeout=5
        )

    return call


@pytest.fixture
def process(own, call):
    """Write a batch, let an hour go by, and tell its status, counts and error codes."""

    def process(method: str, schema: str, body: dict, **query):
        answer = call(method, f"/api/resources/{schema}/batch", body, **query)
        assert answer.status_code == 202, answer.text
        data = answer.json()["data"]
        own.advance(own.world.time + HOUR)
        shown = call("GET", f"/api/batches/{data['batchId']}").json()["data"]
        progress = shown["progress"]
        assert progress["totalRecords"] == data["recordCount"]
        counts = [progress[f"{k}Records"] for k in ("successful", "pending", "failed")]
        return shown["status"], counts, shown.get("errors", {}).get("summary", {})

    return process


def contact(external_id: str, **fields) -> dict:
    return {"externalId": external_id, **fields}


def upload(*records: dict) -> dict:
    return {"resources": list(records)}


def stored(sandbox) -> dict[str, dict]:
    resources = sandbox.world.libraries[next(iter(sandbox.world.tenants))]
    return {key.external_id: record for key, record in resources.resources.items()}


def test_a_batch_is_accepted_with_its_id_and_processed_record_by_record(own, call):
    answer = call("POST", "/api/resources/CONTACTS/batch", upload(contact("x"), contact("y")))
    assert answer.status_code == 202
    data = answer.json()["data"]
    schema = own.world.find_schema("contacts")
    assert (data["recordCount"], data["schemaDefinitionId"]) == (2, schema.id)
    seen = []
    for _ in range(3):
        shown = call("GET", f"/api/batches/{data['batchId']}").json()["data"]
        seen.append((shown["status"], shown["progress"]["processedRecords"]))
        own.advance(own.world.time + timedelta(seconds=4.2))
    assert seen == [("processing", 0), ("processing", 1), ("success", 2)]
    assert {"x", "y"} <= stored(own).keys()


def test_an_upsert_merges_and_null_removes_a_field(own, process):
    process("POST", "contacts", upload(contact("x", email="x@example.com")))
    process("POST", "contacts", upload(contact("x")))
    assert stored(own)["x"] == {"externalId": "x", "email": "x@example.com"}
    process("POST", "contacts", upload(contact("x", email=None)))
    assert stored(own)["x"] == {"externalId": "x"}


def test_with_reject_an_existing_resource_is_a_conflict(own, process):
    process("POST", "contacts", upload(contact("x", email="old")))
    outcome = process(
        "POST", "contacts", upload(contact("x", email="new"), contact("y")), onconflict="reject"
    )
    assert outcome == ("partial_success", [1, 0, 1], {"CONFLICT": 1})
    assert stored(own)["x"]["email"] == "old"


def test_unknown_fields_fail_their_record_or_are_left_out(own, process):
    body = upload(contact("x", hat="red"))
    assert process("POST", "contacts", body) == ("failure", [0, 0, 1], {"UNKNOWN_FIELD": 1})
    assert process("POST", "contacts", body, ignoreUnknownFields="true")[0] == "success"
    assert stored(own)["x"] == {"externalId": "x"}


def test_a_wait_ends_when_the_dependency_arrives_and_without_a_wait_the_record_fails(
    own, process, call
):
    sale = upload({"externalId": "s", "contact": "late"})
    assert process("POST", "transactions", sale)[2] == {"MISSING_DEPENDENCY": 1}
    waiting = process("POST", "transactions", sale, dependencyWaitTimeout="86400")
    assert waiting == ("partial_success", [0, 1, 0], {})
    batch_id = list(own.world.batches)[-1]
    shown = call("GET", f"/api/batches/{batch_id}", includePendingDetails="true").json()["data"]
    assert shown["pendingResources"][0]["missingDependencies"][0]["externalId"] == "late"
    process("POST", "contacts", upload(contact("late")))
    after = call("GET", f"/api/batches/{batch_id}").json()["data"]
    assert (after["status"], after["progress"]["successRate"]) == ("success", 100)


def test_patch_changes_only_existing_resources(own, process, call):
    process("POST", "contacts", upload(contact("x", email="old")))
    outcome = process("PATCH", "contacts", upload(contact("x", email="new"), contact("nobody")))
    assert outcome == ("partial_success", [1, 0, 1], {"NOT_FOUND": 1})
    assert stored(own)["x"]["email"] == "new"
    listed = call("GET", "/api/batches", batchType="PARTNER_RESOURCE_BATCH_PATCH").json()
    assert [row["batchType"] for row in listed["data"]["results"]] == [
        "PARTNER_RESOURCE_BATCH_PATCH"
    ]


def test_delete_keeps_referenced_resources_unless_it_cascades(own, process):
    process("POST", "contacts", upload(contact("x"), contact("y")))
    process("POST", "transactions", upload({"externalId": "s", "contact": "x"}))
    body = {"externalIds": ["x", "y", "nobody"]}
    outcome = process("DELETE", "contacts", body)
    assert outcome == ("partial_success", [1, 0, 2], {"HAS_DEPENDENTS": 1, "NOT_FOUND": 1})
    assert process("DELETE", "contacts", {"externalIds": ["x"], "cascade": True})[0] == "success"
    assert not {"x", "y", "s"} & stored(own).keys()


def test_a_dry_run_counts_and_deletes_nothing(own, process, call):
    process("POST", "contacts", upload(contact("x")))
    process("POST", "transactions", upload({"externalId": "s", "contact": "x"}))
    before, batches = stored(own), len(own.world.batches)
    for cascade, count in ((False, 0), (True, 2)):
        body = {"externalIds": ["x"], "dryRun": True, "cascade": cascade}
        answer = call("DELETE", "/api/resources/contacts/batch", body)
        assert (answer.status_code, answer.json()["data"]["recordCount"]) == (200, count)
    assert (stored(own), len(own.world.batches)) == (before, batches)


def test_delete_all_takes_every_resource_of_the_schema(own, process):
    process("POST", "transactions", upload(*[{"externalId": f"s{i}"} for i in range(30)]))
    process("POST", "contacts", upload(contact("x")))
    assert process("DELETE", "transactions", {"deleteAll": True}) == ("success", [30, 0, 0], {})
    assert stored(own).keys() == {"x"}


def test_deleting_with_ids_and_delete_all_at_once_or_with_neither_is_refused(call):
    for body in ({}, {"externalIds": ["x"], "deleteAll": True}):
        answer = call("DELETE", "/api/resources/contacts/batch", body)
        assert (answer.status_code, answer.json()["success"]) == (422, False)


RESOURCES = "/api/resources/contacts/batch"


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "status"),
    [
        ("POST", "/api/resources/nothing/batch", upload(), {}, 404),
        ("POST", RESOURCES, {}, {}, 400),
        ("POST", RESOURCES, [], {}, 400),
        ("POST", RESOURCES, {"resources": {}}, {}, 400),
        ("POST", RESOURCES, {"resources": ["x"]}, {}, 400),
        ("POST", RESOURCES, {"resources": [], "more": 1}, {}, 400),
        ("POST", RESOURCES, upload(*[contact("x")] * 1001), {}, 400),
        ("POST", RESOURCES, upload(), {"dependencyWaitTimeout": "86401"}, 400),
        ("POST", RESOURCES, upload(), {"dependencyWaitTimeout": "-1"}, 400),
        ("POST", RESOURCES, upload(), {"dependencyWaitTimeout": "soon"}, 400),
        ("POST", RESOURCES, upload(), {"ignoreUnknownFields": "yes"}, 400),
        ("POST", RESOURCES, upload(), {"onconflict": "explode"}, 400),
        ("DELETE", RESOURCES, {"externalIds": "x"}, {}, 400),
        ("DELETE", RESOURCES, {"externalIds": [], "dryrun": True}, {}, 400),
        ("GET", "/api/batches", None, {"batchType": "SOMETHING"}, 400),
        ("PUT", RESOURCES, upload(), {}, 405),
        ("POST", "/partner/tenants", {"name": "N"}, {}, 400),
        ("POST", "/partner/tenants", {"name": "N", "externalId": "ALDER"}, {}, 409),
        ("POST", "/partner/tenants", {"name": "", "externalId": "E"}, {}, 400),
        ("POST", "/partner/schema-definitions", {"name": "N", "schema": {}}, {}, 422),
        ("PATCH", "/partner/tenants", {}, {}, 405),
    ],
)
def test_bad_writes_get_the_envelope_and_their_status(own, call, method, path, body, query, status):
    batches, tenants = len(own.world.batches), len(own.world.tenants)
    answer = call(method, path, body, **query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    refusal = answer.json()
    assert (refusal["success"], refusal["data"]) == (False, None)
    assert refusal["message"]
    assert (len(own.world.batches), len(own.world.tenants)) == (batches, tenants)


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b'{"resources": [', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"resources": [{"a": NaN}]}', "application/json", 400),
        (b'{"resources": [{"a": 1e999}]}', "application/json", 400),
        (b'{"resources": [{"a": "\\ud800"}]}', "application/json", 400),
        (b'{"resources": ' + b"[" * 100_000, "application/json", 400),
        (b'{"resources": []}', "text/plain", 415),
        (b'{"resources": []}', "", 415),
        (b" " * 32_000_001, "application/json", 413),
    ],
)
def test_bodies_that_are_not_json_are_refused(own, data, kind, status):
    headers = {
        "Authorization": f"Bearer {own.token()}",
        "reach-tenant-id": next(iter(own.world.tenants)),
        "Content-Type": kind,
    }
    answer = requests.post(own.url + RESOURCES, data=data, headers=headers, timeout=20)
    assert (answer.status_code, answer.json()["success"]) == (status, False)


def test_405_names_the_allowed_methods(call):
    allowed = call("PUT", RESOURCES, upload()).headers["allow"]
    assert {name.strip() for name in allowed.split(",")} == {"POST", "PATCH", "DELETE"}


def test_a_tenant_can_be_added_and_uploads_to_itself_alone(own, call, process):
    answer = call("POST", "/partner/tenants", {"name": "New", "externalId": "NEW", "website": None})
    assert answer.status_code == 201
    tenant = answer.json()["data"]
    call("POST", RESOURCES, upload(contact("x")), tenant=tenant["id"])
    own.advance(own.world.time + HOUR)
    assert "x" not in stored(own)
    assert len(call("GET", "/api/batches", tenant=tenant["id"]).json()["data"]["results"]) == 1
    token = own.token(tenantExternalId="NEW")
    assert call("GET", "/api/batches", token=token, tenant=None).status_code == 200
    assert call("POST", "/partner/tenants", {}, token=token).status_code == 403


def define(name: str, **properties) -> dict:
    own = {"externalId": {"type": "string"}, **properties}
    return {"name": name, "schema": {"type": "object", "properties": own}}


def test_schemas_can_be_defined_in_any_order_and_refer_to_each_other(own, call, process):
    path = "/partner/schema-definitions"
    shops = define("shops", owner={"$ref": "reach:schemas/Owners"})
    assert call("POST", path, shops).status_code == 201
    outcome = process("POST", "shops", upload({"externalId": "s", "owner": "o"}))
    assert outcome[2] == {"REFERENCE_SCHEMA_NOT_FOUND": 1}
    assert call("POST", path, define("owners")).status_code == 201
    assert call("POST", path, define("OWNERS")).status_code == 409
    process("POST", "owners", upload({"externalId": "o"}))
    assert process("POST", "shops", upload({"externalId": "s", "owner": "o"}))[0] == "success"
    listed = {row["name"]: row for row in call("GET", path).json()["data"]}
    assert listed["shops"]["referenceSchemas"] == ["owners"]
    assert listed["shops"]["reference_schemas"] == ["owners"]


@pytest.mark.parametrize(
    "definition",
    [
        define("x", a={"anyOf": [{"$ref": "reach:schemas/contacts"}]}),
        define("x", a={"prefixItems": [{"$ref": "reach:schemas/contacts"}]}),
        define("x", a={"patternProperties": {"^a": {"$ref": "reach:schemas/contacts"}}}),
        define("x", a={"patternProperties": {"^a": {}, "(?i)^b": {}}}),
        define("x", a={"patternProperties": {"(?P<x>a)": {}, "(?P<x>b)": {}}}),
        define("x", a={"default": json.loads("[" * 150 + "]" * 150)}),
        define("no spaces please"),
        define(""),
        define("x", a={"$ref": "https://example.com/schema"}),
        define("x", a={"$ref": "#/properties/a"}),
        define("x", a={"type": "string", "pattern": "("}),
        define("x", a={"type": "number", "minimum": "one"}),
        define("x") | {"externalIdField": "other"},
        {"name": "x", "schema": {"type": "array"}},
        define("x", a={"items": {"properties": {"b": {"$dynamicRef": "#c"}}}}),
    ],
)
def test_schema_definitions_that_cannot_be_used_are_refused(own, call, definition):
    before = len(own.world.schemas)
    answer = call("POST", "/partner/schema-definitions", definition)
    assert answer.status_code in (400, 422)
    assert answer.json()["success"] is False
    assert len(own.world.schemas) == before


@pytest.mark.parametrize(
    "properties",
    [
        {"$id": {"type": "string"}, "pattern": {"const": {"pattern": "("}}},
        {"a": {"default": {"$ref": "x"}}, "[]": {"type": "string"}},
        {"a": {"const": {"$ref": "reach:schemas/contacts"}}},
    ],
)
def test_json_schema_keywords_used_as_data_are_data(call, process, properties):
    answer = call("POST", "/partner/schema-definitions", define("odd", **properties))
    assert answer.status_code == 201, answer.text
    record = {"externalId": "1"}
    if "const" in properties.get("a", {}):
        record["a"] = properties["a"]["const"]
    assert process("POST", "odd", upload(record))[0] == "success"


def test_records_nested_too_deeply_are_refused_and_deep_ones_can_be_saved(own, call, tmp_path):
    call("POST", "/partner/schema-definitions", define("any", a={}))
    path = "/api/resources/any/batch"
    for levels, status in ((95, 202), (120, 400)):
        body = upload({"externalId": "1", "a": json.loads("[" * levels + "]" * levels)})
        assert call("POST", path, body).status_code == status
    own.advance(own.world.time + HOUR)
    own.save(tmp_path / "state")
    own.load(tmp_path / "state")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_reset_while_a_body_arrives_is_not_an_error(own, method):
    """The headers come before the reset and the body after it: the tenant is gone."""
    body = b'{"resources": []}' if method == "POST" else b'{"externalIds": ["x"], "dryRun": true}'
    tenant = next(iter(own.world.tenants))
    head = (
        f"{method} {RESOURCES} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {own.token()}\r\n"
        f"reach-tenant-id: {tenant}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    address = own.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), 5) as connection:
        connection.sendall(head.encode())
        time.sleep(0.2)
        own.reset(seed=77)
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    own.reset(seed=0)
    assert answer.startswith(b"HTTP/1.1 403"), answer


def test_references_are_found_in_arrays_and_nested_objects(own, call, process):
    to = {"$ref": "reach:schemas/contacts"}
    nested = {"type": "object", "properties": {"by": to}}
    order = define("orders", guests={"type": "array", "items": to}, made=nested)
    call("POST", "/partner/schema-definitions", order)
    record = {"externalId": "o", "guests": ["g1", "g2", "g1"], "made": {"by": "m"}}
    process("POST", "orders", upload(record), dependencyWaitTimeout="86400")
    (wait,) = list(own.world.batches.values())[-1].pending.values()
    assert [key.external_id for key in wait.missing] == ["g1", "g2", "m"]
    outcome = process("POST", "orders", upload({"externalId": "p", "guests": [7]}))
    assert outcome[2] == {"VALIDATION_ERROR": 1}
