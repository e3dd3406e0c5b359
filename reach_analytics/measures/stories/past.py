"""What is said of waits that are over, and of what the batches' errors name."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reach_analytics.measures.stories.known import Key, Known, missing, owned, rows_of
from reach_analytics.measures.stories.life import out_of_sight
from reach_analytics.measures.stories.phrases import at_time
from reach_analytics.measures.stories.story import plain

__all__ = ["of_past"]


def of_past(known: Known, key: Key, failed: pd.DataFrame, waiting: int, lacking: bool) -> list[str]:
    """How earlier waits of a key ended, and what the batches say of it.

    Parameters
    ----------
    failed : pandas.DataFrame
        What the error details say of it.
    waiting : int
        How many of its waits go on.
    lacking : bool
        Whether something misses it.
    """
    told = []
    seen = {(look["batch_id"], one["id"]) for look in known.looks for one in owned(look, key)}
    hidden = out_of_sight(known.looks, key)
    if len(seen) > waiting:
        rows = rows_of(known.outcomes(), key)
        over = rows[~rows["verdict"].isin(["pending", "censored"])]
        told += [_ended(row, known.at) for row in over.sort_values("first_seen").to_dict("records")]
    if not waiting and not lacking:
        told += [
            f"Batch {plain(batch)} last named it at {at_time(at, known.at)}; no complete list "
            "since shows whether that still holds."
            for batch, at in hidden
        ]
    for row in failed.to_dict("records"):
        said = [plain(row[n]) for n in ("error_code", "error_message") if not pd.isna(row[n])]
        why = f": {': '.join(said)}".rstrip(".") if said else ""
        told.append(f"The errors of batch {plain(row['batch_id'])} name it{why}.")
    was_missing = any(missing(look, key) for look in known.looks)
    if not waiting and not lacking and not hidden and was_missing:
        told.append("It was missing; as far as is known, nothing waits for it any longer.")
    return told


def _ended(row: dict[Any, Any], now: pd.Timestamp) -> str:
    """How a wait ended, as far as it is known."""
    began = row["first_seen"] if pd.isna(row["created_at"]) else row["created_at"]
    what = ""
    if not pd.isna(row["root_external_id"]):
        what = f", for {plain(row['root_external_id'])} in the end"
    start = f"It waited in batch {plain(row['batch_id'])} from {at_time(began, now)}{what}"
    span = f"between {at_time(row['ended_after'], now)} and {at_time(row['ended_by'], now)}"
    rule = f" (rule {row['rule']})"
    if row["verdict"] == "expired":
        return f"{start}, and expired at {at_time(row['ended_by'], now)}{rule}."
    if row["verdict"] == "released":
        return f"{start}, and was released {span}{rule}."
    return f"{start}; its wait was over {span}, and nobody saw how."
