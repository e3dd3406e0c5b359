"""The overview: its verdict, its figures and what it says to do, in worlds of each kind."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.measures.overview.actions import actions_of
from reach_analytics.measures.overview.glance import Glance
from reach_analytics.measures.overview.overview import overview_of
from tests.support.evil import EVIL
from tests.support.observations import batch, counts, minute, observation

NOW = pd.Timestamp("2026-03-02 12:00", tz="UTC")


def health(**counted) -> pd.DataFrame:
    every = {name: 0 for name in tables.HEALTH.names if name.endswith(("batches", "records"))}
    every |= {"pending_resources": 0, "expiring_soon": 0, "overdue": 0, "expired_min": 0}
    every |= {"expired_max": 0, "batches": 4, "total_records": 40}
    return tables.HEALTH.conform(pd.DataFrame([{"tenant_id": "t", **every, **counted}]))


def glance(**known) -> Glance:
    """A moment at which all is well, but for what is said."""
    well = Glance(
        now=NOW,
        last_observation=NOW,
        since=NOW - pd.Timedelta("1D"),
        health=health(),
        success=tables.SUCCESS.empty(),
        coverage=tables.COVERAGE.empty(),
        plan=tables.UPLOAD_PLAN.empty(),
        deadlocks=tables.DEADLOCKS.empty(),
        stuck=tables.STUCK.empty(),
        changes=tables.CHANGES.empty(),
        missing=0,
        of_tenants=True,
        unreconciled=0,
        before={},
    )
    return replace(well, **known)


def plan(*frees: int, schema: str | list[str] = "contacts") -> pd.DataFrame:
    keys = [f"k{n}" for n in range(len(frees))]
    rows = {"tenant_id": "t", "schema_name": schema, "external_id": keys, "frees": frees}
    total = pd.Series(frees).cumsum()
    rows |= {"position": range(1, len(frees) + 1), "running_total": total, "block": 1}
    rows |= {"needed_by": NOW + pd.Timedelta("30min"), "guarantee": "optimal", "block_frees": 1}
    return tables.UPLOAD_PLAN.conform(pd.DataFrame(rows))


def changed(*rows: dict) -> pd.DataFrame:
    return tables.CHANGES.conform(pd.DataFrame([{"tenant_id": "t", **row} for row in rows]))


def said(**known) -> tuple[str, str]:
    overview = overview_of(glance(**known))
    return overview.severity, overview.verdict


def test_all_is_well_where_nothing_fails_and_nothing_waits():
    assert said() == ("good", "All is well. None of the 4 batches failed. Nothing waits.")


def test_nobody_can_tell_without_batches():
    severity, verdict = said(health=tables.HEALTH.empty())
    assert severity == "unknown"
    assert verdict == "Cannot tell: no batch was ever observed."


@pytest.mark.parametrize(
    ("waits", "severity"), [({"pending_resources": 3}, "unknown"), ({}, "good")]
)
def test_nobody_can_tell_what_became_of_what_waited_long_ago(waits, severity):
    """Where everything had settled, nothing can have changed since."""
    old = {"last_observation": NOW - pd.Timedelta("5h"), "health": health(**waits)}
    found, verdict = said(**old)
    assert found == severity
    told = "the last observation was 5 h before, and 3 records waited then"
    assert (told in verdict) == bool(waits)


def test_a_batch_that_failed_long_ago_is_counted_but_nothing_to_act_on():
    assert said(health=health(failed_batches=1)) == (
        "good",
        "There is nothing to do now. 1 of 4 batches failed. Nothing waits.",
    )


def test_a_batch_that_failed_since_is_urgent():
    new = changed({"about": "batches", "change": "failed", "size": 1})
    severity, _ = said(health=health(failed_batches=1), changes=new)
    [action] = actions_of(glance(health=health(failed_batches=1), changes=new)).to_dict("records")
    assert severity == "critical"
    assert action["what"] == "1 batch failed since 2026-03-01 12:00 UTC."


@pytest.mark.parametrize(
    ("waiting", "soon", "uploads", "told"),
    [
        (10, 0, [], "10 records wait."),
        (1, 1, [], "1 record waits, which dies within the hour."),
        (10, 1, [], "10 records wait, 1 of them dies within the hour."),
        (10, 10, [], "10 records wait, all of them die within the hour."),
        (10, 0, [10], "10 records wait; uploading k0 (contacts) frees all of them."),
        (10, 0, [5, 4, 1], "10 records wait; uploading 2 contacts frees 90 %."),
        (1000, 0, [1], "1,000 records wait; uploading k0 (contacts) frees less than 1 %."),
        (1000, 0, [999], "1,000 records wait; uploading k0 (contacts) frees over 99 %."),
        (100, 0, [1] * 40, "100 records wait; uploading 20 contacts frees 20 %."),
    ],
)
def test_what_waits_and_what_frees_it(waiting, soon, uploads, told):
    own = health(
        pending_resources=waiting, expiring_soon=soon, next_expiry=NOW + pd.Timedelta("9min")
    )
    severity, verdict = said(health=own, plan=plan(*uploads))
    assert verdict.replace("\N{NO-BREAK SPACE}", " ") == f"None of the 4 batches failed. {told}"
    assert severity == ("critical" if soon else "warning")


def test_many_schemas_are_counted_together():
    names = ["contacts", "locations", "orders", "orders", "products"]
    _, verdict = said(health=health(pending_resources=5), plan=plan(1, 1, 1, 1, 1, schema=names))
    assert "uploading k0 (contacts), k1 (locations) and 3 others frees all of them" in verdict


def test_lists_that_are_not_full_give_a_least_number():
    known = {"tenant_id": "t", "batches_waiting": 3, "batches_covered": 1, "batches_stale": 1}
    known |= {"batches_partial": 1, "resources_counted": 9, "resources_listed": 4}
    coverage = tables.COVERAGE.conform(pd.DataFrame([known]))
    seen = glance(coverage=coverage, health=health(pending_resources=4))
    assert "9 records wait, 4 of them listed." in overview_of(seen).verdict
    [action] = actions_of(seen).to_dict("records")
    assert action["what"].startswith("Of 2 of the 3 batches with something pending there is no")
    assert action["detail"] == "Older lists: 1 and none or a part: 1."


def test_what_is_urgent_comes_first():
    own = health(
        pending_resources=9,
        expiring_soon=2,
        overdue=1,
        next_expiry=NOW + pd.Timedelta("9min"),
        lost_records=3,
        expired_min=1,
        expired_max=2,
    )
    stuck = tables.STUCK.conform(
        pd.DataFrame(
            [
                {"tenant_id": "t", "batch_id": "b", "verdict": "stuck", "comparable": 0}
                | {"unchanged_observations": 3}
            ]
        )
    ).assign(silence=pd.Timedelta("3h"))
    rows = [
        {"tenant_id": "t", "deadlock": 1, "members": 2, "tainted": 5, "schema_name": "c"}
        | {"unlock": 5}
    ]
    deadlocks = tables.DEADLOCKS.conform(pd.DataFrame([row | {"external_id": "x"} for row in rows]))
    changes = changed(
        {"about": "records", "change": "expired", "size": 2},
        {"about": "records", "change": "unknown", "size": 1},
        {"about": "success", "change": "fell", "size": -0.4, "before": 0.9, "after": 0.5}
        | {"beyond_chance": True},
    )
    seen = glance(
        health=own, plan=plan(3), deadlocks=deadlocks, stuck=stuck, changes=changes, missing=1
    )
    found = actions_of(seen)
    assert found["about"].tolist() == [
        *("expiring", "expiring", "stuck", "deadlocks", "success", "lost")
    ]
    assert "Upload first: contacts k0." in found["detail"][0]
    assert found["what"][4] == "Success fell by more than chance for t."
    assert found["detail"][4] == "From 90.0% to 50.0%."
    assert found["detail"][5] == "1 wait more ended, and nobody saw how."
    verdict = overview_of(seen).verdict
    assert verdict.endswith("3 of 40 records were lost, 1 to 2 of them expired.")


def test_what_the_counts_leave_open_is_said():
    severity, verdict = said(unreconciled=12)
    assert severity == "unknown"
    assert "All is well" not in verdict
    assert "What became of 12 records is unknown" in verdict


def test_success_that_fell_no_more_than_chance_may_do_is_nothing_to_act_on():
    fell = {"about": "success", "change": "fell", "size": -0.1, "before": 0.9, "after": 0.8}
    for sure in (False, None):
        assert actions_of(glance(changes=changed(fell | {"beyond_chance": sure}))).empty


def test_the_demo_is_told_as_its_frames_count_it(history):
    overview = history.overview(since="3h")
    figures = overview.figures.set_index("figure")
    batches, waits = history.batches(), history.expiring()
    soon = (waits["time_left"] <= pd.Timedelta("1h")) & ~waits["overdue"]
    assert figures["value"].to_dict() == {
        "batches": len(batches),
        "failed_batches": (batches["status"] == "failure").sum(),
        "settled_fraction": history.success()["settled_fraction"][0],
        "waiting": len(waits),
        "expiring_soon": soon.sum(),
        "lost": history.lost()["records"].sum(),
        "missing": history.bottlenecks()["is_root"].sum(),
    }
    then = reach.open_history(history.location, as_of=history.moment - pd.Timedelta("3h"))
    before = then.overview().figures.set_index("figure")["value"].drop("lost")
    assert figures["before"].drop("lost").to_dict() == before.to_dict()


def test_an_overview_without_anything_earlier_compares_with_nothing(history):
    overview = history.overview()
    assert overview.figures["before"].isna().all()
    assert "changes since" not in str(overview)


def test_an_overview_is_text_html_and_json(history):
    overview = history.overview(since="3h")
    text, page = str(overview), overview._repr_html_()
    for sentence in overview.sentences:
        assert sentence in text
        assert sentence in page
    told = json.loads(json.dumps(overview.to_dict(), allow_nan=False))
    assert told["severity"] == "critical"
    assert len(told["actions"]) == len(overview.actions)


def test_hostile_text_is_escaped_in_a_notebook(evil):
    page = evil.overview()._repr_html_()
    assert "<img" not in page
    assert "<script" not in page
    assert EVIL[:9] in str(evil.overview()), "as text it stays what it is"


def test_one_store_one_settled_batch(tmp_path):
    store = reach.Store(tmp_path / "store")
    seen = observation(
        batch("b", status="success", progress=counts(10, 10, 0) | {"pendingRecords": 0})
    )
    store.append(*to_tables([seen], minute(1)))
    overview = reach.open_history(store).overview()
    assert overview.severity == "good"
    assert overview.sentences == ("All is well.", "The one batch did not fail.", "Nothing waits.")


def test_an_empty_store_tells_that_it_cannot_tell(tmp_path):
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([], minute(0)))
    overview = reach.open_history(store).overview()
    assert overview.severity == "unknown"
    assert str(overview).startswith("? Cannot tell")


def test_times_are_in_the_zone_of_the_history(history):
    local = reach.open_history(history.location, timezone="Asia/Kolkata")
    assert "As of 2026-03-02 19:30 IST" in str(local.overview())


def test_a_moment_that_is_not_earlier_is_refused(history):
    with pytest.raises(ValueError, match="since must be before"):
        history.overview(since=history.moment)


def test_what_a_part_of_a_schema_waits_for_frees_others_too_so_no_share_is_told(history):
    """The plan of such a part holds what frees records of other schemas."""
    of_schema = history.filter(schema="contacts").overview(since="3h")
    assert "frees" not in of_schema.verdict
    assert "frees" in history.filter(tenant="Pine & Co").overview(since="3h").verdict


def test_records_that_are_only_counted_wait_too(tmp_path):
    store = reach.Store(tmp_path / "store")
    seen = batch("b", progress={**counts(10, 3, 2), "pendingRecords": 5})
    store.append(*to_tables([observation(seen)], minute(1)))
    overview = reach.open_history(store).overview()
    assert "5 records wait, none of them listed." in overview.verdict
    late = reach.open_history(store, as_of=minute(600)).overview()
    assert late.severity == "unknown"
    assert "and 5 records waited then" in late.verdict


def test_only_uploads_that_come_in_time_are_named():
    late = plan(3, 2, 1)
    late["needed_by"] = [NOW - pd.Timedelta("1min"), *[NOW + pd.Timedelta("5min")] * 2]
    late.loc[2, "reason"] = "deadlock"
    own = health(pending_resources=6, expiring_soon=1, next_expiry=NOW + pd.Timedelta("5min"))
    [action] = actions_of(glance(health=own, plan=late)).to_dict("records")
    assert action["detail"].endswith("Upload first: contacts k1.")


def test_the_tenant_whose_success_fell_the_most_is_named():
    fell = {"about": "success", "change": "fell", "beyond_chance": True, "before": 0.95}
    changes = changed(
        fell | {"tenant_id": "a", "size": -0.01, "after": 0.94},
        fell | {"tenant_id": "b", "size": -0.85, "after": 0.10},
    )
    [action] = actions_of(glance(changes=changes)).to_dict("records")
    assert action["what"] == "Success fell by more than chance for a and b."
    assert action["detail"] == "Most for b, from 95.0% to 10.0%."


def test_all_is_not_well_beside_losses_or_failures():
    lost = health(lost_records=5, expired_min=5, expired_max=5)
    assert said(health=lost) == (
        "good",
        "There is nothing to do now. None of the 4 batches failed. Nothing waits. "
        "5 of 40 records were lost, all of them expired.",
    )


def test_long_names_are_shortened_in_sentences():
    rows = plan(3).assign(external_id="x" * 10_000)
    verdict = overview_of(glance(health=health(pending_resources=3), plan=rows)).verdict
    assert len(verdict) < 300


def test_by_the_clock_an_old_story_is_told_as_one(history):
    soon = history.overview(since="3h", now=history.moment + pd.Timedelta("20min"))
    assert "ago" not in soon.verdict
    late = history.overview(since="3h", now=history.moment + pd.Timedelta("5h"))
    assert late.verdict.endswith("That was 5 h ago: what waited or ran then may be over.")
    assert "ago" in history.overview().verdict, "of the demo, by the clock of this machine"
    then = reach.open_history(history.location, as_of=history.moment)
    assert "ago" not in then.overview().verdict


def test_what_ran_and_was_not_looked_at_is_never_well():
    running = health(processing_batches=1)
    fresh, old = (
        overview_of(glance(health=running, clock=NOW + pd.Timedelta(age))).severity
        for age in ("10min", "3h")
    )
    assert (fresh, old) == ("good", "unknown")
