"""How well the collecting goes: counted by hand, walked look by look, and read of a store."""

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
from reach_analytics import columns
from reach_analytics.collector.observe import LIST, to_tables
from reach_analytics.errors import FrameError
from reach_analytics.frames import Tables
from reach_analytics.history import History
from reach_analytics.measures import collection_health
from tests.looks import batch, look, minute
from tests.test_spells import history

MINUTE = pd.Timedelta(minutes=1)
RUNNING, OVER = {"status": "processing"}, {"status": "success"}
ENDED = {"success", "partial_success", "failure"}
TOLD = columns.COLLECTION_HEALTH.names


def counted(processed: int = 0, pending: int = 0, **fields) -> dict:
    progress = {"totalRecords": 9, "processedRecords": processed, "pendingRecords": pending}
    return batch(progress=progress, **{**RUNNING, **fields})


def health(*looks, **options) -> pd.Series:
    [(_, row)] = by_looks(*looks, **options).iterrows()
    return row


def by_looks(*looks, **options) -> pd.DataFrame:
    """Without what is about waits, which takes its time."""
    return collection_health(history(*looks).polls(), **options)


def minutes(*lengths: float) -> list[pd.Timedelta]:
    return [pd.Timedelta(minutes=length) for length in lengths]


@pytest.mark.parametrize("scope", ["detail", LIST])
def test_looks_10_10_and_40_minutes_apart_leave_what_is_known_15_minutes_old(scope):
    row = health(*[look(counted(), at, scope=scope) for at in (0, 10, 20, 60)])
    found = row[["staleness_mean", "staleness_p50", "staleness_p95", "longest_gap"]]
    assert found.tolist() == minutes(15, 10, 37, 40)
    assert (row["distances"], row["gaps"]) == (3, 1)


def test_longer_than_the_limit_is_a_gap():
    looks = [look(counted(), at) for at in (0, 10, 20, 60)]
    assert [health(*looks, gap=g)["gaps"] for g in ("40min", "39min", "10min", "9min")] == [
        *(0, 1, 1, 3)
    ]


def test_age_as_part_of_the_batch_s_own_age():
    """One distance of 10 min, 10 min after creation: of 9.5 min, 9.5 / 19.5 of its age."""
    created = {"createdAt": minute(-10).isoformat()}
    row = health(look(counted(**created), 0), look(counted(**created), 10))
    assert row["staleness_p95_fraction"] == pytest.approx(9.5 / 19.5)


def test_without_a_time_of_creation_a_batch_is_as_old_as_what_is_known_of_it():
    assert health(look(counted(), 0), look(counted(), 10))["staleness_p95_fraction"] == 1


def test_a_change_seen_by_a_listing_and_then_by_a_look_closer_counts_once():
    one, two = counted(1), counted(2)
    row = health(
        *(look(one, 0, scope=LIST), look(one, 1), look(two, 10, scope=LIST), look(two, 11)),
        *(look(two, 20), look(None, 30, batch_id="b")),
    )
    assert (row["looks"], row["failed_looks"], row["detail_looks"]) == (6, 1, 4)
    assert (row["requests"], row["changes"], row["requests_per_change"]) == (6, 2, 3)
    assert row["unchanged_fraction"] == 3 / 5


def test_a_change_of_what_is_pending_alone_counts_where_a_look_closer_sees_it():
    first, other = batch(waits={"A": "x"}), batch(waits={"B": "x"})
    listed = batch(progress={"totalRecords": 10, "pendingRecords": 1})
    looks = [look(first, 0), look(listed, 5, scope=LIST), look(other, 10), look(other, 20)]
    assert health(*looks)["changes"] == 2
    counts = batch(progress={"totalRecords": 10, "pendingRecords": 2})
    looks.insert(2, look(counts, 6, scope=LIST))  # and back by the next look
    assert health(*looks)["changes"] == 3


def test_a_listing_is_one_request_and_looks_closer_are_one_each():
    page = [look(batch(name), 0, scope=LIST) for name in "abc"]
    other = look(batch("a"), 0, scope=LIST, tenant_id="u")
    row = health(*page, other, look(batch("a"), 1), look(batch("b"), 1), look(batch("a"), 2))
    assert (row["looks"], row["requests"], row["batches"]) == (7, 5, 4)


def test_what_has_settled_grows_no_staler():
    over = counted(9, **OVER)
    row = health(look(counted(), 0), look(over, 10), look(over, 500))
    assert (row["distances"], row["longest_gap"]) == (1, 10 * MINUTE)
    waits = counted(9, pending=1, **OVER)
    assert health(look(waits, 0), look(waits, 10))["distances"] == 1
    assert health(look(over, 0), look(over, 10))[TOLD[9:12]].isna().all()


