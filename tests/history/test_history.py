"""The facade: one moment, frames the user may change, and the measures behind it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import measures
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import FrameError
from tests.support.observations import batch, minute, observation


def test_users_may_change_frames(history):
    frame = history.pending()
    frame["external_id"] = "changed"
    del frame["batch_id"]
    assert "batch_id" in history.pending()
    assert "changed" not in set(history.pending()["external_id"])


def test_a_history_answers_from_the_moment_it_was_opened(tmp_path):
    store = reach.Store(tmp_path / "s")
    store.append(*to_tables([observation(batch("a"))], minute(0)))
    history = reach.open_history(store)
    store.append(*to_tables([observation(batch("b"), 1)], minute(1)))
    assert history.batches()["batch_id"].tolist() == ["a"]
    assert len(reach.open_history(store).batches()) == 2


@pytest.mark.parametrize(
    "as_of",
    ["2026-03-02 09:00", "2026-03-02T10:00+01:00", pd.Timestamp("2026-03-02 09:00", tz="UTC")],
)
def test_as_of_is_utc_unless_it_says_otherwise(store, as_of):
    history = reach.open_history(store, as_of=as_of)
    assert history.moment == pd.Timestamp("2026-03-02 09:00", tz="UTC")
    said = (
        "as of 2026-03-02 09:00:00 UTC, last observation at 2026-03-02 08:40:00 UTC, 20 min before>"
    )
    assert repr(history).endswith(said)
    assert history.observations()["received_at"].max() <= history.moment


def test_as_of_shows_fewer_batches_the_earlier_it_is(store):
    counts = [
        len(reach.open_history(store, as_of=f"2026-03-02 {hour:02}:00").batches())
        for hour in (5, 8, 11, 15)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 0 < counts[1] < counts[3]


@pytest.mark.parametrize("as_of", ["yesterdayish", float("nan"), "now", "12:00", 20260302, True])
def test_an_as_of_that_is_not_a_time_is_refused(store, as_of):
    with pytest.raises(ValueError, match="as_of must be a time"):
        reach.open_history(store, as_of=as_of)


def test_threads_can_share_a_history(history):
    ids = history.batches()["batch_id"].tolist()[:8]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: set(history.observations(i)["batch_id"]), ids * 3))
    assert found == [{i} for i in ids * 3]


def test_a_report_over_two_thousand_years_can_be_written(tmp_path):
    """Zero times, as some servers write them for "never"."""
    documents = [batch("a", createdAt="0001-01-01T00:00:00Z"), batch("b", createdAt="2026-01-01")]
    store = reach.Store(tmp_path / "s")
    store.append(*to_tables([observation(d) for d in documents], minute(0)))
    assert reach.open_history(store).report(tmp_path / "r.html").exists()


def test_observations_of_one_batch(history):
    batch_id = history.batches()["batch_id"][0]
    observations = history.observations(batch_id)
    assert set(observations["batch_id"]) == {batch_id}
    assert observations["sent_at"].is_monotonic_increasing


def test_the_facade_and_the_functions_give_the_same(history):
    pd.testing.assert_frame_equal(
        history.bottlenecks().drop(columns="tenant_name"),
        measures.bottlenecks(history.dependencies(), history.pending()),
    )
    longest = (
        history.wait_intervals()["expires_at"] - history.wait_intervals()["created_at"]
    ).max()
    told = {"as_of": history.moment, "longest_wait": longest}
    pd.testing.assert_frame_equal(
        history.success(by="schema_name", freq="2h"),
        measures.success(history.batches(), by="schema_name", freq="2h", **told),
    )
    waits, now = history.wait_outcomes(), history.moment
    links = history.missing_intervals()
    schemas = history.schemas().explode("references")
    declared = schemas.rename(columns={"references": "references_schema"})
    for found, expected in (
        (
            waits,
            measures.wait_outcomes(
                history.wait_intervals(), links, history.departures(), history.batches()
            ),
        ),
        (history.arrivals(), measures.arrivals(waits, links)),
        (
            history.release_rates(by="schema_name"),
            measures.release_rates(waits, by="schema_name", as_of=now),
        ),
        (history.backlog(freq="2h"), measures.backlog(waits, freq="2h", as_of=now)),
        (history.wait_times(), measures.wait_times(waits)),
        (history.survival(of="dependencies"), measures.survival(history.arrivals())),
        (history.coverage(), measures.coverage(history.observations(), as_of=now)),
        (history.choke_points(), measures.choke_points(history.dependencies(), history.pending())),
        (history.control_chart(), measures.control_chart(history.batches())),
        (history.change_point(), measures.change_point(history.batches())),
        (history.durations(), measures.durations(history.batches(), as_of=now)),
        (history.throughput(), measures.throughput(history.observations())),
        (history.stuck(), measures.stuck(history.observations(), as_of=now)),
        (history.eta(), measures.eta(history.observations(), as_of=now)),
        (history.schema_graph(), measures.schema_graph(history.dependencies(), declared)),
    ):
        pd.testing.assert_frame_equal(found.drop(columns="tenant_name", errors="ignore"), expected)
    with pytest.raises(ValueError, match="of must be 'records' or 'dependencies'"):
        history.survival(of="batches")


def test_lazy_tables_can_be_queried_directly(history):
    waiting = history.tables.pending.group_by("schema_name").agg(n=lambda t: t.count())
    assert waiting.to_pandas()["n"].sum() == len(history.pending())


def test_what_if_confirms_what_the_upload_plan_unlocks(history):
    plan = history.upload_plan(top=10)
    keys = plan[["tenant_id", "schema_definition_id", "external_id"]]
    for length in (1, 5, len(plan)):
        delivered = list(keys.head(length).itertuples(index=False, name=None))
        released = (history.what_if(delivered)["outcome"] == "released").sum()
        assert released == plan["running_total"].iloc[length - 1]
    paced = history.upload_plan(top=10, uploads_per_hour=30)
    assert (paced["deliver_at"] > history.moment).all()


def test_what_if_accepts_rows_of_bottlenecks(history):
    best = history.bottlenecks().query("is_root").iloc[0]
    key = (best["tenant_id"], best["schema_definition_id"], best["external_id"])
    table = history.what_if([key])
    assert (table["outcome"] == "released").sum() == best["unlock"]


def test_a_history_says_how_old_its_last_observation_is(tmp_path):
    """An observation answered just after the hour does not count as of that hour."""
    store = reach.Store(tmp_path / "store")
    store.append(
        *to_tables([observation(batch(waits={}), 0), observation(batch(waits={}), 20)], minute(99))
    )
    early = reach.open_history(store, as_of=minute(20))
    assert early.last_observation == pd.Timestamp(minute(0)) + pd.Timedelta(seconds=1)
    assert early.age == "last observation at 2026-03-02 06:00:01 UTC, 19 min 59 s before"
    assert early.health()["observation_age"].tolist() == [pd.Timedelta(minutes=20, seconds=-1)]
    assert "last observation 2026-03-02 06:00:01 UTC, 19 min 59 s before" in early.report(
        tmp_path / "r.html"
    ).read_text(encoding="utf-8")
    assert repr(reach.open_history(store)).endswith("last observation at 2026-03-02 06:20:01 UTC>")
    assert "no observation before" in repr(reach.open_history(store, as_of=minute(-5)))


def test_an_unknown_group_column_names_the_existing_ones(store):
    history = reach.open_history(store)
    for measure in (history.success, history.release_rates, history.control_chart):
        with pytest.raises(FrameError, match=r"found no column `tenant`; did you mean `tenant_id`"):
            measure(by="tenant")
    with pytest.raises(FrameError, match=r"There are: schema_name, status, "):
        history.success(by="nothing")


def test_a_time_column_without_times_is_named(store):
    history = reach.open_history(store)
    for measure in (history.success, history.control_chart, history.change_point):
        options = {"freq": "1h"} if measure == history.success else {}
        with pytest.raises(ValueError, match="time must be one of created_at, started_at"):
            measure(time="batch_id", **options)


def test_released_may_fail_can_be_set_once_for_the_history(store):
    told = reach.open_history(store, released_may_fail=False)
    pd.testing.assert_frame_equal(
        told.wait_outcomes(), reach.open_history(store).wait_outcomes(released_may_fail=False)
    )


@pytest.mark.parametrize("expires", ["1999-01-01T00:00:00Z", "2200-01-01T00:00:00Z"])
def test_one_odd_expiry_does_not_decide_when_cohorts_are_mature(expires, tmp_path):
    """With an expiry before its begin, success over time raised an error; with one in the far
    future, all cohorts were immature."""
    done = batch("done", createdAt=minute(0).isoformat(), completedAt=minute(5).isoformat())
    odd = batch("odd", waits={"A": "x"}, created=0)
    odd["pendingResources"][0]["expiresAt"] = expires
    later = observation(batch("late"), 60 * 24 * 3)
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([observation(done), observation(odd), later], minute(0)))
    cohorts = reach.open_history(store).success(freq="1h")
    assert cohorts["immature"].fillna(False).tolist() == [False, False]


def test_the_longest_wait_is_told_to_the_microsecond_and_of_its_moment(tmp_path):
    store = reach.Store(tmp_path / "s")
    first = batch(waits={"A": "x"}, created=0.05, expires=30.1234567)
    later = batch(waits={"A": "x", "B": "x"}, created=0.05, expires=90)
    for at, document in enumerate((first, later)):
        store.append(*to_tables([observation(document, at)], minute(at)))
    given = [minute(end) - minute(0.05) for end in (30.1234567, 90)]
    assert given[0].microseconds > 0
    assert reach.open_history(store, as_of=minute(0.5)).longest_wait == given[0]
    history = reach.open_history(store)
    assert history.longest_wait == given[1]
    assert history.report(tmp_path / "r.html").exists()
