"""The contract says what the sandbox does: its routes, and the numbers that it assumes."""

from __future__ import annotations

from typing import Any

import pytest

from reach_analytics.sandbox import Access, _simulation, assumptions
from reach_analytics.sandbox._http import openapi
from reach_analytics.sandbox._http.app import all_routes
from reach_analytics.sandbox.scenario import find


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def found(node: Any, name: str) -> list[Any]:
    """Every value of this name, anywhere in the document."""
    if isinstance(node, dict):
        own = [value for key, value in node.items() if key == name]
        return own + [each for value in node.values() for each in found(value, name)]
    return [each for value in node for each in found(value, name)] if isinstance(node, list) else []


def test_every_route_is_in_it_and_nothing_else(document):
    simulation = _simulation.Simulation(find("healthy"), 0)
    served = {
        (route.path.replace("batch_id", "batchId"), method.lower())
        for route in all_routes(simulation, Access("s" * 32, "p"))
        if route.path != "/openapi.json"
        for method in route.methods or ()
        if method != "HEAD"
    }
    promised = {
        (path, method)
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "post", "put", "patch", "delete")
    }
    assert served == promised


def test_its_numbers_are_those_that_the_sandbox_assumes(document):
    enums = {tuple(each) for each in found(document, "enum")}
    assert tuple(assumptions.BATCH_TYPES) in enums
    assert tuple(assumptions.CATEGORIES) in enums
    assert set(found(document, "maxItems")) >= {assumptions.MAX_RECORDS}
    waits = [
        one["schema"]
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
        for one in operation.get("parameters", [])
        if one.get("name") == "dependencyWaitTimeout"
    ]
    assert waits
    assert all((one["minimum"], one["maximum"]) == (0, assumptions.MAX_WAIT_S) for one in waits)


def test_every_reference_leads_somewhere(document):
    for target in found(document, "$ref"):
        node: Any = document
        for step in target.removeprefix("#/").split("/"):
            node = node[step]
        assert node
