"""Every frame and measure of a history, to compare two stores."""

from __future__ import annotations

import pandas as pd

from reach_analytics.history import History

FRAMES = ["batches", "pending", "dependencies", "wait_intervals", "missing_intervals", "departures"]
MEASURES = [
    *(
        "health",
        "expiring",
        "wait_outcomes",
        "arrivals",
        "still_missing",
        "release_rates",
        "backlog",
    ),
    *("survival", "wait_times", "coverage", "success", "status", "control_chart", "durations"),
    *("throughput", "expiry_codes"),
    *("stuck", "eta", "errors", "quality", "bottlenecks", "deadlocks", "depth", "choke_points"),
    *("upload_plan", "schema_graph"),
]


def answers(history: History, only: list[str] | None = None) -> dict[str, pd.DataFrame]:
    """Every frame and measure by its name.

    Without `observations`, which has a row for each that is left.
    """
    found = {name: getattr(history, name)() for name in only or [*FRAMES, *MEASURES]}
    # The observation's number tells which waits left together; it changes with fewer observations.
    for name in {"wait_intervals", "wait_outcomes"} & set(found):
        of_batch = found[name].groupby(["tenant_id", "batch_id"])
        found[name]["departure"] = of_batch["departure"].rank("dense")
    if "departures" in found:
        found["departures"] = found["departures"].drop(columns=["departure", "base"])
    found["moment"] = pd.DataFrame({"moment": [history.moment]})
    return found


def assert_same(before: dict[str, pd.DataFrame], after: dict[str, pd.DataFrame]) -> None:
    for name, frame in before.items():
        try:
            pd.testing.assert_frame_equal(_sorted(frame), _sorted(after[name]))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """In a fixed order, as frames may come in any; numbers last, they may be rounded."""
    first = sorted(frame.columns, key=lambda name: pd.api.types.is_float_dtype(frame[name]))
    return frame.sort_values(first, key=lambda column: column.astype(str), ignore_index=True)
