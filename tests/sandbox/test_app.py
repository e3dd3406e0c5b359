"""The sandbox's HTTP: every answer in the envelope, every refusal with its status."""

from __future__ import annotations

import base64
import socket
import time

import jwt
import pytest
import requests

from reach_analytics import sandbox as sandboxes
from reach_analytics.sandbox import faults
from reach_analytics.sandbox.server import PARTNER_ID


@pytest.fixture(scope="module")
def own():
    with sandboxes.serve("demo", seed=5) as sandbox:
        sandbox.advance(sandbox.scenario.moments[0])
        yield sandbox


@pytest.fixture
def get(own):
    def get(path: str, *, token: str | None = None, tenant: str | None = None, **query):
        token = own.credentials["token"] if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if tenant:
            headers["reach-tenant-id"] = tenant
        return requests.get(own.url + path, params=query, headers=headers, timeout=5)

    return get


@pytest.fixture
def tenant(own):
    return next(iter(own.world.tenants))


def signed(own, secret: str | None = None, algorithm: str = "HS256", **claims) -> str:
    payload = {"partnerId": PARTNER_ID, "type": "partner", "exp": 2**33, **claims}
    payload = {k: v for k, v in payload.items() if v is not None}
    return jwt.encode(payload, own.secret if secret is None else secret, algorithm=algorithm)


def test_good_answers_come_in_the_envelope(get, tenant):
    answer = get("/api/batches", tenant=tenant)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["success"], set(body["data"])) == (True, {"results", "pagination"})


def test_bad_tokens_are_401(own, get):
    forged = [
        "",
        "nonsense",
        signed(own, "another secret of thirty-two bytes or more"),
        signed(own, exp=1),
        signed(own, exp=None),
        signed(own, partnerId="someone else"),
        jwt.encode({"partnerId": PARTNER_ID, "type": "partner", "exp": 2**33}, None, "none"),
    ]
    for token in forged:
        answer = get("/partner/tenants", token=token)
        assert (answer.status_code, answer.json()["success"]) == (401, False), token


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/api/batches/nothing", {}, 404),
        ("/nowhere", {}, 404),
        ("/api/batches", {"limit": "0"}, 400),
        ("/api/batches", {"limit": "x"}, 400),
        ("/api/batches", {"limit": "-1"}, 400),
        ("/api/batches", {"limit": "٣"}, 400),
        ("/api/batches", {"cursor": "x"}, 422),
        ("/api/batches", {"cursor": "ünï"}, 422),
        ("/api/batches", {"cursor": "cm93Ojk5OTk5"}, 422),
    ],
)
def test_bad_requests_get_the_envelope_and_their_status(get, tenant, path, query, status):
    answer = get(path, tenant=tenant, **query)
    assert answer.status_code == status
    body = answer.json()
    assert (body["success"], body["data"]) == (False, None)
    assert body["message"]


def test_flags_must_be_true_or_false(own, get, tenant):
    batch = own.world.batches_of[tenant][0]
    assert (
        get(f"/api/batches/{batch.id}", tenant=tenant, includePendingDetails="1").status_code == 400
    )


def test_wrong_methods_are_405(own):
    assert requests.post(own.url + "/api/batches", timeout=5).status_code == 405


def test_partner_routes_refuse_tenant_tokens(own, get):
    token = signed(own, type=None, tenantExternalId="HARBOUR")
    assert get("/partner/tenants", token=token).status_code == 403
    assert get("/api/batches", token=token).status_code == 200
    assert (
        get("/api/batches", token=signed(own, type=None, tenantExternalId="X")).status_code == 403
    )


def test_foreign_and_unknown_tenants_are_refused(own, get, tenant):
    assert get("/api/batches").status_code == 400
    assert get("/api/batches", tenant="nobody").status_code == 403
    own_token = signed(own, type=None, tenantExternalId="NORTHSIDE")
    assert get("/api/batches", token=own_token, tenant=tenant).status_code == 403


