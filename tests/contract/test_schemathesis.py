"""The sandbox against its own contract, attacked by schemathesis with all of its checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import requests

from reach_analytics import sandbox as sandboxes
from reach_analytics.sandbox._http import openapi
from tests.support.effort import count

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

# 422 is for what the document cannot express: a cursor of another listing, a JSON
# Schema that cannot be compiled.
CONFIG = """
headers = {{ Authorization = "Bearer {token}" }}

[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422"]

[parameters]
"header.reach-tenant-id" = "{tenant_id}"
"path.schema" = "{schema}"
"path.batchId" = "{batch_id}"
"""


@pytest.fixture
def running():
    with sandboxes.serve("demo") as sandbox:
        sandbox.advance(sandbox.scenario.moments[3])
        yield sandbox


@pytest.mark.contract
@pytest.mark.parametrize(
    ("routes", "phases"),
    [
        ("^/(api|partner)/", "examples,coverage,fuzzing,stateful"),
        ("^/_sandbox/", "examples,coverage,fuzzing"),
    ],
)
def test_no_request_breaks_the_sandbox_or_its_contract(running, tmp_path, routes, phases):
    """The sandbox's own routes run separately: a fault set there would affect the others."""
    tenant_id, batches = next(iter(running.world.batches_of.items()))
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        CONFIG.format(
            token=running.token(), tenant_id=tenant_id, schema="contacts", batch_id=batches[-1].id
        )
    )
    program = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [
            *(program, "--config-file", config, "run", f"{running.url}/openapi.json"),
            *("--checks", "all", "--phases", phases),
            *(
                "--max-examples",
                str(count(25, 8)),
                "--seed",
                "1",
                "--continue-on-failure",
                "--no-color",
            ),
            *("--include-path-regex", routes),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "Tested: 9" in done.stdout  # every operation was attacked


def test_the_document_is_served_and_says_what_is_documented(running):
    served = requests.get(f"{running.url}/openapi.json", timeout=5).json()
    assert served == openapi.document()
    assert served["openapi"].startswith("3.1")
    routes = {(path, method) for path, item in served["paths"].items() for method in item}
    for path, method in (
        ("/api/batches", "get"),
        ("/api/batches/{batchId}", "get"),
        ("/api/resources/{schema}/batch", "post"),
        ("/api/resources/{schema}/batch", "patch"),
        ("/api/resources/{schema}/batch", "delete"),
        ("/partner/tenants", "get"),
        ("/partner/tenants", "post"),
        ("/partner/schema-definitions", "get"),
        ("/partner/schema-definitions", "post"),
    ):
        assert (path, method) in routes


def test_the_examples_of_the_document_are_valid():
    document = openapi.document()
    checked = 0
    for item in document["paths"].values():
        for operation in item.values():
            for response in operation["responses"].values() if isinstance(operation, dict) else ():
                content = response.get("content", {}).get("application/json", {})
                if "example" in content:
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema.validate(content["example"], schema)
                    checked += 1
    assert checked == 4