def test_a_listing_brings_no_news_of_a_batch_that_waits_until_it_waits_no_more():
    waits, over = counted(9, pending=1, **OVER), counted(9, **OVER)
    looks = [look(waits, 0), look(waits, 5, scope=LIST), look(waits, 20)]
    assert health(*looks)["longest_gap"] == 20 * MINUTE
    assert health(*looks, look(over, 30, scope=LIST), look(over, 90))["longest_gap"] == 20 * MINUTE


def test_the_listing_that_first_shows_that_something_waits_begins_a_distance():
    waits = counted(9, pending=1, **OVER)
    row = health(
        *(look(counted(), 0), look(waits, 5, scope=LIST), look(waits, 6, scope=LIST)),
        look(waits, 25),
    )
    assert (row["distances"], row["longest_gap"]) == (2, 20 * MINUTE)


def test_a_distance_belongs_to_the_bucket_in_which_it_ends_and_every_bucket_is_there():
    looks = [look(counted(), at) for at in (0, 50, 250)]
    found = by_looks(*looks, freq="1h")
    assert found["bucket"].tolist() == [minute(60 * hour) for hour in range(5)]
    assert found["looks"].tolist() == [2, 0, 0, 0, 1]
    assert found["longest_gap"].tolist()[::4] == minutes(50, 200)
    assert found["staleness_mean"].notna().tolist() == [True, False, False, False, True]
    assert found["unchanged_fraction"].iloc[1:4].isna().all()


def test_groups_have_their_own_buckets_only_and_counts_add_up():
    looks = [
        *(look(counted(), at, tenant_id="t") for at in (0, 130)),
        *(look(counted(), at, tenant_id="u") for at in (60, 70, 75)),
    ]
    found = by_looks(*looks, freq="1h", by="tenant_id")
    assert found["tenant_id"].tolist() == ["t"] * 3 + ["u"]
    assert found["looks"].tolist() == [1, 0, 1, 3]
    assert found["distances"].sum() == health(*looks)["distances"] == 3


def test_ends_of_waits_are_bracketed_and_some_stay_unknown():
    waits = batch(waits={"A": "x", "B": "y"}, created=-5, expires={"A": 60, "B": 15})
    seen = history(look(waits, 0), look(waits, 10), look(batch(waits={}), 30))
    [(_, row)] = seen.collection_health().iterrows()
    verdicts = seen.waiting()["verdict"].tolist()
    assert (row["brackets"], row["ended_waits"]) == (2, 2)
    assert row["bracket_p50"] == row["bracket_p95"] == 20 * MINUTE + pd.Timedelta("1s")
    assert row["unknown_waits"] == verdicts.count("unknown") == 1
    assert row["unknown_fraction"] == 0.5
    by_run = seen.collection_health(by="run_id")
    assert (
        by_run[["brackets", "bracket_p50", "ended_waits", "unknown_fraction"]].isna().all(axis=None)
    )
    hours = seen.collection_health("1h", by="tenant_id")
    assert hours["brackets"].sum() == hours["ended_waits"].sum() == 2


def test_without_waits_their_columns_are_null():
    polls = history(look(batch(waits={"A": "x"}), 0), look(batch(waits={}), 9)).polls()
    row = collection_health(polls).iloc[0]
    assert row[TOLD[-6:]].isna().all()


def test_one_look_and_failed_looks_alone():
    row = health(look(counted(), 0))
    assert (row["looks"], row["changes"], row["requests_per_change"]) == (1, 1, 1)
    assert row[TOLD[9:13]].isna().all()
    [(_, full)] = history(look(counted(), 0)).collection_health().iterrows()
    assert (full["brackets"], full["unknown_waits"], full["gaps"]) == (0, 0, 0)
    row = health(look(None, 0, batch_id="b"))
    assert (row["looks"], row["failed_looks"], row["changes"], row["batches"]) == (1, 1, 0, 1)
    assert row[["requests_per_change", "unchanged_fraction"]].isna().all()


@pytest.mark.parametrize("options", [{}, {"by": "tenant_id"}, {"freq": "1h", "by": ["run_id"]}])
def test_empty_in_empty_out(options):
    found = history().collection_health(**options)
    assert len(found) == 0
    names = [*([options["by"]] if options.get("by") == "tenant_id" else options.get("by", []))]
    assert found.columns.tolist() == [*names, *(["bucket"] if "freq" in options else []), *TOLD]
    expected = columns.COLLECTION_HEALTH.empty().dtypes
    pd.testing.assert_series_equal(found[TOLD].dtypes, expected)


