"""Collection health: counted by hand, by a plain loop, and from a store."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import FrameError
from reach_analytics.history import History
from reach_analytics.measures import collection_health
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import LIST
from tests.support.effort import examples
from tests.support.folding import folded
from tests.support.histories import history, unnamed
from tests.support.observations import batch, minute, observation

MINUTE = pd.Timedelta(minutes=1)
RUNNING, OVER = {"status": "processing"}, {"status": "success"}
ENDED = {"success", "partial_success", "failure"}
TOLD = tables.COLLECTION_HEALTH.names


def counted(processed: int = 0, pending: int = 0, **fields) -> dict:
    progress = {"totalRecords": 9, "processedRecords": processed, "pendingRecords": pending}
    return batch(progress=progress, **{**RUNNING, **fields})


def health(*observations, **options) -> pd.Series:
    [(_, row)] = by_observations(*observations, **options).iterrows()
    return row


def by_observations(*observations, **options) -> pd.DataFrame:
    """Without the slow columns about waits."""
    return collection_health(history(*observations).observation_log(), **options)


def minutes(*lengths: float) -> list[pd.Timedelta]:
    return [pd.Timedelta(minutes=length) for length in lengths]


@pytest.mark.parametrize("scope", ["detail", LIST])
def test_intervals_of_10_10_and_40_minutes_make_the_state_15_minutes_old(scope):
    row = health(*[observation(counted(), at, scope=scope) for at in (0, 10, 20, 60)])
    found = row[["staleness_mean", "staleness_p50", "staleness_p95", "longest_gap"]]
    assert found.tolist() == minutes(15, 10, 37, 40)
    assert (row["distances"], row["gaps"]) == (3, 1)


def test_longer_than_the_limit_is_a_gap():
    observations = [observation(counted(), at) for at in (0, 10, 20, 60)]
    assert [health(*observations, gap=g)["gaps"] for g in ("40min", "39min", "10min", "9min")] == [
        *(0, 1, 1, 3)
    ]


def test_staleness_as_a_part_of_the_batch_s_own_age():
    """One interval of 10 min, 10 min after creation: at 9.5 min, 9.5 / 19.5 of its age."""
    created = {"createdAt": minute(-10).isoformat()}
    row = health(observation(counted(**created), 0), observation(counted(**created), 10))
    assert row["staleness_p95_fraction"] == pytest.approx(9.5 / 19.5)


def test_without_a_creation_time_a_batch_is_as_old_as_its_first_observation():
    assert (
        health(observation(counted(), 0), observation(counted(), 10))["staleness_p95_fraction"] == 1
    )


def test_a_change_in_a_listing_and_then_in_the_batch_itself_counts_once():
    one, two = counted(1), counted(2)
    row = health(
        *(
            observation(one, 0, scope=LIST),
            observation(one, 1),
            observation(two, 10, scope=LIST),
            observation(two, 11),
        ),
        *(observation(two, 20), observation(None, 30, batch_id="b")),
    )
    assert (row["observations"], row["failed_observations"], row["detail_observations"]) == (
        6,
        1,
        4,
    )
    assert (row["requests"], row["changes"], row["requests_per_change"]) == (6, 2, 3)
    assert row["unchanged_fraction"] == 3 / 5


def test_a_change_of_only_the_pending_list_counts_when_the_batch_itself_shows_it():
    first, other = batch(waits={"A": "x"}), batch(waits={"B": "x"})
    listed = batch(progress={"totalRecords": 10, "pendingRecords": 1})
    observations = [
        observation(first, 0),
        observation(listed, 5, scope=LIST),
        observation(other, 10),
        observation(other, 20),
    ]
    assert health(*observations)["changes"] == 2
    counts = batch(progress={"totalRecords": 10, "pendingRecords": 2})
    observations.insert(2, observation(counts, 6, scope=LIST))  # and back by the next observation
    assert health(*observations)["changes"] == 3


def test_a_listing_is_one_request_and_single_observations_are_one_each():
    page = [observation(batch(name), 0, scope=LIST) for name in "abc"]
    other = observation(batch("a"), 0, scope=LIST, tenant_id="u")
    row = health(
        *page,
        other,
        observation(batch("a"), 1),
        observation(batch("b"), 1),
        observation(batch("a"), 2),
    )
    assert (row["observations"], row["requests"], row["batches"]) == (7, 5, 4)


def test_a_finished_batch_does_not_grow_stale():
    over = counted(9, **OVER)
    row = health(observation(counted(), 0), observation(over, 10), observation(over, 500))
    assert (row["distances"], row["longest_gap"]) == (1, 10 * MINUTE)
    waits = counted(9, pending=1, **OVER)
    assert health(observation(waits, 0), observation(waits, 10))["distances"] == 1
    assert health(observation(over, 0), observation(over, 10))[TOLD[9:12]].isna().all()


def test_a_listing_does_not_refresh_a_waiting_batch_until_nothing_waits():
    waits, over = counted(9, pending=1, **OVER), counted(9, **OVER)
    observations = [
        observation(waits, 0),
        observation(waits, 5, scope=LIST),
        observation(waits, 20),
    ]
    assert health(*observations)["longest_gap"] == 20 * MINUTE
    assert (
        health(*observations, observation(over, 30, scope=LIST), observation(over, 90))[
            "longest_gap"
        ]
        == 20 * MINUTE
    )


def test_the_first_listing_that_shows_a_wait_starts_an_interval():
    waits = counted(9, pending=1, **OVER)
    row = health(
        *(
            observation(counted(), 0),
            observation(waits, 5, scope=LIST),
            observation(waits, 6, scope=LIST),
        ),
        observation(waits, 25),
    )
    assert (row["distances"], row["longest_gap"]) == (2, 20 * MINUTE)


def test_an_interval_belongs_to_the_bucket_of_its_end_and_every_bucket_has_a_row():
    observations = [observation(counted(), at) for at in (0, 50, 250)]
    found = by_observations(*observations, freq="1h")
    assert found["bucket"].tolist() == [minute(60 * hour) for hour in range(5)]
    assert found["observations"].tolist() == [2, 0, 0, 0, 1]
    assert found["longest_gap"].tolist()[::4] == minutes(50, 200)
    assert found["staleness_mean"].notna().tolist() == [True, False, False, False, True]
    assert found["unchanged_fraction"].iloc[1:4].isna().all()


def test_groups_have_their_own_buckets_only_and_counts_add_up():
    observations = [
        *(observation(counted(), at, tenant_id="t") for at in (0, 130)),
        *(observation(counted(), at, tenant_id="u") for at in (60, 70, 75)),
    ]
    found = by_observations(*observations, freq="1h", by="tenant_id")
    assert found["tenant_id"].tolist() == ["t"] * 3 + ["u"]
    assert found["observations"].tolist() == [1, 0, 1, 3]
    assert found["distances"].sum() == health(*observations)["distances"] == 3


def test_ends_of_waits_are_bracketed_and_some_stay_unknown():
    waits = batch(waits={"A": "x", "B": "y"}, created=-5, expires={"A": 60, "B": 15})
    seen = history(observation(waits, 0), observation(waits, 10), observation(batch(waits={}), 30))
    [(_, row)] = seen.collection_health().iterrows()
    verdicts = seen.wait_outcomes()["verdict"].tolist()
    assert (row["brackets"], row["ended_waits"]) == (2, 2)
    assert row["bracket_p50"] == row["bracket_p95"] == 20 * MINUTE + pd.Timedelta("1s")
    assert row["unknown_waits"] == verdicts.count("unknown") == 1
    assert row["unknown_fraction"] == 0.5
    by_run = seen.collection_health(by="run_id")
    assert (
        by_run[["brackets", "bracket_p50", "ended_waits", "unknown_fraction"]].isna().all(axis=None)
    )
    hours = seen.collection_health(freq="1h", by="tenant_id")
    assert hours["brackets"].sum() == hours["ended_waits"].sum() == 2


def test_without_waits_their_columns_are_null():
    observation_log = history(
        observation(batch(waits={"A": "x"}), 0), observation(batch(waits={}), 9)
    ).observation_log()
    row = collection_health(observation_log).iloc[0]
    assert row[TOLD[-6:]].isna().all()


def test_a_single_observation_and_failed_observations_only():
    row = health(observation(counted(), 0))
    assert (row["observations"], row["changes"], row["requests_per_change"]) == (1, 1, 1)
    assert row[TOLD[9:13]].isna().all()
    [(_, full)] = history(observation(counted(), 0)).collection_health().iterrows()
    assert (full["brackets"], full["unknown_waits"], full["gaps"]) == (0, 0, 0)
    row = health(observation(None, 0, batch_id="b"))
    assert (row["observations"], row["failed_observations"], row["changes"], row["batches"]) == (
        1,
        1,
        0,
        1,
    )
    assert row[["requests_per_change", "unchanged_fraction"]].isna().all()


@pytest.mark.parametrize("options", [{}, {"by": "tenant_id"}, {"freq": "1h", "by": ["run_id"]}])
def test_empty_in_empty_out(options):
    found = history().collection_health(**options)
    assert len(found) == 0
    by_tenant = options.get("by") == "tenant_id"
    names = ["tenant_name", "tenant_id"] if by_tenant else options.get("by", [])
    assert found.columns.tolist() == [*names, *(["bucket"] if "freq" in options else []), *TOLD]
    expected = tables.COLLECTION_HEALTH.empty().dtypes
    pd.testing.assert_series_equal(found[TOLD].dtypes, expected)


def test_dtypes_are_the_documented_ones():
    found = history(observation(counted(), 0), observation(counted(), 70)).collection_health(
        freq="1h", by="run_id"
    )
    pd.testing.assert_series_equal(found[TOLD].dtypes, tables.COLLECTION_HEALTH.empty().dtypes)
    assert found["run_id"].dtype == "str"


def test_odd_arguments_are_refused():
    observation_log = tables.OBSERVATION_LOG.empty()
    with pytest.raises(FrameError, match=r"pass history\.observation_log\(\)"):
        collection_health(pd.DataFrame({"x": [1]}))
    with pytest.raises(TypeError, match="takes a pandas DataFrame"):
        collection_health([])
    with pytest.raises(FrameError, match=r"pass history\.wait_intervals\(\)"):
        collection_health(observation_log, observation_log)
    with pytest.raises(FrameError, match=r"pass history\.wait_outcomes\(\)"):
        collection_health(observation_log, None, observation_log)
    with pytest.raises(FrameError, match="no column `schema`"):
        collection_health(observation_log, by="schema")
    for by in ("observations", "bucket", ["run_id", "run_id"]):
        with pytest.raises(ValueError, match="by takes columns of the observation log"):
            collection_health(observation_log, by=by)
    with pytest.raises(ValueError, match="freq must be a length of time"):
        collection_health(observation_log, freq="often")
    for gap in ("0s", "-1h", "long", None):
        with pytest.raises(ValueError, match="gap must be a length of time above zero"):
            collection_health(observation_log, gap=gap)
    with pytest.raises(ValueError, match="buckets; take a wider one"):
        by_observations(observation(counted(), 0), observation(counted(), 5000), freq="1s")


# ---- the same by a plain loop over the observations ----


def by_loop(observations: list, gap: float = 20) -> dict:
    """The measure of these observations, one by one."""
    every: dict = defaultdict(list)
    for one in observations:
        every[one.tenant_id, one.batch_id].append(one)
    changes, distances = 0, []
    for own in every.values():
        good = [one for one in own if one.document is not None]
        good.sort(key=lambda one: (one.sent_at, one.scope == "detail", one.state_hash))
        changes += changes_of(good)
        distances += distances_of(good)
    listed = {(one.tenant_id, one.sent_at) for one in observations if one.scope == LIST}
    detailed = sum(one.scope == "detail" for one in observations)
    return {
        "observations": len(observations),
        "failed_observations": sum(one.document is None for one in observations),
        "detail_observations": detailed,
        "requests": detailed + len(listed),
        "batches": len(every),
        "changes": changes,
        "distances": len(distances),
        "gaps": sum(distance > gap * 60 for distance, _ in distances),
        "longest_gap": max((distance for distance, _ in distances), default=None),
        **staleness(distances),
    }


def core(one) -> tuple:
    d = one.document
    counts = (d.total_records, d.processed_records, d.successful_records, d.failed_records)
    return (d.status, *counts, d.pending_records, d.completed_at, d.error_message)


def changes_of(good: list) -> int:
    count, before, closer, since = 0, None, None, False
    for one in good:
        if before is None or core(before) != core(one):
            count, since = count + 1, True
        elif one.scope == "detail" and closer is not None and not since:
            count += closer.state_hash != one.state_hash
        if one.scope == "detail":
            closer, since = one, False
        before = one
    return count


def distances_of(good: list) -> list[tuple[Fraction, Fraction]]:
    """(seconds between informative observations, age at the earlier), while unfinished."""

    def waits(one) -> bool:
        return bool(one.document.pending_records or one.document.pending_resources)

    def finished(one) -> bool:
        over = one.document.status in ENDED or one.document.completed_at is not None
        return over and not waits(one)

    def seconds(later, earlier) -> Fraction:
        return Fraction(round((later - earlier).total_seconds() * 10**6), 10**6)

    found, informative, before = [], None, None
    for one in good:
        uninformative = one.scope == LIST and waits(one) and before is not None and waits(before)
        before = one
        if uninformative:
            continue
        if informative is not None and not finished(informative):
            born = informative.document.created_at or good[0].sent_at
            age = max(seconds(informative.sent_at, born), Fraction(0))
            found.append((seconds(one.sent_at, informative.sent_at), age))
        informative = one
    return found


def staleness(distances: list[tuple[Fraction, Fraction]]) -> dict:
    total = sum(distance for distance, _ in distances)
    names = ["staleness_mean", "staleness_p50", "staleness_p95", "staleness_p95_fraction"]
    if not total:
        return dict.fromkeys(names)
    mean = sum(distance**2 for distance, _ in distances) / (2 * total)
    lines = [(distance, Fraction(1)) for distance, _ in distances]
    odds = crossing(distances, total / 20)
    told = [mean, crossing(lines, total / 2), crossing(lines, total / 20)]
    return dict(zip(names, [*told, 1 if odds is None else odds / (1 + odds)], strict=True))


def crossing(lines: list[tuple[Fraction, Fraction]], target: Fraction) -> Fraction | None:
    """The smallest r with Σ max(Δ - r·w, 0) ≤ target; None if there is none."""

    def above(r: Fraction) -> Fraction:
        return sum((max(d - r * w, Fraction(0)) for d, w in lines), Fraction(0))

    if sum(d for d, w in lines if not w) > target:
        return None
    low = Fraction(0)
    for knee in sorted({d / w for d, w in lines if w}):
        if above(knee) <= target:
            high, low_value, high_value = knee, above(low), above(knee)
            if low_value == high_value:
                return low
            return low + (high - low) * (low_value - target) / (low_value - high_value)
        low = knee
    return low


def agree(row: pd.Series, expected: dict) -> None:
    for name, value in expected.items():
        if value is None:
            assert pd.isna(row[name]), name
        elif isinstance(row[name], pd.Timedelta):
            assert abs(row[name].total_seconds() - float(value)) <= 1.5e-6, name
        else:
            assert row[name] == pytest.approx(float(value), abs=1e-12), name


@st.composite
def many_observations(draw) -> list:
    """Observations of a few batches of two tenants, pages of listings, some simultaneous."""
    found, kind = [], st.sampled_from(["detail", "detail", "page", "failed"])
    for number in range(draw(st.integers(0, 14))):
        at, run = draw(st.integers(0, 120)) / 2, f"r{number % 3}"
        tenant = draw(st.sampled_from("tu"))
        what = draw(kind)
        names = draw(st.sets(st.sampled_from("ab"), min_size=1)) if what == "page" else ["a"]
        for name in names:
            where = {"tenant_id": tenant, "run_id": run}
            if what == "failed":
                found.append(observation(None, at, batch_id=name, **where))
            else:
                found.append(
                    observation(
                        draw(documents(name)), at, scope=LIST if what == "page" else what, **where
                    )
                )
    keys = {(o.run_id, o.tenant_id, o.batch_id, o.sent_at, o.scope): o for o in found}
    return list(keys.values())


@st.composite
def documents(draw, name: str) -> dict:
    waits = draw(st.sampled_from(["", "", "A", "B", "AB"]))
    fields = {"status": draw(st.sampled_from(["processing", "success", "odd"]))}
    if draw(st.booleans()):
        fields["createdAt"] = minute(draw(st.sampled_from([-20, 3]))).isoformat()
    if draw(st.booleans()):
        fields["errorMessage"] = "no"
    return batch(name, dict.fromkeys(waits, "x") if waits else None, **fields)


@settings(max_examples=examples(60))
@given(many_observations())
def test_a_plain_loop_finds_the_same(observations):
    found = by_observations(*observations)
    if not observations:
        assert found.empty
        return
    [(_, row)] = found.iterrows()
    agree(row, by_loop(observations))


@settings(max_examples=examples(20))
@given(many_observations())
def test_a_plain_loop_over_each_tenant_finds_the_same(observations):
    found = by_observations(*observations, by="tenant_id").set_index("tenant_id")
    for tenant, row in found.iterrows():
        agree(row, by_loop([one for one in observations if one.tenant_id == tenant]))
    assert set(found.index) == {one.tenant_id for one in observations}


@settings(max_examples=examples(20))
@given(many_observations(), st.randoms())
def test_the_order_of_rows_does_not_matter(observations, random):
    observation_log = history(*observations).observation_log()
    mixed = observation_log.sample(frac=1, random_state=random.randrange(2**32))
    for options in ({}, {"freq": "15min", "by": ["run_id", "tenant_id"]}):
        pd.testing.assert_frame_equal(
            collection_health(observation_log, **options), collection_health(mixed, **options)
        )


# ---- observations that the store folds into others ----


def read(snapshots: pa.Table, observations: pa.Table, as_of=None) -> History:
    return History(Tables(ibis.memtable(snapshots), ibis.memtable(observations), as_of))


@settings(max_examples=examples(40))
@given(many_observations(), st.sets(st.integers(0, 20)))
def test_folding_observations_does_not_change_the_measure(observations, keep):
    # No two passes observe a batch in the same microsecond: that would be one observation.
    unique = {(one.tenant_id, one.batch_id, one.sent_at, one.scope): one for one in observations}
    snapshots, stored = to_tables(list(unique.values()), minute(9999))
    plain = read(snapshots, stored.drop_columns([*{"repeats"} & {*stored.schema.names}]))
    short = read(snapshots, folded(stored, keep))
    for options in ({}, {"by": "tenant_id"}, {"freq": "15min"}):
        pd.testing.assert_frame_equal(
            collection_health(short.observation_log(), **options),
            collection_health(plain.observation_log(), **options),
        )


def test_an_observation_that_was_folded_and_written_again_counts_once():
    observations = [observation(counted(), at) for at in (0, 10, 20)]
    snapshots, stored = to_tables(observations, minute(9999))
    short = folded(stored, set())
    assert short.num_rows == 1
    again = pa.concat_tables([short, folded(stored, {0, 1, 2}).slice(1, 1)])
    row = read(snapshots, again).collection_health().iloc[0]
    assert (row["observations"], row["distances"]) == (3, 2)


def test_folded_observations_count_if_sent_by_then():
    observations = [observation(counted(), at) for at in (0, 10, 20)]
    snapshots, stored = to_tables(observations, minute(9999))
    short = read(snapshots, folded(stored, set()), as_of=minute(15))
    assert len(short.observation_log()) == 2


def test_without_folding_the_observation_log_has_all_observations(history):
    key = ["run_id", "tenant_id", "batch_id", "sent_at", "scope", "ok"]
    observation_log, observations = unnamed(history.observation_log()), history.observations()
    assert observation_log.columns.tolist() == tables.OBSERVATION_LOG.names
    pd.testing.assert_frame_equal(observation_log[key], observations[key])
    pd.testing.assert_series_equal(observation_log.dtypes, tables.OBSERVATION_LOG.empty().dtypes)


def test_the_facade_and_the_function_give_the_same(history):
    parts = history.observation_log(), history.wait_intervals(), history.wait_outcomes()
    for options in ({}, {"freq": "1h"}, {"by": "tenant_id"}, {"by": "run_id"}):
        pd.testing.assert_frame_equal(
            unnamed(history.collection_health(**options)), collection_health(*parts, **options)
        )
    row = history.collection_health().iloc[0]
    assert row["changes"] >= row["batches"] > 0
    assert 0 < row["unchanged_fraction"] < 1
    assert isinstance(reach.measures.collection_health.__doc__, str)
