"""What users write, for a type checker: `mypy --strict tests/typing` must find nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

import reach_analytics as reach


def collect_once(location: str) -> int:
    store = reach.Store(location)
    with reach.sandbox.serve("demo") as sb, reach.Client(**sb.credentials) as client:
        run: reach.RunSummary = reach.collect(client, store, progress=False)
    return run.observations


def ask(location: Path) -> pd.DataFrame:
    history: reach.History = reach.open_history(location, as_of="2026-03-02 12:00")
    success: pd.DataFrame = history.success(by=["tenant_id", "schema_name"], freq="1h")
    chart: go.Figure = reach.plot_success(success)
    chart.write_html("success.html")
    best = history.bottlenecks().query("is_root").iloc[0]
    history.what_if([(str(best["schema_name"]), str(best["external_id"]))])
    return history.upload_plan(top=20, uploads_per_hour=60.0)


def measure(dependencies: pd.DataFrame) -> pd.DataFrame:
    table: reach.tables.Table = reach.tables.BOTTLENECKS
    try:
        return reach.measures.bottlenecks(dependencies)[table.names]
    except reach.errors.FrameError as error:
        raise SystemExit(str(error)) from error


def watch_for_a_day(client: reach.Client, store: reach.Store) -> reach.RunSummary:
    policy = reach.PollingPolicy(backoff_fraction=0.2)
    return reach.watch(client, store, until="24h", policy=policy)
