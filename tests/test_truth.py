"""Inferences from observations, compared with the sandbox's ground truth."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pandas as pd
import pytest

import reach_analytics as reach
from tests.support.effort import some

# Two requests at one moment of a standing clock are microseconds apart.
TICKS = timedelta(milliseconds=5)


@pytest.fixture(scope="module", params=some(["deadlock", "expiry_storm"], 1))
def collected(request, tmp_path_factory):
    """(ground truth, wait intervals) of a sandbox."""
    store = reach.Store(tmp_path_factory.mktemp(request.param) / "store")
    with reach.sandbox.serve(request.param) as sandbox:
        with reach.Client(**sandbox.credentials) as client:
            step = 3 if request.param == "expiry_storm" else 1
            for moment in sandbox.scenario.moments[step - 1 :: step]:
                sandbox.advance(moment)
                assert reach.collect(client, store, progress=False).ok
        ground_truth = pd.DataFrame([vars(fact) for fact in sandbox.world.ground_truth])
    return ground_truth, wait_intervals(reach.open_history(store))


def wait_intervals(history: reach.History) -> pd.DataFrame:
    """One row per wait: expires_at, last observation with it, first complete one without it."""
    tables = history.tables
    observations = tables.stored_observations.filter(
        lambda t: t.ok & (t.scope == "detail")
    ).to_pyarrow()
    states = tables.stored_snapshots.select(
        "batch_id", "state_hash", "pending_resources"
    ).to_pyarrow()
    observations, states = (
        observations.to_pandas(),
        states.to_pandas().set_index(["batch_id", "state_hash"]),
    )
    rows = []
    for batch_id, own in observations.groupby("batch_id"):
        ends: dict = {}
        for observation in own.sort_values("sent_at").itertuples():
            listed = states.loc[(batch_id, observation.state_hash), "pending_resources"]
            here = {wait["id"]: wait["expires_at"] for wait in ([] if listed is None else listed)}
            for wait, row in ends.items():
                if wait not in here and row["absent"] is None:
                    row["absent"] = observation.received_at
            for wait, expires_at in here.items():
                row = ends.setdefault(wait, {"id": wait, "expires_at": expires_at})
                row |= {"present": observation.sent_at, "absent": None}
        rows += ends.values()
    return pd.DataFrame(rows).assign(absent=lambda f: pd.to_datetime(f["absent"], utc=True))


def ended(ground_truth: pd.DataFrame) -> pd.DataFrame:
    return ground_truth[ground_truth["event"] != "waiting"].set_index("pending_id")


def test_every_wait_ends_once_and_between_the_observations_around_its_end(collected):
    ground_truth, seen = collected
    truth = ended(ground_truth)
    assert truth.index.is_unique
    gone = seen[seen["absent"].notna()]
    assert len(gone) > (100 if len(ground_truth) > 1000 else 5)
    at = truth["at"].reindex(gone["id"]).to_numpy()
    assert (gone["present"].to_numpy() - at < TICKS.total_seconds() * pd.Timedelta("1s")).all()
    assert (at <= gone["absent"].to_numpy()).all()


def test_what_the_last_observation_lists_has_not_ended(collected):
    ground_truth, seen = collected
    still = set(seen.loc[seen["absent"].isna(), "id"])
    assert not still & set(ended(ground_truth).index)


def test_gone_before_its_expiry_means_released_and_nothing_outlives_its_expiry(collected):
    ground_truth, seen = collected
    truth = ended(ground_truth)["event"]
    early = seen[seen["absent"] <= seen["expires_at"]]
    assert len(early) > 50 or set(truth) == {"expired"}  # in a deadlock nothing is released
    assert set(truth.reindex(early["id"])) <= {"released"}
    assert (seen["present"] - seen["expires_at"] < TICKS).all()
    expired = seen[seen["id"].isin(truth[truth == "expired"].index)]
    assert (expired["absent"] >= expired["expires_at"]).all()


def test_every_observable_wait_was_observed(collected):
    ground_truth, seen = collected
    begun = ground_truth[ground_truth["event"] == "waiting"].set_index("pending_id")["at"]
    ends = ended(ground_truth)["at"].reindex(begun.index)
    moments = sorted(seen["present"].dt.floor("min").unique())
    could = [
        wait
        for wait, begin, end in zip(begun.index, begun, ends, strict=True)
        if any(begin <= m and (pd.isna(end) or end > m) for m in moments)
    ]
    assert set(could) <= set(seen["id"])


@pytest.fixture(scope="module", params=some([3, 6, 1], 1), ids=lambda every: f"{5 * every} min")
def storm(request, tmp_path_factory):
    """(ground truth, history) of the expiry storm, observed every 5, 15 or 30 minutes."""
    store = reach.Store(tmp_path_factory.mktemp("storm") / "store")
    with reach.sandbox.serve("expiry_storm") as sandbox:
        with reach.Client(**sandbox.credentials) as client:
            for moment in sandbox.scenario.moments[request.param - 1 :: request.param]:
                sandbox.advance(moment)
                assert reach.collect(client, store, progress=False).ok
        ground_truth = pd.DataFrame([vars(fact) for fact in sandbox.world.ground_truth])
    return ground_truth, reach.open_history(store)


def against_truth(waits: pd.DataFrame, ground_truth: pd.DataFrame) -> pd.DataFrame:
    """The verdicts, with what truly happened and when."""
    truth = ended(ground_truth)
    own = truth.reindex(waits["pending_id"])
    return waits.assign(truth=own["event"].array, at=own["at"].array)


@pytest.mark.parametrize(
    ("tolerance", "released_may_fail"),
    some(list(product(["0s", "5s", "2min"], [True, False])), 2),
)
def test_no_verdict_is_ever_wrong(storm, tolerance, released_may_fail):
    ground_truth, history = storm
    waits = history.wait_outcomes(tolerance=tolerance, released_may_fail=released_may_fail)
    judged = against_truth(waits, ground_truth)
    told = judged[judged["verdict"].isin(["released", "expired"])]
    assert (told["verdict"] == told["truth"]).all()
    assert set(told["verdict"]) == {"released", "expired"}
    assert judged.loc[judged["verdict"] == "pending", "truth"].isna().all()


def test_every_end_lies_within_its_bounds(storm):
    ground_truth, history = storm
    judged = against_truth(history.wait_outcomes(), ground_truth)
    over = judged[judged["verdict"].isin(["released", "expired", "unknown"])]
    assert (over["at"] >= over["ended_after"] - TICKS).all()
    assert (over["at"] <= over["ended_by"] + TICKS).all()


def without_codes(history: reach.History, **options) -> pd.DataFrame:
    """The verdicts if the batches' summaries of errors did not tell what expired."""
    departures = history.departures().assign(errors_before=None, errors_after=None)
    return reach.measures.wait_outcomes(
        history.wait_intervals(),
        history.missing_intervals(),
        departures,
        history.batches(),
        **options,
    )


