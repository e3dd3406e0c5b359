"""See what landed in Reach, what waits, and what to upload next.

>>> import reach_analytics as reach
>>> with reach.sandbox.serve("demo") as sb:  # no token, no network
...     client = reach.Client(**sb.credentials)
...     len(client.schema_definitions())
3
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reach_analytics import columns, errors, measures, plots, sandbox
    from reach_analytics.client import (
        BatchDocument,
        Client,
        PartnerSigner,
        RetryPolicy,
        TenantSigner,
    )
    from reach_analytics.collector import Policy, RunSummary, collect, watch
    from reach_analytics.errors import ReachError
    from reach_analytics.history import History, open_history
    from reach_analytics.plots import (
        plot_backlog,
        plot_bottlenecks,
        plot_collection_health,
        plot_dependency_graph,
        plot_durations,
        plot_expiry,
        plot_outcomes,
        plot_status,
        plot_success,
        plot_success_chart,
        plot_survival,
        plot_upload_plan,
    )
    from reach_analytics.store import Store

__version__ = "0.1.0"

# Each name is loaded when first used: `import reach_analytics` must not cost a second of imports.
_HOME = {
    "BatchDocument": "client",
    "Client": "client",
    "History": "history",
    "PartnerSigner": "client",
    "Policy": "collector",
    "ReachError": "errors",
    "RetryPolicy": "client",
    "RunSummary": "collector",
    "Store": "store",
    "TenantSigner": "client",
    "collect": "collector",
    "columns": "",
    "errors": "",
    "measures": "",
    "open_history": "history",
    "plot_backlog": "plots",
    "plot_bottlenecks": "plots",
    "plot_collection_health": "plots",
    "plot_dependency_graph": "plots",
    "plot_durations": "plots",
    "plot_expiry": "plots",
    "plot_outcomes": "plots",
    "plot_status": "plots",
    "plot_success": "plots",
    "plot_success_chart": "plots",
    "plot_survival": "plots",
    "plot_upload_plan": "plots",
    "plots": "",
    "sandbox": "",
    "watch": "collector",
}

__all__ = [
    "BatchDocument",
    "Client",
    "History",
    "PartnerSigner",
    "Policy",
    "ReachError",
    "RetryPolicy",
    "RunSummary",
    "Store",
    "TenantSigner",
    "collect",
    "columns",
    "errors",
    "measures",
    "open_history",
    "plot_backlog",
    "plot_bottlenecks",
    "plot_collection_health",
    "plot_dependency_graph",
    "plot_durations",
    "plot_expiry",
    "plot_outcomes",
    "plot_status",
    "plot_success",
    "plot_success_chart",
    "plot_survival",
    "plot_upload_plan",
    "plots",
    "sandbox",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    value = (
        getattr(import_module(f"{__name__}.{home}"), name)
        if home
        else import_module(f"{__name__}.{name}")
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
