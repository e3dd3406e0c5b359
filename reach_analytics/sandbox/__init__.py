"""An emulated Reach to develop and test against: no token, no network, a clock you can turn."""

from reach_analytics.sandbox import _extra, faults  # noqa: F401  _extra first
from reach_analytics.sandbox._http.access import Access
from reach_analytics.sandbox._simulation import Request
from reach_analytics.sandbox._specs import (
    ReferenceSpec,
    SchemaSpec,
    Stream,
    Tenant,
    Upload,
)
from reach_analytics.sandbox._world.state import Write
from reach_analytics.sandbox._world.world import World
from reach_analytics.sandbox.faults import Fault, Faults
from reach_analytics.sandbox.scenario import Scenario
from reach_analytics.sandbox.server import Sandbox, serve

__all__ = [
    "Access",
    "Fault",
    "Faults",
    "ReferenceSpec",
    "Request",
    "Sandbox",
    "Scenario",
    "SchemaSpec",
    "Stream",
    "Tenant",
    "Upload",
    "World",
    "Write",
    "faults",
    "serve",
]