@pytest.mark.parametrize("released_may_fail", [True, False])
def test_no_verdict_is_wrong_if_no_code_counts_expiries(storm, released_may_fail):
    ground_truth, history = storm
    judged = against_truth(
        without_codes(history, released_may_fail=released_may_fail), ground_truth
    )
    told = judged[judged["verdict"].isin(["released", "expired"])]
    assert (told["verdict"] == told["truth"]).all()


def test_a_code_that_counts_expiries_decides_many_ends(storm):
    """It agrees with what other rules prove, and none of its verdicts is wrong (above)."""
    _, history = storm
    assert history.expiry_codes()["used"].tolist() == [True]
    unknown = [
        (waits["verdict"] == "unknown").mean()
        for waits in (without_codes(history), history.wait_outcomes())
    ]
    decided = history.wait_outcomes()["rule"].eq("5e").mean()
    print(f"\nunknown without codes {unknown[0]:.1%}, with them {unknown[1]:.1%}; 5e {decided:.1%}")
    assert unknown[1] < unknown[0]


def test_every_record_is_accounted_for_and_what_expired_is_the_truth(storm):
    ground_truth, history = storm
    account, batches = history.reconciliation(), history.batches()
    parts = account.groupby("part")["records"].sum()
    assert account["records"].sum() == batches["total_records"].sum()
    assert parts["landed"] == batches["successful_records"].sum()
    assert parts["waiting"] == batches["pending_records"].sum()
    lost = parts[["expired", "unknown", "failed"]].sum()
    assert lost == batches["failed_records"].sum()
    expired = (ground_truth["event"] == "expired").sum()
    assert parts["expired"] == expired
    assert parts["unknown"] == 0  # the sandbox's own code tells
    health = history.health()
    assert health["lost_records"].sum() == lost
    assert health["expired_min"].sum() == health["expired_max"].sum() == expired


