"""What is known of the rows of a frame of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reach_analytics.history._named import in_zone
from reach_analytics.history._state import tenants_of
from reach_analytics.measures.stories.standing import standings
from reach_analytics.report.upload_files import ids_as_text

if TYPE_CHECKING:
    from reach_analytics.history.history import History

__all__ = ["beside", "only_tenant"]

_SHOWN = ["status", "at", "expires_at", "waits_for", "cause", "batch_id"]
_NEVER = "never seen"


def beside(history: History, frame: pd.DataFrame, on: str, schema: str | None) -> pd.DataFrame:
    """The frame with what the history of one tenant knows of each row; see `History.join`."""
    if on not in frame.columns:
        raise ValueError(
            f"join finds no column {on!r} in the frame; there are: "
            f"{', '.join(map(str, frame.columns))}"
        )
    known = standings(
        history.pending(),
        history.dependencies(),
        history.lost(),
        history.wait_outcomes(),
        history.arrivals(),
    )
    if schema is not None:
        known = _of_schema(history, known, schema)
    ids = ids_as_text(frame[on], on)
    known = _unambiguous(known[known["external_id"].isin(ids)])
    own = known.set_index("external_id")[_SHOWN].add_prefix("reach_").reindex(ids)
    own = in_zone(own, history.timezone)
    own["reach_status"] = own["reach_status"].fillna(_NEVER)
    others = [name for name in frame.columns if name not in own.columns]
    found = frame[others].assign(**{name: own[name].array for name in own.columns})
    found.attrs = {**frame.attrs, "matched": int((own["reach_status"] != _NEVER).sum())}
    return found


def only_tenant(history: History) -> None:
    """A `ValueError` if the history has several tenants, whose ids may be alike."""
    tenants = tenants_of(history.tables, history._catalog)
    if len(tenants) > 1:
        some = ", ".join(map(repr, tenants["tenant_name"].head(10)))
        raise ValueError(f"external ids belong to a tenant: say tenant=, one of {some}")


def _of_schema(history: History, known: pd.DataFrame, schema: str) -> pd.DataFrame:
    """What is of the schema of this name or id."""
    own = (known["schema_definition_id"] == schema) | (
        known["schema_name"].str.casefold() == schema.casefold()
    )
    if not own.any():
        history.filter(schema=schema)  # which says so, if nothing is called so
    return known[own]


def _unambiguous(known: pd.DataFrame) -> pd.DataFrame:
    """What is known; a `ValueError` if an id is one of several schemas."""
    twice = known[known.duplicated("external_id", keep=False)]
    if len(twice):
        first = twice["external_id"].iloc[0]
        names = sorted(twice.loc[twice["external_id"] == first, "schema_name"].fillna("–"))
        raise ValueError(
            f"{twice['external_id'].nunique():,} ids, as {first!r}, are known in several schemas "
            f"({', '.join(names)}): say schema="
        )
    return known