def test_dtypes_are_the_documented_ones():
    found = history(look(counted(), 0), look(counted(), 70)).collection_health("1h", by="run_id")
    pd.testing.assert_series_equal(found[TOLD].dtypes, columns.COLLECTION_HEALTH.empty().dtypes)
    assert found["run_id"].dtype == "str"


def test_odd_arguments_are_refused():
    polls = columns.POLLS.empty()
    with pytest.raises(FrameError, match=r"pass history\.polls\(\)"):
        collection_health(pd.DataFrame({"x": [1]}))
    with pytest.raises(TypeError, match="takes a pandas DataFrame"):
        collection_health([])
    with pytest.raises(FrameError, match=r"pass history\.spells\(\)"):
        collection_health(polls, polls)
    with pytest.raises(FrameError, match=r"pass history\.waiting\(\)"):
        collection_health(polls, None, polls)
    with pytest.raises(FrameError, match="no column `schema`"):
        collection_health(polls, by="schema")
    for by in ("looks", "bucket", ["run_id", "run_id"]):
        with pytest.raises(ValueError, match="by takes columns of the polls"):
            collection_health(polls, by=by)
    with pytest.raises(ValueError, match="freq must be a length of time"):
        collection_health(polls, freq="often")
    for gap in ("0s", "-1h", "long", None):
        with pytest.raises(ValueError, match="gap must be a length of time above zero"):
            collection_health(polls, gap=gap)
    with pytest.raises(ValueError, match="buckets; take a wider one"):
        by_looks(look(counted(), 0), look(counted(), 5000), freq="1s")


# ---- the same, walked look by look in plain Python ----


def walked(looks: list, gap: float = 20) -> dict:
    """What the measure tells of these looks, by going through them one by one."""
    every: dict = defaultdict(list)
    for one in looks:
        every[one.tenant_id, one.batch_id].append(one)
    changes, distances = 0, []
    for own in every.values():
        good = [one for one in own if one.document is not None]
        good.sort(key=lambda one: (one.sent_at, one.scope == "detail", one.state_hash))
        changes += changes_of(good)
        distances += distances_of(good)
    listed = {(one.tenant_id, one.sent_at) for one in looks if one.scope == LIST}
    detailed = sum(one.scope == "detail" for one in looks)
    return {
        "looks": len(looks),
        "failed_looks": sum(one.document is None for one in looks),
        "detail_looks": detailed,
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
    """(seconds from news to news, age of the batch at the earlier), where it was not settled."""

    def waits(one) -> bool:
        return bool(one.document.pending_records or one.document.pending_resources)

    def settled(one) -> bool:
        over = one.document.status in ENDED or one.document.completed_at is not None
        return over and not waits(one)

    def seconds(later, earlier) -> Fraction:
        return Fraction(round((later - earlier).total_seconds() * 10**6), 10**6)

    found, news, before = [], None, None
    for one in good:
        dumb = one.scope == LIST and waits(one) and before is not None and waits(before)
        before = one
        if dumb:
            continue
        if news is not None and not settled(news):
            born = news.document.created_at or good[0].sent_at
            age = max(seconds(news.sent_at, born), Fraction(0))
            found.append((seconds(one.sent_at, news.sent_at), age))
        news = one
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
def many_looks(draw) -> list:
    """Looks at a few batches of two tenants, listings as pages, several at one moment too."""
    found, kind = [], st.sampled_from(["detail", "detail", "page", "failed"])
    for number in range(draw(st.integers(0, 14))):
        at, run = draw(st.integers(0, 120)) / 2, f"r{number % 3}"
        tenant = draw(st.sampled_from("tu"))
        what = draw(kind)
        names = draw(st.sets(st.sampled_from("ab"), min_size=1)) if what == "page" else ["a"]
        for name in names:
            where = {"tenant_id": tenant, "run_id": run}
            if what == "failed":
                found.append(look(None, at, batch_id=name, **where))
            else:
                found.append(
                    look(draw(documents(name)), at, scope=LIST if what == "page" else what, **where)
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


@settings(max_examples=60)
@given(many_looks())
def test_a_walk_from_look_to_look_finds_the_same(looks):
    found = by_looks(*looks)
    if not looks:
        assert found.empty
        return
    [(_, row)] = found.iterrows()
    agree(row, walked(looks))


@settings(max_examples=20)
@given(many_looks())
def test_a_walk_through_each_tenant_finds_the_same(looks):
    found = by_looks(*looks, by="tenant_id").set_index("tenant_id")
    for tenant, row in found.iterrows():
        agree(row, walked([one for one in looks if one.tenant_id == tenant]))
    assert set(found.index) == {one.tenant_id for one in looks}


@settings(max_examples=20)
@given(many_looks(), st.randoms())
def test_the_order_of_rows_changes_nothing(looks, random):
    polls = history(*looks).polls()
    mixed = polls.sample(frac=1, random_state=random.randrange(2**32))
    for options in ({}, {"freq": "15min", "by": ["run_id", "tenant_id"]}):
        pd.testing.assert_frame_equal(
            collection_health(polls, **options), collection_health(mixed, **options)
        )


# ---- looks that the store folds into others ----


def folded(observations: pa.Table, keep: set[int]) -> pa.Table:
    """The rows with every look that saw the same as the one before it, of its batch and scope,
    folded into that one; those whose number is in ``keep`` stay."""
    rows = observations.to_pylist()
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["sent_at"], rows[i]["received_at"]))
    last: dict = {}
    stay = []
    for i in order:
        row = rows[i] | {"repeats": None}
        key = (row["tenant_id"], row["batch_id"], row["scope"])
        before = last.get(key)
        same = before is not None and row["ok"] and before["state_hash"] == row["state_hash"]
        if same and before["sent_at"] < row["sent_at"] and i not in keep:
            before["repeats"] = [*(before["repeats"] or []), row["sent_at"]]
            continue
        last[key] = row
        stay.append(row)
    kept = [f for f in observations.schema if f.name != "repeats"]
    schema = pa.schema([*kept, pa.field("repeats", pa.list_(pa.timestamp("us", tz="UTC")))])
    return pa.Table.from_pylist(stay, schema)


