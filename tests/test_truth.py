"""What the toolkit infers from its looks, against the sandbox's own log of what truly happened."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

import reach_analytics as reach

# Two requests at one moment of a standing clock are microseconds apart.
TICKS = timedelta(milliseconds=5)


@pytest.fixture(scope="module", params=["expiry_storm", "deadlock"])
def collected(request, tmp_path_factory):
    """(facts, spells): the sandbox's log, and for each wait seen when it was seen and not."""
    store = reach.Store(tmp_path_factory.mktemp(request.param) / "store")
    with reach.sandbox.serve(request.param) as sandbox:
        with reach.Client(**sandbox.credentials) as client:
            step = 3 if request.param == "expiry_storm" else 1
            for moment in sandbox.scenario.moments[step - 1 :: step]:
                sandbox.advance(moment)
                assert reach.collect(client, store, progress=False).ok
        facts = pd.DataFrame([vars(fact) for fact in sandbox.world.facts])
    return facts, spells(reach.open_history(store))


def spells(history: reach.History) -> pd.DataFrame:
    """One row per wait: expires_at, last look that had it, first complete look without it."""
    tables = history.tables
    looks = tables.observations.filter(lambda t: t.ok & (t.scope == "detail")).to_pyarrow()
    states = tables.snapshots.select("batch_id", "state_hash", "pending_resources").to_pyarrow()
    looks, states = looks.to_pandas(), states.to_pandas().set_index(["batch_id", "state_hash"])
    rows = []
    for batch_id, own in looks.groupby("batch_id"):
        ends: dict = {}
        for look in own.sort_values("sent_at").itertuples():
            listed = states.loc[(batch_id, look.state_hash), "pending_resources"]
            here = {wait["id"]: wait["expires_at"] for wait in ([] if listed is None else listed)}
            for wait, row in ends.items():
                if wait not in here and row["absent"] is None:
                    row["absent"] = look.received_at
            for wait, expires_at in here.items():
                row = ends.setdefault(wait, {"id": wait, "expires_at": expires_at})
                row |= {"present": look.sent_at, "absent": None}
        rows += ends.values()
    return pd.DataFrame(rows).assign(absent=lambda f: pd.to_datetime(f["absent"], utc=True))


def ended(facts: pd.DataFrame) -> pd.DataFrame:
    return facts[facts["event"] != "waiting"].set_index("pending_id")


def test_every_wait_ends_once_and_within_the_looks_that_bracket_it(collected):
    facts, seen = collected
    truth = ended(facts)
    assert truth.index.is_unique
    gone = seen[seen["absent"].notna()]
    assert len(gone) > (100 if len(facts) > 1000 else 5)
    at = truth["at"].reindex(gone["id"]).to_numpy()
    assert (gone["present"].to_numpy() - at < TICKS.total_seconds() * pd.Timedelta("1s")).all()
    assert (at <= gone["absent"].to_numpy()).all()


def test_what_is_still_seen_at_the_last_look_has_not_ended(collected):
    facts, seen = collected
    still = set(seen.loc[seen["absent"].isna(), "id"])
    assert not still & set(ended(facts).index)


def test_gone_before_its_end_means_released_and_nothing_outlives_its_end(collected):
    facts, seen = collected
    truth = ended(facts)["event"]
    early = seen[seen["absent"] <= seen["expires_at"]]
    assert len(early) > 50 or set(truth) == {"expired"}  # in a deadlock nothing is released
    assert set(truth.reindex(early["id"])) <= {"released"}
    assert (seen["present"] - seen["expires_at"] < TICKS).all()
    expired = seen[seen["id"].isin(truth[truth == "expired"].index)]
    assert (expired["absent"] >= expired["expires_at"]).all()


def test_every_wait_that_a_look_could_see_was_seen(collected):
    facts, seen = collected
    begun = facts[facts["event"] == "waiting"].set_index("pending_id")["at"]
    ends = ended(facts)["at"].reindex(begun.index)
    moments = sorted(seen["present"].dt.floor("min").unique())
    could = [
        wait
        for wait, begin, end in zip(begun.index, begun, ends, strict=True)
        if any(begin <= m and (pd.isna(end) or end > m) for m in moments)
    ]
    assert set(could) <= set(seen["id"])
