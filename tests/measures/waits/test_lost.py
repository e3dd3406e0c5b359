"""What was lost, beside what the sandbox knows to have failed and to have expired."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import measures, tables
from tests.support.effort import some
from tests.support.histories import history, unnamed
from tests.support.observations import batch, counts, minute, observation
from tests.support.outcomes import NONE, waits

RECORD = ["batch_id", "external_id"]
NO_MORE = {"pendingRecords": 0}


@pytest.fixture(scope="module", params=some(["demo", "expiry_storm", "deadlock"], 1))
def played(request, tmp_path_factory):
    """(history, what the sandbox knows) after some passes over a scenario."""
    pytest.importorskip("starlette")
    store = reach.Store(tmp_path_factory.mktemp(request.param) / "store")
    with reach.sandbox.serve(request.param) as sandbox:
        with reach.Client(**sandbox.credentials) as client:
            for moment in sandbox.scenario.moments[3::4]:
                sandbox.advance(moment)
                reach.collect(client, store, progress=False)
        world = sandbox.world
        failed = {b.id: sum(b.failures.values()) for b in world.batches.values()}
        facts = [
            (fact.batch_id, fact.key.external_id, fact.event == "expired" or not fact.succeeded)
            for fact in world.ground_truth
            if fact.event != "waiting"
        ]
    truth = pd.DataFrame(facts, columns=[*RECORD, "is_lost"])
    return reach.open_history(store), pd.Series(failed), truth


def frames(opened: reach.History) -> tuple[pd.DataFrame, ...]:
    return opened.batches(), opened.wait_outcomes(), opened.departures(), opened.observations()


def without_details(batches: pd.DataFrame, keep: int = 0) -> pd.DataFrame:
    """The batches, whose details name only the first few that failed."""

    def cut(details: str) -> str | None:
        records = json.loads(details)["records"][:keep]
        return json.dumps({"records": records}) if records else None

    return batches.assign(error_details=batches["error_details"].map(cut, na_action="ignore"))


@pytest.mark.parametrize("keep", [0, 3, 1000])
def test_what_is_certain_and_what_is_possible_bracket_what_truly_failed(played, keep):
    opened, failed, _ = played
    batches, *others = frames(opened)
    found = measures.lost(without_details(batches, keep), *others)
    assert len(found)
    certain = found[found["certain"]].groupby("batch_id")["records"].sum()
    possible = found.groupby("batch_id")["records"].sum()
    truth = failed.reindex(batches["batch_id"], fill_value=0)
    assert (certain.reindex(truth.index, fill_value=0) <= truth).all()
    assert (possible.reindex(truth.index, fill_value=0) >= truth).all()


@pytest.mark.parametrize("keep", [0, 3, 1000])
def test_a_wait_that_is_lost_for_certain_is_lost_in_truth(played, keep):
    opened, _, truth = played
    batches, *others = frames(opened)
    outcomes = others[0]
    found = measures.lost(without_details(batches, keep), *others)
    of_waits = found[found["rule"].notna()]
    both = of_waits.merge(truth, on=RECORD, validate="many_to_one")
    assert both.loc[both["certain"], "is_lost"].all()
    over = outcomes[outcomes["departure"].notna()].merge(truth[truth["is_lost"]], on=RECORD)
    listed = pd.MultiIndex.from_frame(found[RECORD])
    expired = over[over["verdict"].isin(["expired", "unknown"])]
    assert pd.MultiIndex.from_frame(expired[RECORD]).isin(listed).all()


def test_details_that_name_all_leave_nothing_uncertain(played):
    opened, failed, _ = played
    found = opened.lost()
    named = opened.batches()["error_details"].map(
        lambda text: len(json.loads(text)["records"]), na_action="ignore"
    )
    total = opened.batches()["failed_records"]
    whole = opened.batches()["batch_id"][(named.fillna(0) == total).to_numpy(bool)]
    assert len(whole) > 2
    rows = found[found["batch_id"].isin(whole)]
    assert rows["certain"].all()
    assert rows["external_id"].notna().all()
    assert rows["records"].sum() == failed[whole].sum()


def test_a_history_says_the_same_as_the_measure_of_its_frames(played):
    opened = played[0]
    found = unnamed(opened.lost())
    names = ["cause", "root_schema_name"]  # of which a history knows more names
    ours = measures.lost(*frames(opened))
    pd.testing.assert_frame_equal(found.drop(columns=names), ours.drop(columns=names))


def test_a_part_has_the_rows_of_the_whole_that_are_its_own(played):
    opened = played[0]
    whole = opened.lost()
    own = ["tenant_id", "batch_id", "pending_id", "external_id", "outcome"]
    for name in whole["tenant_name"].unique():
        pd.testing.assert_frame_equal(
            opened.filter(tenant=name).lost().sort_values(own, ignore_index=True),
            whole[whole["tenant_name"] == name].sort_values(own, ignore_index=True),
        )
    late = opened.filter(since="2h")
    found = late.lost()
    batches = set(late.batches()["batch_id"])
    assert found.loc[found["rule"].isna(), "batch_id"].isin(batches).all()
    ended = opened.wait_intervals().query("gone_by >= @late.tables.part.since")
    waits = found[found["rule"].notna()]
    assert waits["pending_id"].isin(ended["pending_id"]).all()
    assert len(waits) == whole["pending_id"].isin(ended["pending_id"]).sum()


def lost(*observations) -> pd.DataFrame:
    return history(*observations).lost()


def details(document: dict, *records, **errors) -> dict:
    return document | {"errors": {"details": list(records), **errors}}


def counted(document: dict, total: int, good: int, bad: int) -> dict:
    waiting = len(document["pendingResources"])
    return document | {"progress": counts(total, good, bad) | {"pendingRecords": waiting}}


def test_of_an_unknown_one_that_the_details_name_the_loss_is_certain():
    error = {"externalId": "A", "code": "BAD", "message": "no such contact"}
    found = lost(
        observation(counted(waits(B="x"), 11, 4, 5), 50),
        observation(details(counted(NONE, 11, 5, 6), error), 70),
    )
    told = found.set_index(found["external_id"].fillna("the others"))
    names = ["outcome", "certain", "records"]
    assert told[names].T.to_dict("list") == {
        "the others": ["failed", True, 5],
        "A": ["failed", True, 1],
        "B": ["unknown", False, 1],
    }
    assert told.loc["A", "cause"] == "BAD: no such contact"
    assert told.loc["B", "cause"] == "waited for things x"
    moments = told.loc["A", ["lost_after", "lost_by"]].tolist()
    assert moments == [minute(50), minute(60)]


def test_an_object_within_a_record_is_none_of_its_own():
    error = {"externalId": "B", "code": "DEP", "missing": [{"externalId": "x"}]}
    found = lost(
        observation(counted(waits(B="x"), 5, 3, 0), 50),
        observation(details(counted(NONE, 5, 3, 2), error), 70),
    )
    assert set(found["external_id"]) == {"A", "B"}
    assert found.set_index("external_id")["certain"].to_dict() == {"A": False, "B": True}


def test_more_names_than_losses_are_not_certain():
    names = [{"externalId": one} for one in "ABC"]
    for document in (counted(NONE, 5, 5, 0), counted(NONE, 3, 1, 2), counted(NONE, 5, 9, 2)):
        found = lost(observation(details(document, *names), 70))
        assert found.loc[found["external_id"].notna(), "certain"].tolist() == [False] * 3
    assert lost(observation(details(counted(NONE, 3, 0, 3), *names), 70))["certain"].all()


def test_a_record_that_still_waits_is_not_lost_by_a_name():
    two = batch(waits={"A": "x", "B": "y"}, created=0, expires={"A": 600, "B": 60})
    one = batch(waits={"A": "x"}, created=0, expires=600)
    error = {"externalId": "A", "code": "MISSING"}
    found = lost(
        observation(counted(two, 5, 3, 0), 50),
        observation(details(counted(one, 5, 3, 1), error), 70),
    )
    rows = found.set_index("external_id")
    assert not rows.loc["A", "certain"]
    assert "B" in rows.index


def test_an_error_from_before_the_end_of_a_wait_does_not_settle_it():
    error = {"externalId": "A", "code": "BAD"}
    found = lost(
        observation(details(counted(waits(B="x"), 6, 3, 1), error), 50),
        observation(details(counted(NONE, 6, 4, 2), error), 70),
    )
    assert (found.loc[found["rule"].notna(), "outcome"] == "unknown").all()
    assert not found.loc[found["rule"].notna(), "certain"].any()


def test_a_refused_record_was_lost_by_when_its_error_was_first_seen():
    document = details(counted(NONE, 5, 4, 1), {"externalId": "A", "code": "BAD"})
    [row] = lost(observation(document, 5), observation(document, 500)).to_dict("records")
    assert row["lost_by"] == minute(5) + pd.Timedelta("1s")


def test_counts_that_are_missing_hide_no_loss():
    part = {"totalRecords": 10, "processedRecords": 10, "successfulRecords": 4}
    for document, records in (
        ({"status": "partial_success", "progress": part}, 6),
        ({"status": "failure", "progress": {"totalRecords": 7}}, 7),
        ({"status": "failure", "progress": counts(7, 0, 0, 0) | NO_MORE}, 7),
    ):
        [row] = lost(observation({"batchId": "b", **document}, 1)).to_dict("records")
        assert (row["outcome"], row["certain"], row["records"]) == ("failed", False, records)


def test_two_waits_of_one_id_do_not_both_fail_by_one_error():
    document = waits()
    twice = document | {
        "pendingResources": [
            one | {"id": id} for one in document["pendingResources"] for id in ("p1", "p2")
        ]
    }
    error = {"externalId": "A", "code": "BAD"}
    found = lost(
        observation(counted(twice, 6, 4, 0), 50),
        observation(details(counted(NONE, 6, 5, 1), error), 70),
    )
    assert found.loc[found["certain"], "records"].sum() == 1
    assert (found.loc[found["rule"].notna(), "outcome"] == "unknown").all()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"externalId": "A", "message": "m"}, ("A", None, "m")),
        ({"external_id": 7, "error": {"code": "C", "message": "m"}}, ("7", "C", "m")),
        (
            {"resourceExternalId": "A", "errors": [{"errorCode": "C"}, {"code": "D"}]},
            ("A", "C", None),
        ),
        ({"ExternalID": "A", "reason": "r", "type": "T"}, ("A", "T", "r")),
        ({"externalId": "\ud800", "detail": "plain words"}, ("?", None, "plain words")),
        ({"externalId": True, "code": "C"}, None),
        ({"externalId": "  ", "code": "C"}, None),
        ({"id": "A", "code": "C"}, None),
    ],
)
def test_records_are_found_in_details_of_any_shape(record, said):
    document = batch(progress=counts(5, 4, 1) | NO_MORE) | {
        "errors": {"details": {"any": [{"x": [record]}]}}
    }
    own = document | {"pendingResources": []}
    frame = tables.BATCHES.conform(
        history(observation(own, 1)).batches().assign(error_details=json.dumps([record]))
    )
    found = measures.lost(frame, tables.WAIT_OUTCOMES.empty())
    names = ["external_id", "error_code", "error_message"]
    told = [tuple(None if pd.isna(v) else v for v in row) for row in found[names].to_numpy()]
    assert told == [said or (None, None, None)]
    assert found["records"].tolist() == [1]


@pytest.mark.parametrize(
    "text", ["{", "null", "[]", "7", '"x"', "[" * 100_000, '{"externalId": {"externalId": []}}']
)
def test_details_that_name_nobody_hide_nothing(text):
    document = batch(progress=counts(5, 4, 1) | NO_MORE) | {"pendingResources": []}
    frame = history(observation(document, 1)).batches().assign(error_details=text)
    found = measures.lost(frame, tables.WAIT_OUTCOMES.empty())
    assert found[["outcome", "certain", "records"]].values.tolist() == [["failed", True, 1]]


def test_a_batch_that_failed_without_counts_is_a_row_without_a_number():
    document = {"batchId": "b", "status": "failure", "errors": {"message": "unreadable file"}}
    found = lost(observation(document, 1))
    assert found[["outcome", "certain", "cause"]].values.tolist() == [
        ["failed", True, "unreadable file"]
    ]
    assert found["records"].isna().all()


def test_counts_that_contradict_each_other_are_not_certain():
    document = batch(progress=counts(5, 9, 3)) | {"pendingResources": []}
    found = lost(observation(document, 1))
    assert found[["outcome", "certain", "records"]].values.tolist() == [["failed", False, 3]]


def test_nothing_lost_is_a_frame_without_rows():
    found = lost(observation(batch(progress=counts(5, 5, 0), waits={}), 1))
    assert found.empty
    assert unnamed(found).columns.tolist() == tables.LOST.names
    assert measures.lost(tables.BATCHES.empty(), tables.WAIT_OUTCOMES.empty()).empty
