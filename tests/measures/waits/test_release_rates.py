"""Released fractions, and the backlog."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import backlog, release_rates
from tests.support.effort import examples
from tests.support.lives import exactly, table, wait
from tests.support.waits import at

HOUR = {"expires": 60}


def one(rows: list[dict], minute: float = 500, **options) -> pd.Series:
    [(_, row)] = release_rates(table(rows), as_of=at(minute), **options).iterrows()
    return row


def test_the_fraction_is_of_known_ends_and_its_bounds_are_of_all_mature_waits():
    unknown = {"unknown_together": 2, "released_at_least": 0, "released_at_most": 1, "departure": 7}
    rows = [exactly("released", 5, **HOUR)] * 5 + [exactly("expired", 60, **HOUR)] * 3
    rows += [wait("unknown", 50, 60, **HOUR, **unknown)] * 2
    row = one(rows)
    assert row[["waits", "mature", "released", "expired", "unknown"]].tolist() == [10, 10, 5, 3, 2]
    assert row["released_min_fraction"] == 0.5
    assert row["released_max_fraction"] == 0.6
    assert pd.isna(row["released_fraction"])  # the bounds are wide: 5 / 8 would mislead
    assert (row["expired_min"], row["expired_max"]) == (4, 5)
    exact = {**unknown, "released_at_least": 1}
    row = one([*rows[:8], *[wait("unknown", 50, 60, **HOUR, **exact)] * 2])
    assert row["released_fraction"] == row["released_min_fraction"] == 0.6
    assert (row["expired_min"], row["expired_max"]) == (4, 4)


def test_waits_too_young_to_have_expired_do_not_count():
    old, young = exactly("expired", 60, **HOUR), exactly("released", 5, created=100, **HOUR)
    row = one([old, young], minute=159)
    assert row[["waits", "mature", "released", "expired"]].tolist() == [2, 1, 0, 1]
    assert one([old, young], minute=160)["mature"] == 2


def test_the_longest_wait_of_a_group_decides_when_it_is_mature():
    rows = [exactly("released", 5, expires=60), exactly("released", 5, expires=600)]
    assert one(rows, minute=500)["mature"] == 0
    assert pd.isna(one(rows, minute=500)["released_fraction"])
    assert one(rows, minute=600)["mature"] == 2


def test_a_censored_wait_is_unknown_and_its_bounds_are_0_and_1():
    row = one([wait("censored", 30, **HOUR), exactly("released", 5, **HOUR)])
    assert row["unknown"] == 1
    assert (row["released_min_fraction"], row["released_max_fraction"]) == (0.5, 1.0)


def test_with_one_root_per_wait_the_interval_is_wilsons():
    rows = [exactly("released", 5, **HOUR)] * 81 + [exactly("expired", 60, **HOUR)] * 182
    row = one(rows)
    low, high = proportion_confint(81, 263, method="wilson")
    # Newcombe (1998) gives .2553 and .3662 for 81 of 263.
    assert row["released_low_fraction"] == pytest.approx(low, abs=2e-3)
    assert row["released_high_fraction"] == pytest.approx(high, abs=2e-3)
    assert round(low, 4), round(high, 4) == (0.2553, 0.3662)


def test_waits_on_one_root_make_the_interval_wider():
    rows = [
        exactly(verdict, 60, root=f"{verdict}{n % 12}", **HOUR)
        for verdict in ("released", "expired")
        for n in range(50)
    ]
    apart = [{**row, "root_external_id": None} for row in rows]
    width = [
        r["released_high_fraction"] - r["released_low_fraction"] for r in (one(rows), one(apart))
    ]
    assert width[0] > 1.5 * width[1]
    assert one(rows)["interval"] == "adjusted"
    assert one(rows[:60:20])["interval"] == "descriptive"


def test_groups_are_separate():
    rows = [exactly("released", 5, **HOUR), exactly("expired", 60, **HOUR, schema_name="others")]
    found = release_rates(table(rows), as_of=at(500), by="schema_name").set_index("schema_name")
    assert found["released_fraction"].to_dict() == {"things": 1.0, "others": 0.0}


VERDICTS = st.sampled_from(["released", "expired", "unknown", "pending", "censored"])
WAITS = st.lists(
    st.tuples(VERDICTS, st.integers(0, 60), st.integers(0, 30), st.integers(0, 200)), max_size=12
)


def drawn(waits: list[tuple[str, int, int, int]]) -> pd.DataFrame:
    rows = []
    for verdict, after, more, created in waits:
        known = verdict in {"released", "unknown"}
        age = 60 if verdict == "expired" else after
        by = min(after + more, 60) if known else 60 if verdict == "expired" else None
        bounds = {"unknown_together": 1, "released_at_least": 0, "released_at_most": 1}
        own = bounds if verdict == "unknown" else {}
        rows.append(wait(verdict, age, by, created=created, **HOUR, **own))
    return table(rows)


@given(waits=WAITS)
def test_counts_add_up_and_fractions_are_ordered(waits):
    for row in release_rates(drawn(waits), as_of=at(300)).to_dict("records"):
        assert row["released"] + row["expired"] + row["unknown"] == row["mature"] <= row["waits"]
        if row["mature"]:
            least, most = row["released_min_fraction"], row["released_max_fraction"]
            assert 0 <= least <= row["released"] / row["mature"] + row["unknown"] / row["mature"]
            assert least <= most <= 1


@settings(max_examples=examples(50))
@given(waits=WAITS, minute=st.integers(0, 400))
def test_the_backlog_is_the_count_at_the_end_of_each_bucket(waits, minute):
    frame = drawn(waits)
    found = backlog(frame, freq="30min", as_of=at(minute))
    for row in found.to_dict("records"):
        end = min(row["bucket"] + pd.Timedelta(minutes=30), at(minute))
        low = high = 0
        for wait_ in frame.to_dict("records"):
            expires, verdict = wait_["expires_at"], wait_["verdict"]
            if wait_["created_at"] > end:
                continue
            over = expires if pd.isna(wait_["ended_by"]) else wait_["ended_by"]
            lasting = verdict in {"pending", "censored"}
            overdue = lasting and wait_["ended_after"] >= expires
            fresh = wait_["ended_after"] + pd.Timedelta(minutes=15)
            listed = verdict == "pending" and not overdue and end <= fresh
            waits_yet = overdue or end < over
            low += (listed or end <= wait_["ended_after"]) and waits_yet
            high += waits_yet
        assert (row["waiting_low"], row["waiting_high"]) == (low, high)
    if len(found):
        assert found["began"].sum() == (frame["created_at"] <= at(minute)).sum()


def test_the_backlog_counts_what_came_and_went_in_each_bucket():
    rows = [
        wait("released", 10, 20, **HOUR),
        exactly("expired", 60, **HOUR),
        wait("unknown", 50, 60, **HOUR),
        wait("pending", 70, expires=600, created=10),
    ]
    found = backlog(table(rows), freq="1h", as_of=at(90))
    assert found["bucket"].tolist() == [at(0), at(60)]
    assert found["waiting_low"].tolist() == [1, 1]
    assert found["waiting_high"].tolist() == [1, 1]
    names = ["began", "released", "expired", "unknown"]
    assert found[names].to_numpy().tolist() == [[4, 1, 1, 1], [0, 0, 0, 0]]


def test_between_two_observations_the_backlog_is_a_range():
    found = backlog(table([wait("released", 10, 100)]), freq="1h", as_of=at(120))
    assert found["waiting_low"].tolist() == [0, 0, 0]
    assert found["waiting_high"].tolist() == [1, 0, 0]


def test_every_group_has_every_bucket():
    rows = [exactly("released", 5), exactly("released", 5, created=300, schema_name="others")]
    found = backlog(table(rows), freq="1h", as_of=at(330), by="schema_name")
    assert found.groupby("schema_name").size().to_dict() == {"things": 6, "others": 6}


@pytest.mark.parametrize("by", [None, "schema_name"])
def test_empty_in_empty_out(by):
    empty = tables.WAIT_OUTCOMES.empty()
    found = backlog(empty, freq="1h", as_of=at(0), by=by)
    assert len(found) == len(release_rates(empty, as_of=at(0), by=by)) == 0
    assert found.columns.tolist() == [*([by] if by else []), *tables.BACKLOG.names]


def test_too_many_buckets_and_odd_widths_are_refused():
    rows = table([exactly("released", 5), exactly("released", 5, created=60 * 24 * 365)])
    with pytest.raises(ValueError, match="take a wider one"):
        backlog(rows, freq="1s", as_of=at(60 * 24 * 366))
    with pytest.raises(ValueError, match="freq must be a length of time"):
        backlog(rows, freq="often", as_of=at(0))
    assert len(backlog(rows, freq="M", as_of=at(60 * 24 * 366))) == 13


def test_a_wrong_frame_is_refused_with_what_to_pass():
    for measure in (release_rates, lambda frame, as_of: backlog(frame, freq="1h", as_of=as_of)):
        with pytest.raises(FrameError, match=r"pass history\.wait_outcomes\(\)"):
            measure(pd.DataFrame({"x": [1]}), as_of=at(0))
    with pytest.raises(ValueError, match="by takes columns"):
        release_rates(table([]), as_of=at(0), by=["released"])


def test_bounds_of_a_group_allow_for_departures_shared_with_another():
    """Two left together and one was released; which one is unknown."""
    bounds = {"unknown_together": 2, "released_at_least": 1, "released_at_most": 1, "departure": 4}
    rows = [wait("unknown", 50, 60, **HOUR, **bounds, schema_name=name) for name in "ab"]
    found = release_rates(table(rows), as_of=at(500), by="schema_name")
    assert found["released_min_fraction"].tolist() == [0, 0]
    assert found["released_max_fraction"].tolist() == [1, 1]
    whole = one(rows)
    assert (whole["released_min_fraction"], whole["released_max_fraction"]) == (0.5, 0.5)


def test_what_was_last_observed_long_ago_may_wait_no_longer():
    found = backlog(table([wait("pending", 10, expires=6000)]), freq="1h", as_of=at(120))
    assert found["waiting_low"].tolist() == [0, 0, 0]
    assert found["waiting_high"].tolist() == [1, 1, 1]
    known = backlog(table([wait("pending", 10, expires=6000)]), freq="1h", as_of=at(20))
    assert known["waiting_low"].tolist() == [1]


def test_one_listed_after_its_expiry_counts_until_it_is_known_to_be_gone():
    for verdict in ("pending", "censored"):
        rows = [wait(verdict, 100, expires=60)]
        assert backlog(table(rows), freq="2h", as_of=at(90))["waiting_high"].tolist() == [1]


def test_without_any_expiry_nothing_is_ever_mature():
    assert one([exactly("released", 5, expires=None)])["mature"] == 0


@pytest.mark.parametrize("when", [None, pd.NaT, "now", 5])
def test_an_invalid_moment_is_refused(when):
    for measure in (release_rates, lambda frame, as_of: backlog(frame, freq="1h", as_of=as_of)):
        with pytest.raises(ValueError, match="as_of must be a time"):
            measure(table([]), as_of=when)


def test_any_form_of_times_and_texts_is_accepted():
    rows = table([wait("released", 10, 20, **HOUR), exactly("expired", 60, **HOUR)])
    times = [name for name in rows if str(rows[name].dtype).startswith("datetime")]
    forms = {
        "naive": rows.assign(**{n: rows[n].dt.tz_localize(None) for n in times}),
        "zone": rows.assign(**{n: rows[n].dt.tz_convert("America/New_York") for n in times}),
        "text": rows.assign(**{n: rows[n].astype("str") for n in times}),
        "category": rows.astype(dict.fromkeys(["tenant_id", "schema_name", "verdict"], "category")),
        "index": rows.set_index(["tenant_id", "verdict"], drop=False),
    }
    for form in forms.values():
        for by in (None, "schema_name"):
            pd.testing.assert_frame_equal(
                release_rates(form, as_of=at(500), by=by), release_rates(rows, as_of=at(500), by=by)
            )
            pd.testing.assert_frame_equal(
                backlog(form, freq="1h", as_of=at(90), by=by),
                backlog(rows, freq="1h", as_of=at(90), by=by),
            )


def test_a_censored_wait_past_its_expiry_may_have_expired():
    rows = [wait("censored", 5, **HOUR), wait("pending", 5, **HOUR), exactly("expired", 60, **HOUR)]
    row = one(rows)
    assert (row["expired_min"], row["expired_max"]) == (1, 3)
    early = one(rows, minute=30)
    assert (early["expired_min"], early["expired_max"]) == (1, 1)


@pytest.mark.parametrize("freq", ["1h", "5min", "D"])
def test_a_wait_since_1970_makes_no_bucket_and_is_counted_apart(freq):
    """Half a million hours: the others' buckets are the same as without it."""
    others = [wait("released", 10, 100), exactly("expired", 60, **HOUR), wait("pending", 100)]
    alone = backlog(table(others), freq=freq, as_of=at(120))
    odd = wait("pending", 100) | {"created_at": pd.Timestamp("1970-01-01 00:00:01", tz="UTC")}
    found = backlog(table([*others, odd]), freq=freq, as_of=at(120))
    assert found["bucket"].tolist() == alone["bucket"].tolist()
    for name in ("began", "released", "expired", "unknown"):
        assert found[name].tolist() == alone[name].tolist()
    assert (found["waiting_high"] - alone["waiting_high"]).tolist() == [1] * len(found)
    assert (set(found["earlier"]), set(alone["earlier"])) == ({1}, {0})


def test_if_every_wait_has_an_odd_date_the_buckets_begin_with_the_observations():
    odd = wait("pending", 100) | {"created_at": pd.Timestamp("1970-06-01", tz="UTC")}
    found = backlog(table([odd]), freq="1h", as_of=at(120))
    assert found["bucket"].iloc[0] >= at(-60)
    assert found[["waiting_high", "earlier"]].to_numpy().tolist() == [[1, 1]] * len(found)


def test_an_endless_wait_does_not_keep_the_others_from_being_mature():
    rows = [exactly("released", 5, **HOUR), exactly("expired", 60, **HOUR)]
    never = wait("pending", 400) | {"expires_at": pd.Timestamp("2200-01-01", tz="UTC")}
    since_1970 = wait("released", 10, 20) | {"created_at": pd.Timestamp("1970-06-01", tz="UTC")}
    assert one([*rows, never])[["waits", "mature", "released"]].tolist() == [3, 2, 1]
    since_1970["expires_at"] = at(60)
    assert one([*rows, since_1970])[["waits", "mature", "released"]].tolist() == [3, 3, 2]
