"""See what landed in Reach, what waits, and what to upload next.

>>> import reach_analytics as reach
>>> with reach.sandbox.serve("demo") as sb:  # no token, no network
...     client = reach.Client(**sb.credentials)
...     len(client.schema_definitions())
3
"""

from reach_analytics._lazy import attach_stub

__version__ = "0.1.0"

# Names are loaded when first used, since importing everything takes a second.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
