"""Stories: beside the sandbox's log, beside the measures, and of odd worlds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics.errors import UnknownNameError
from tests.support.effort import count
from tests.support.histories import history
from tests.support.observations import batch, counts, minute, observation

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
EVIL = "<img src=x onerror=alert(1)>\x1b[2J"


@pytest.fixture(scope="module")
def shipped() -> reach.History:
    return reach.open_history(SHIPPED)


def told(opened: reach.History, name: str) -> str:
    [story] = opened.explain(name).stories
    return " ".join(story.sentences)


def some(frame: pd.DataFrame, few: int) -> list[dict]:
    return frame.sample(min(count(40, few), len(frame)), random_state=1).to_dict("records")


def of_tenant(found, tenant_id: str):
    [story] = [one for one in found.stories if one.values["tenant_id"] == tenant_id]
    return story


def test_what_a_waiting_record_is_freed_by_frees_it_and_so_many(shipped):
    depth = shipped.depth().set_index(["tenant_id", "pending_id"])
    for row in some(shipped.pending(), 6):
        story = of_tenant(shipped.explain(row["external_id"]), row["tenant_id"])
        wait = story.values["waits"][0]
        assert wait["pending_id"] == row["pending_id"]
        assert pd.Timestamp(wait["expires_at"]) == row["expires_at"]
        if pd.isna(depth.loc[(row["tenant_id"], row["pending_id"]), "depth"]):
            assert "deadlock" in " ".join(story.sentences)
            continue
        keys = [(row["tenant_id"], *name.split(" ", 1)) for name in story.values["roots"]]
        freed = shipped.what_if(keys).query("outcome == 'released'")
        assert row["pending_id"] in set(freed["pending_id"])
        assert story.values["frees"] == len(freed)
        without = shipped.what_if(keys[1:]).query("outcome == 'released'")
        assert row["pending_id"] not in set(without["pending_id"])  # none of them is idle


def test_what_is_missing_is_told_as_bottlenecks_have_it(shipped):
    for row in some(shipped.bottlenecks().query("is_root"), 6):
        story = of_tenant(shipped.explain(row["external_id"]), row["tenant_id"])
        assert story.values["waited_for_by"] == row["blocked"]
        said = " ".join(story.sentences)
        assert "it has to be uploaded" in said
        plural = "" if row["direct"] == 1 else "s"
        assert f"{row['direct']:,} record{plural} name" in said
        assert ("Uploading it frees" in said) == (row["unlock"] > 0)
        if row["unlock"]:
            assert f"Uploading it frees {row['unlock']:,} record" in said


def test_how_a_wait_ended_is_true(demo):
    sandbox, store = demo
    opened = reach.open_history(store)
    truth = {
        fact.pending_id: fact for fact in sandbox.world.ground_truth if fact.event != "waiting"
    }
    over = opened.wait_outcomes().query("verdict in ['released', 'expired']")
    for row in some(over, 4):
        story = of_tenant(opened.explain(row["external_id"]), row["tenant_id"])
        [said] = [s for s in story.sentences if f"waited in batch {row['batch_id']}" in s]
        event = truth[row["pending_id"]].event
        other = {"released": "expired", "expired": "released"}[event]
        assert event in said or "nobody saw how" in said
        assert other not in said
        assert story.life[-1][1] == "listed no longer"


def test_a_failed_record_is_told_with_its_error(shipped):
    lost = shipped.lost().query("outcome == 'failed' and external_id.notna()")
    for row in some(lost, 3):
        story = of_tenant(shipped.explain(row["external_id"]), row["tenant_id"])
        assert f"says that it failed: {row['error_code']}: {row['error_message']}" in " ".join(
            story.sentences
        )


def test_a_batch_is_told_with_what_to_upload_for_it(shipped):
    waiting = shipped.pending().groupby("batch_id").size()
    for batch_id, size in list(waiting.items())[:3]:
        [story] = shipped.explain(batch_id).stories
        row = shipped.batches().set_index("batch_id").loc[batch_id]
        assert story.about == "batch"
        assert story.values["waiting"] == size == story.values["pending_records"]
        assert f"Of {row['total_records']} records {row['successful_records']} landed" in " ".join(
            story.sentences
        )
        assert len(story.uploads) == min(10, story.values["roots_count"])
        assert story.life[-1][1].endswith(f"{size} wait")


def chain(length: int, **others: str) -> dict:
    """N0 waits for N1, which waits for N2, and so on; the last for X."""
    links = {f"N{n}": f"N{n + 1}" for n in range(length - 1)}
    document = batch(waits=dict.fromkeys([*links, f"N{length - 1}", *others], ""))
    for one in document["pendingResources"]:
        name = one["resourceExternalId"]
        key = (links | {f"N{length - 1}": "X"} | others)[name]
        one["missingDependencies"] = [
            {"schemaDefinitionId": "s", "externalId": key, "schemaName": "things"}
        ]
    return document


def test_a_chain_of_ten_thousand_is_told_in_a_few_lines():
    opened = history(observation(chain(10_000), 1))
    [story] = opened.explain("N0").stories
    assert [step.distance for step in story.waits_for] == [*range(1, 13), None, 9998, 9999, 10_000]
    assert story.waits_for[12].name == "… 9,985 more …"
    assert (story.waits_for[-1].name, story.waits_for[-1].what) == (
        "things X",
        "has to be uploaded",
    )
    said = " ".join(story.sentences)
    assert "upload things X: that frees it and 9,999 other records" in said
    assert len(str(opened.explain("N0")).splitlines()) < 40
    assert "in a chain" in told(opened, "X")


def test_a_deadlock_is_told_to_its_members_and_to_what_waits_on_it():
    opened = history(observation(batch(waits={"A": "B", "B": "C", "C": "A", "D": "A"}), 1))
    inside, behind = told(opened, "A"), told(opened, "D")
    for said in (inside, behind):
        assert "things A, things B and things C wait for each other" in said
        assert "Upload one of these again without its reference" in said
        assert "unless all of that comes" not in said
    assert "It is in a deadlock" in inside
    assert "It waits on a deadlock" in behind
    [story] = opened.explain("D").stories
    assert story.values["frees"] == 0
    assert all("in a deadlock" in step.what for step in story.waits_for)


def test_all_things_of_one_name_are_told_and_none_is_guessed():
    opened = history(
        observation(batch("b1", waits={"A": "x"}), 1, tenant_id="t"),
        observation(batch("b2", waits={"A": "y"}), 1, tenant_id="u"),
        observation(batch("A", waits={}), 1, tenant_id="u"),
    )
    found = opened.explain("A")
    assert [story.about for story in found.stories] == ["record", "record", "batch"]
    assert str(found).startswith("3 things are called A.")
    assert len(opened.filter(tenant="u").explain("A").stories) == 2


def test_as_of_a_moment_only_what_was_known_then_is_told():
    looks = [
        observation(batch(waits={"A": "x"}, created=0, expires=90), 10),
        observation(batch(waits={}, progress=counts(10, 5, 0)), 20),
    ]
    assert "and was released between 2026-03-02 06:10 UTC and" in told(history(*looks), "A")
    then = told(history(*looks, as_of=minute(15)), "A")
    assert "that waits since 2026-03-02 06:00 UTC" in then
    assert "released" not in then
    with pytest.raises(UnknownNameError):
        history(*looks, as_of=minute(5)).explain("A")


def test_a_record_that_waits_again_has_both_its_waits_told():
    def look(at: float, **waits) -> object:
        return observation(batch(waits=waits, created=at - 1, expires=at + 200), at)

    first = batch("b", waits={"A": "x"}, created=0, expires=500)
    again = batch("c", waits={"A": "y"}, created=90, expires=600)
    opened = history(
        observation(first, 10), observation(batch("b", waits={}), 60), observation(again, 100)
    )
    said = told(opened, "A")
    assert "A record of batch c that waits" in said
    assert "It waited in batch b" in said


def test_hostile_names_neither_run_nor_move_a_cursor():
    document = batch(waits={EVIL: EVIL}, schemaName=EVIL, errors={"message": EVIL})
    document["pendingResources"][0]["missingDependencies"][0]["externalId"] = "\u202eX" + EVIL
    opened = history(observation(document, 1, tenant_id=EVIL))
    for name in (EVIL, "\u202eX" + EVIL, "b"):
        found = opened.explain(name)
        page = found._repr_html_()
        assert "<img" not in page
        assert set(re.findall(r"</?(\w+)", page)) <= {
            *("div", "h4", "p", "table", "caption", "tbody", "tr", "td")
        }
        assert not [c for c in str(found) if not (c.isprintable() or c == "\n")]
        assert json.loads(json.dumps(found.to_dict()))["name"] == name


def test_names_that_nothing_has_are_an_error(shipped):
    for name in ("nope", "TX-0082", "tx-00825", "'; DROP TABLE x; --", "VALIDATION_ERROR"):
        with pytest.raises(UnknownNameError, match="nothing that was observed is called"):
            shipped.explain(name)
    for wrong in ("", 7, None):
        with pytest.raises(TypeError, match="explain takes an id as text"):
            shipped.explain(wrong)


def test_lists_without_ids_keys_or_times_are_told_as_far_as_they_go():
    document = batch(waits={"A": "x"})
    [one] = document["pendingResources"]
    bare = document | {"pendingResources": [{"resourceExternalId": "A", "missingDependencies": []}]}
    for listed in (one | {"missingDependencies": None}, one | {"schemaDefinitionId": None}):
        assert "A record of batch b that waits" in told(
            history(observation(document | {"pendingResources": [listed]}, 1)), "A"
        )
    said = told(history(observation(bare, 1)), "A")
    assert "nothing is known to be missing" in said
    assert "Nobody said when its wait ends" in said


def test_a_long_life_is_told_with_its_middle_left_out():
    looks = []
    for n in range(40):
        own = batch(waits={"A": "x" if n % 2 else "y"}, created=0, expires=999)
        looks.append(observation(own, n + 1))
    [story] = history(*looks).explain("A").stories
    assert len(story.life) == 15
    assert story.life[8][1] == "… 26 more …"
    assert np.all(np.diff([at.value for at, _ in story.life]) >= 0)
