"""The client against Prism, an independent mock server of the same contract."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest
import requests

import reach_analytics as reach
from reach_analytics.sandbox._http import openapi

PRISM = os.environ.get("PRISM") or shutil.which("prism")

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(PRISM is None, reason="Prism is not installed (npm: @stoplight/prism-cli)"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A mock that also refuses requests which the contract does not allow."""
    place = tmp_path_factory.mktemp("prism")
    (place / "openapi.json").write_bytes(openapi.as_json())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [PRISM, "mock", "--errors", "-h", "127.0.0.1", "-p", str(port), "openapi.json"]
    with (place / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=place, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _when_up(server, f"http://127.0.0.1:{port}", place / "log")
    finally:
        server.terminate()
        server.wait(20)


def _when_up(server, url, log):
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            requests.get(url, timeout=1)
            return url
        except requests.ConnectionError:
            time.sleep(0.1)
    raise RuntimeError(f"Prism did not start: {log.read_text()}")


@pytest.fixture
def client(url):
    with reach.Client(token="any", tenant_id="tenant-1", base_url=url) as client:
        yield client


def test_the_mock_refuses_what_the_contract_refuses(url):
    assert requests.get(f"{url}/api/batches", timeout=5).status_code == 401
    odd = requests.get(
        f"{url}/api/batches?batchType=ODD", headers={"Authorization": "Bearer x"}, timeout=5
    )
    assert odd.status_code in (400, 422)  # Prism picks any documented status


@pytest.mark.parametrize("pending_details", [True, False])
def test_a_single_batch_is_read(client, pending_details):
    batch = client.batch("3f0e7c0a-6a52-4c7e-9a37-5b7f0f6e2a11", pending_details=pending_details)
    assert (batch.status, batch.total_records, batch.pending_records) == ("partial_success", 4, 1)
    (wait,) = batch.pending_resources
    assert (wait.resource_external_id, wait.expires_at.hour) == ("TX-1", 8)
    assert [d.external_id for d in wait.missing_dependencies] == ["CON-1"]


def test_the_listing_is_read(client):
    listing = client.batches("PARTNER_RESOURCE_JSON_INGEST", page_size=50)
    assert [batch.schema_name for batch in listing] == ["transactions"]
    assert listing.total == listing.received == 1


def test_tenants_are_read(client):
    assert [(t.id, t.name, t.external_id) for t in client.tenants()] == [
        ("tenant-1", "Harbour Books", "HARBOUR")
    ]


def test_schema_definitions_are_read(client):
    (schema,) = client.schema_definitions()
    assert (schema.name, schema.reference_schemas) == ("transactions", ["contacts"])


def test_a_whole_pass_is_collected(client, tmp_path):
    store = reach.Store(tmp_path / "store")
    run = reach.collect(client, store, tenants=["tenant-1"], progress=False)
    assert run.ok
    waits = reach.open_history(store).dependencies()
    assert waits["missing_external_id"].tolist() == ["CON-1"]
