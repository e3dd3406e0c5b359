"""The facade: one moment, frames that are the user's own, and the measures behind it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import measures
from reach_analytics.collector.observe import to_tables
from tests.looks import batch, look, minute


def test_frames_are_the_user_s_to_change(history):
    frame = history.pending()
    frame["resource_external_id"] = "changed"
    del frame["batch_id"]
    assert "batch_id" in history.pending()
    assert "changed" not in set(history.pending()["resource_external_id"])


def test_a_history_answers_from_the_moment_it_was_opened(tmp_path):
    store = reach.Store(tmp_path / "s")
    store.append(*to_tables([look(batch("a"))], minute(0)))
    history = reach.open_history(store)
    store.append(*to_tables([look(batch("b"), 1)], minute(1)))
    assert history.batches()["batch_id"].tolist() == ["a"]
    assert len(reach.open_history(store).batches()) == 2


@pytest.mark.parametrize(
    "as_of",
    ["2026-03-02 09:00", "2026-03-02T10:00+01:00", pd.Timestamp("2026-03-02 09:00", tz="UTC")],
)
def test_as_of_is_utc_unless_it_says_otherwise(store, as_of):
    history = reach.open_history(store, as_of=as_of)
    assert history.moment == pd.Timestamp("2026-03-02 09:00", tz="UTC")
    assert repr(history).endswith("as of 2026-03-02 09:00:00 UTC>")
    assert history.looks()["received_at"].max() <= history.moment


def test_as_of_shows_fewer_batches_the_earlier_it_is(store):
    counts = [
        len(reach.open_history(store, as_of=f"2026-03-02 {hour:02}:00").batches())
        for hour in (5, 8, 11, 15)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 0 < counts[1] < counts[3]


@pytest.mark.parametrize("as_of", ["yesterdayish", float("nan"), "now", "12:00", 20260302, True])
def test_as_of_that_is_no_time_is_refused(store, as_of):
    with pytest.raises(ValueError, match="as_of must be a time"):
        reach.open_history(store, as_of=as_of)


def test_threads_can_ask_one_history(history):
    ids = history.batches()["batch_id"].tolist()[:8]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: set(history.looks(i)["batch_id"]), ids * 3))
    assert found == [{i} for i in ids * 3]


def test_a_report_over_two_thousand_years_can_be_written(tmp_path):
    """Zero times, as some servers write them for "never"."""
    documents = [batch("a", createdAt="0001-01-01T00:00:00Z"), batch("b", createdAt="2026-01-01")]
    store = reach.Store(tmp_path / "s")
    store.append(*to_tables([look(d) for d in documents], minute(0)))
    assert reach.open_history(store).report(tmp_path / "r.html").exists()


def test_looks_of_one_batch(history):
    batch_id = history.batches()["batch_id"][0]
    looks = history.looks(batch_id)
    assert set(looks["batch_id"]) == {batch_id}
    assert looks["sent_at"].is_monotonic_increasing


def test_the_facade_and_the_functions_give_the_same(history):
    pd.testing.assert_frame_equal(
        history.bottlenecks(), measures.bottlenecks(history.dependencies(), history.pending())
    )
    longest = (history.spells()["expires_at"] - history.spells()["created_at"]).max()
    told = {"as_of": history.moment, "longest_wait": longest}
    pd.testing.assert_frame_equal(
        history.success(by="schema_name", freq="2h"),
        measures.success(history.batches(), by="schema_name", freq="2h", **told),
    )
    waits, now = history.waiting(), history.moment
    links = history.spell_dependencies()
    for found, expected in (
        (waits, measures.waiting(history.spells(), links)),
        (history.arrivals(), measures.arrivals(waits, links)),
        (history.outcomes("schema_name"), measures.outcomes(waits, by="schema_name", as_of=now)),
        (history.backlog("2h"), measures.backlog(waits, freq="2h", as_of=now)),
        (history.wait_times(), measures.wait_times(waits)),
        (history.survival(of="dependencies"), measures.survival(history.arrivals())),
        (history.coverage(), measures.coverage(history.looks(), as_of=now)),
        (history.choke_points(), measures.choke_points(history.dependencies(), history.pending())),
        (history.success_chart(), measures.success_chart(history.batches())),
        (history.change_point(), measures.change_point(history.batches())),
        (history.durations(), measures.durations(history.batches(), as_of=now)),
        (history.throughput(), measures.throughput(history.looks())),
        (history.stuck(), measures.stuck(history.looks(), as_of=now)),
        (history.eta(), measures.eta(history.looks(), as_of=now)),
        (history.schema_graph(), measures.schema_graph(history.dependencies())),
    ):
        pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(ValueError, match="of must be 'records' or 'dependencies'"):
        history.survival(of="batches")


def test_lazy_tables_can_be_asked_directly(history):
    waiting = history.tables.pending.group_by("schema_name").agg(n=lambda t: t.count())
    assert waiting.to_pandas()["n"].sum() == len(history.pending())


def test_the_upload_plan_frees_what_it_says_as_what_if_tells(history):
    plan = history.upload_plan(top=10)
    keys = plan[["tenant_id", "schema_definition_id", "external_id"]]
    for length in (1, 5, len(plan)):
        delivered = list(keys.head(length).itertuples(index=False, name=None))
        released = (history.what_if(delivered)["outcome"] == "released").sum()
        assert released == plan["running_total"].iloc[length - 1]
    paced = history.upload_plan(top=10, uploads_per_hour=30)
    assert (paced["deliver_at"] > history.moment).all()


def test_what_if_takes_what_bottlenecks_gives(history):
    best = history.bottlenecks().query("is_root").iloc[0]
    key = (best["tenant_id"], best["schema_definition_id"], best["external_id"])
    table = history.what_if([key])
    assert (table["outcome"] == "released").sum() == best["unlock"]