def test_without_codes_the_account_brackets_what_expired(storm):
    ground_truth, history = storm
    batches = history.batches().assign(error_summary=None)
    account = reach.measures.reconciliation(batches, without_codes(history), history.departures())
    parts = account.groupby("part")["records"].sum()
    assert account["records"].sum() == batches["total_records"].sum()
    seen = history.wait_intervals()["pending_id"]
    expired = ground_truth[
        (ground_truth["event"] == "expired") & ground_truth["pending_id"].isin(seen)
    ]
    assert parts["expired"] <= len(expired) <= parts["expired"] + parts["unknown"]


def test_the_true_number_released_of_the_unknown_is_within_the_bounds(storm):
    ground_truth, history = storm
    judged = against_truth(without_codes(history), ground_truth)
    unknown = judged[judged["verdict"] == "unknown"]
    together = ["batch_id", "unknown_together"]
    least, most = unknown["released_at_least"], unknown["released_at_most"]
    rows = unknown.assign(least=least / unknown["unknown_together"])
    rows = rows.assign(most=most / unknown["unknown_together"], was=rows["truth"] == "released")
    sums = rows.groupby(together)[["least", "was", "most"]].sum()
    assert len(sums)
    assert (sums["least"] <= sums["was"] + 1e-9).all()
    assert (sums["was"] <= sums["most"] + 1e-9).all()


def test_fewer_ends_are_unknown_if_released_records_never_fail(storm):
    _, history = storm
    unknown = [
        (without_codes(history, released_may_fail=may)["verdict"] == "unknown").mean()
        for may in (True, False)
    ]
    print(f"\nshare of all waits whose end is unknown: {unknown[0]:.1%}, {unknown[1]:.1%}")
    assert unknown[1] < unknown[0]


def test_the_fraction_released_lies_within_its_bounds(storm):
    ground_truth, history = storm
    judged = against_truth(history.wait_outcomes(), ground_truth)
    [(_, row)] = history.release_rates().iterrows()
    mature = judged[judged["created_at"] <= history.moment - pd.Timedelta(minutes=30)]
    true = (mature["truth"] == "released").mean()
    assert row["released_min_fraction"] <= true + 0.01
    assert true <= row["released_max_fraction"] + 0.01


def test_a_dependency_arrives_when_the_sandbox_says_it_did(storm):
    """In truth the first release of something that missed it is at or after its arrival."""
    ground_truth, history = storm
    found = history.arrivals()
    links = history.missing_intervals().merge(
        ended(ground_truth).reset_index(), on=["tenant_id", "batch_id", "pending_id"]
    )
    key = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
    released = links[links["event"] == "released"].groupby(key)["at"].min()
    arrived = found[found["verdict"] == "arrived"]
    own = pd.MultiIndex.from_frame(arrived[["tenant_id", "schema_definition_id", "external_id"]])
    first = released.reindex(own)
    known = first.notna().to_numpy()
    assert known.any()
    assert (first[known].to_numpy() >= arrived["ended_after"][known].to_numpy()).all()


def test_wait_intervals_agree_with_a_plain_loop_over_the_lists(collected_store):
    history, expected = collected_store
    found = history.wait_intervals().set_index("pending_id").sort_index()
    expected = expected.set_index("id").sort_index()
    assert found.index.equals(expected.index)
    assert (found["last_seen"] == expected["present"]).all()
    assert (
        found["gone_by"].fillna(history.moment) == expected["absent"].fillna(history.moment)
    ).all()


@pytest.fixture
def collected_store(storm):
    history = storm[1]
    return history, wait_intervals(history)
