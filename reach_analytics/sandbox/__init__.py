"""An emulated Reach to develop and test against: no token, no network, a clock you can turn."""

from reach_analytics.sandbox.app import Access
from reach_analytics.sandbox.scenario import Scenario
from reach_analytics.sandbox.server import Sandbox, serve
from reach_analytics.sandbox.world import World

__all__ = ["Access", "Sandbox", "Scenario", "World", "serve"]
