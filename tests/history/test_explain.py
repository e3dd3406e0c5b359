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
    for row in some(shipped.pending(), 2):
        story = of_tenant(shipped.explain(row["external_id"]), row["tenant_id"])
        wait = story.values["waits"][0]
        assert wait["pending_id"] == row["pending_id"]
        assert pd.Timestamp(wait["expires_at"]) == row["expires_at"]
        if pd.isna(depth.loc[(row["tenant_id"], row["pending_id"]), "depth"]):
            assert "deadlock" in " ".join(story.sentences)
            continue
        roots = [(root["schema_name"], root["external_id"]) for root in story.values["roots"]]
        keys = [(row["tenant_id"], *root) for root in roots]
        freed = shipped.what_if(keys).query("outcome == 'released'")
        assert row["pending_id"] in set(freed["pending_id"])
        assert story.values["frees"] == len(freed)
        without = shipped.what_if(keys[1:]).query("outcome == 'released'")
        assert row["pending_id"] not in set(without["pending_id"])  # none of them is idle


def test_what_is_missing_is_told_as_bottlenecks_have_it(shipped):
    for row in some(shipped.bottlenecks().query("is_root"), 2):
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
    for row in some(over, 2):
        story = of_tenant(opened.explain(row["external_id"]), row["tenant_id"])
        [said] = [s for s in story.sentences if f"waited in batch {row['batch_id']}" in s]
        event = truth[row["pending_id"]].event
        other = {"released": "expired", "expired": "released"}[event]
        assert event in said or "nobody saw how" in said
        assert other not in said
        assert story.life[-1][1] == "listed no longer"


def test_a_failed_record_is_told_with_its_error(shipped):
    lost = shipped.lost().query("outcome == 'failed' and external_id.notna()")
    for row in some(lost, 1):
        story = of_tenant(shipped.explain(row["external_id"]), row["tenant_id"])
        said = " ".join(story.sentences)
        assert f"batch {row['batch_id']} name it: {row['error_code']}: " in said
        assert row["error_message"] in said


def test_a_batch_is_told_with_what_to_upload_for_it(shipped):
    waiting = shipped.pending().groupby("batch_id").size()
    for batch_id, size in list(waiting.items())[: count(5, 1)]:
        [story] = shipped.explain(batch_id).stories
        row = shipped.batches().set_index("batch_id").loc[batch_id]
        assert story.about == "batch"
        assert story.values["waiting"] == size == story.values["pending_records"]
        assert f"Of {row['total_records']} records {row['successful_records']} landed" in " ".join(
            story.sentences
        )
        assert len(story.uploads) == min(11, story.values["roots_count"])
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
    assert "upload things X: that frees it and 9,999 other records (of unknown schema" in said
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


LATE = counts(10, 5, 0)


def test_what_should_have_died_is_freed_only_if_it_still_waits():
    opened = history(
        observation(batch(waits={"A": "x"}, created=0, expires=60), 5),
        observation(batch("z", waits={}, progress=counts(1, 1, 0)), 500),
    )
    said = told(opened, "A")
    assert "It should have died at 2026-03-02 07:00 UTC" in said
    assert "last list of its batch, at 2026-03-02 06:05 UTC (8 h 15 min ago)" in said
    assert "If it still waits, what frees it is things x" in said


def test_what_is_on_the_way_and_should_have_died_is_said():
    document = batch(waits={"A": "B", "B": "x"}, created=0, expires={"A": 600, "B": 10})
    opened = history(observation(document, 5), observation(batch("z", waits={}), 300))
    [story] = opened.explain("A").stories
    assert "On the way things B should have died by now" in " ".join(story.sentences)
    assert story.waits_for[0].what.startswith("should have died at 2026-03-02 06:10 UTC")


def test_what_has_arrived_does_not_have_to_be_uploaded():
    opened = history(
        observation(batch(waits={"A": "x"}, created=0, expires=60), 5),
        observation(batch("c", waits={"C": "x", "D": "w"}, created=0, expires=60), 5),
        observation(batch("c", waits={"D": "w"}, created=0, expires=60, progress=LATE), 20),
    )
    assert "It has arrived, by 2026-03-02 06:20 UTC" in told(opened, "x")
    assert "has to be uploaded" not in told(opened, "x")


