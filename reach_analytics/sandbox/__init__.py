"""An emulated Reach to develop and test against: no token, no network, a clock you can turn."""

from reach_analytics.sandbox import faults
from reach_analytics.sandbox.access import Access
from reach_analytics.sandbox.faults import Fault, Faults
from reach_analytics.sandbox.scenario import Kind, Link, Scenario, Stream, Tenant, Upload
from reach_analytics.sandbox.server import Sandbox, serve
from reach_analytics.sandbox.stage import Request
from reach_analytics.sandbox.state import Write
from reach_analytics.sandbox.world import World

__all__ = [
    "Access",
    "Fault",
    "Faults",
    "Kind",
    "Link",
    "Request",
    "Sandbox",
    "Scenario",
    "Stream",
    "Tenant",
    "Upload",
    "World",
    "Write",
    "faults",
    "serve",
]