@pytest.mark.parametrize("claims", [{"exp": float("nan")}, {"exp": True}, {"exp": 1e400}])
def test_tokens_that_would_never_end_are_401(own, get, claims):
    assert get("/partner/tenants", token=signed(own, **claims)).status_code == 401


@pytest.mark.parametrize("name", [None, "", 7])
def test_tenant_tokens_without_a_tenant_are_refused(own, get, name):
    own.world.add_tenant("Odd", f"{name}-{name!r}")
    payload = {"partnerId": PARTNER_ID, "exp": 2**33, "tenantExternalId": name}
    token = jwt.encode(payload, own.secret, algorithm="HS256")
    assert get("/api/batches", token=token).status_code == 403


@pytest.mark.parametrize("cursor", ["W" * 5000, base64.b64encode(b"[" * 140).decode()])
def test_forged_cursors_are_422(get, tenant, cursor):
    answer = get("/api/batches", tenant=tenant, cursor=cursor)
    assert (answer.status_code, answer.json()["success"]) == (422, False)


@pytest.mark.parametrize("stays", ["half a request", "answers unread", "a fault that lasts"])
def test_the_sandbox_stops_though_a_client_stays_connected(stays):
    begin = time.monotonic()
    with sandboxes.serve("healthy") as sandbox:
        host, port = sandbox.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), 5)
        if stays == "half a request":
            head = b"POST /partner/tenants HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            connection.sendall(
                head + b"Content-Type: application/json\r\n"
                b"Authorization: Bearer " + sandbox.token().encode() + b"\r\n\r\n{}"
            )
        elif stays == "answers unread":
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
        else:
            sandbox.set_faults(faults.Latency(delay_s=600))
            connection.sendall(b"GET /api/batches HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.3)
    assert time.monotonic() - begin < 10
    connection.close()


def test_the_clock_can_be_read_and_advanced(own):
    url = own.url + "/_sandbox/clock"
    before = requests.get(url, timeout=5).json()["data"]["now"]
    after = requests.post(url, json={"advanceSeconds": 60}, timeout=5).json()["data"]["now"]
    assert after > before
    requests.post(url, json={"to": before}, timeout=5)
    assert requests.get(url, timeout=5).json()["data"]["now"] == after  # time never goes back


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"advanceSeconds": -1}', b'{"to": "noon"}', b'{"x": 1}']
)
def test_bad_clock_requests_are_400(own, body):
    kind = {"Content-Type": "application/json"}
    answer = requests.post(own.url + "/_sandbox/clock", data=body, headers=kind, timeout=5)
    assert (answer.status_code, answer.json()["success"]) == (400, False)


def test_rows_added_while_paging_neither_duplicate_nor_hide_others(own, get, tenant):
    first = get("/api/batches", tenant=tenant, limit="1").json()["data"]
    newer = own.world.ingest(tenant, "contacts", [])
    rest = get("/api/batches", tenant=tenant, cursor=first["pagination"]["cursor"]).json()["data"]
    shown = [row["batchId"] for row in first["results"] + rest["results"]]
    assert len(shown) == len(set(shown)) == len(own.world.batches_of[tenant]) - 1
    assert newer.id not in shown


def test_the_sandbox_listens_on_loopback_only():
    with pytest.raises(ValueError, match="loopback"):
        with sandboxes.serve("demo", host="0.0.0.0"):
            pass


@pytest.mark.parametrize("until", ["2026-03-02 07:00", None])
def test_the_clock_can_be_advanced_to_a_datetime(own, until):
    with pytest.raises(TypeError, match="a datetime with an offset"):
        own.advance(until)


def test_unknown_scenarios_name_the_known_ones():
    with pytest.raises(ValueError, match="there are: deadlock, demo, "):
        with sandboxes.serve("nothing"):
            pass


def test_a_port_in_use_is_an_error_and_nothing_is_left_open(own):
    port = int(own.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        with sandboxes.serve("demo", port=port):
            pass