def read(snapshots: pa.Table, observations: pa.Table, as_of=None) -> History:
    return History(Tables(ibis.memtable(snapshots), ibis.memtable(observations), as_of))


@settings(max_examples=40)
@given(many_looks(), st.sets(st.integers(0, 20)))
def test_folding_looks_into_others_changes_nothing(looks, keep):
    # No two passes look at one batch in the very same microsecond: that would be one look.
    apart = {(one.tenant_id, one.batch_id, one.sent_at, one.scope): one for one in looks}
    snapshots, observations = to_tables(list(apart.values()), minute(9999))
    plain = read(
        snapshots, observations.drop_columns([*{"repeats"} & {*observations.schema.names}])
    )
    short = read(snapshots, folded(observations, keep))
    for options in ({}, {"by": "tenant_id"}, {"freq": "15min"}):
        pd.testing.assert_frame_equal(
            collection_health(short.polls(), **options), collection_health(plain.polls(), **options)
        )


def test_a_look_that_was_folded_and_written_again_counts_once():
    looks = [look(counted(), at) for at in (0, 10, 20)]
    snapshots, observations = to_tables(looks, minute(9999))
    short = folded(observations, set())
    assert short.num_rows == 1
    again = pa.concat_tables([short, folded(observations, {0, 1, 2}).slice(1, 1)])
    row = read(snapshots, again).collection_health().iloc[0]
    assert (row["looks"], row["distances"]) == (3, 2)


def test_of_folded_looks_those_sent_by_then_count():
    looks = [look(counted(), at) for at in (0, 10, 20)]
    snapshots, observations = to_tables(looks, minute(9999))
    short = read(snapshots, folded(observations, set()), as_of=minute(15))
    assert len(short.polls()) == 2


def test_polls_are_the_looks_of_a_store_that_folds_none(history):
    key = ["run_id", "tenant_id", "batch_id", "sent_at", "scope", "ok"]
    polls, looks = history.polls(), history.looks()
    assert polls.columns.tolist() == columns.POLLS.names
    pd.testing.assert_frame_equal(polls[key], looks[key])
    pd.testing.assert_series_equal(polls.dtypes, columns.POLLS.empty().dtypes)


def test_the_facade_and_the_function_give_the_same(history):
    parts = history.polls(), history.spells(), history.waiting()
    for options in ({}, {"freq": "1h"}, {"by": "tenant_id"}, {"by": "run_id"}):
        pd.testing.assert_frame_equal(
            history.collection_health(**options), collection_health(*parts, **options)
        )
    row = history.collection_health().iloc[0]
    assert row["changes"] >= row["batches"] > 0
    assert 0 < row["unchanged_fraction"] < 1
    assert isinstance(reach.measures.collection_health.__doc__, str)