def test_a_pending_id_leads_to_its_record_even_when_that_is_over():
    looks = [observation(batch(waits={"A": "x", "Q": "A"}, created=0, expires=60), 5)]
    assert "1 record in turn waits for it" in told(history(*looks), "p-A")
    looks.append(observation(batch(waits={}, progress=LATE), 20))
    assert "was released" in told(history(*looks), "p-A")


def test_a_record_without_a_schema_has_its_life_and_its_past():
    document = batch(waits={"A": "x"}, created=0, expires=60)
    document["pendingResources"][0]["schemaDefinitionId"] = None
    opened = history(
        observation(document, 5), observation(batch(waits={}, progress=counts(10, 5, 0)), 20)
    )
    [story] = opened.explain("A").stories
    assert story.about == "record"
    assert [what for _, what in story.life] == [
        "listed as waiting for things x",
        "listed no longer",
    ]
    assert "was released" in " ".join(story.sentences)


def test_lists_that_are_not_complete_end_nothing():
    part = {"progress": {"totalRecords": 10, "pendingRecords": 5}}
    both = batch(waits={"A": "x", "B": "y"}, created=0, expires=60) | part
    opened = history(
        observation(both, 5), observation(batch(waits={"B": "y"}, created=0, expires=60) | part, 10)
    )
    for name in ("A", "x"):
        said = told(opened, name)
        assert "no complete list since shows whether that still holds" in said
        assert "any longer" not in said


def test_a_circle_with_a_way_out_is_no_deadlock():
    opened = history(
        observation(batch("b1", waits={"A": "B", "B": "A"}, created=0, expires=90), 5),
        observation(batch("b2", waits={"B": "y"}, created=0, expires=90), 6),
    )
    [story] = opened.explain("A").stories
    assert opened.deadlocks().empty
    assert "upload things y" in " ".join(story.sentences)
    assert "unless all of that comes" in " ".join(story.sentences)
    assert "deadlock" not in str(story.to_dict()["waits_for"])
    assert story.values["in_deadlock"] == []


def test_of_several_ways_one_is_told_and_that_there_are_others():
    opened = history(
        observation(batch("b1", waits={"A": "x"}), 5),
        observation(batch("b2", waits={"A": "y"}), 5),
        observation(batch("b3", waits={"Q": "A"}), 5),
    )
    said = told(opened, "Q")
    assert "To free it, upload things x: that frees it" in said
    assert "There are other ways, too." in said
    assert "things y" not in said


@pytest.mark.parametrize("name", ["Zoë", 'q"1', "a\\b", "日本"])
def test_failed_records_are_found_by_any_id(name):
    document = batch(waits={}, progress=counts(5, 3, 2)) | {
        "errors": {"details": [{"externalId": name, "code": "BAD"}]}
    }
    assert "name it: BAD" in told(history(observation(document, 1)), name)


def test_of_many_things_the_first_are_told_and_all_are_counted():
    looks = [observation(batch(waits={"A": "x"}), 1, tenant_id=f"t{n:02}") for n in range(30)]
    found = history(*looks).explain("A")
    assert (len(found.stories), found.count) == (20, 30)
    assert str(found).startswith("30 things are called A; these are the first 20.")


def test_what_misses_nobody_knows_what_is_said_so():
    document = batch(waits={"B": "x", "A": "B"})
    document["pendingResources"][0]["missingDependencies"] = None
    opened = history(observation(document, 1))
    assert "that waits; nobody says for what." in told(opened, "B")
    assert "no upload is known to free it" in told(opened, "A")


def test_deadlocks_are_told_in_full():
    opened = history(observation(batch(waits={"A": "A", "C": "AX"}), 1))
    assert "things A waits for itself. Upload it again without that reference." in told(opened, "A")
    assert "It needs things X, too." in told(opened, "C")
    assert "They need" not in told(opened, "X")
    assert "Some of them wait on a deadlock: things A waits for itself" in told(opened, "X")
    assert "2 of them wait on a deadlock" in told(opened, "b")


def test_other_records_are_counted_without_the_one_that_is_told(shipped):
    said = told(shipped, "TX-00825")
    count, kinds = re.search(r"frees it and (\d+) other records \((.*?)\)", said).groups()
    assert int(count) == sum(int(part.split(": ")[1]) for part in kinds.split(", "))


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
    assert "though it misses nothing" in said
    assert "no upload is known to free it" in said
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
