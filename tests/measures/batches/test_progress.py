"""Which running batches are stuck, and when the others will be complete."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import measures, tables
from reach_analytics.errors import FrameError
from reach_analytics.measures.batches.progress import eta, stuck
from tests.support.effort import examples
from tests.support.progress import at, minutes, observations, steps
from tests.support.silences import START, Silences, play

END = at(10**6)


def only(table: pd.DataFrame) -> pd.Series:
    assert len(table) == 1
    return table.iloc[0]


def judged(frame: pd.DataFrame, batch_id: str = "b", **options) -> pd.Series:
    table = stuck(frame, as_of=END, **options)
    return only(table[table["batch_id"] == batch_id])


def with_past(count: int, *rest: pd.DataFrame, schema: str = "s") -> pd.DataFrame:
    """A finished batch with ``count`` silences of ten minutes, and other observations."""
    past = steps(*range(0, 10 * (count + 2), 10), batch_id="old", schema_name=schema)
    last = past.index[-1:]
    past.loc[last, ["status", "processed_records"]] = ["success", 1000]
    return pd.concat([past, *rest], ignore_index=True)


SILENT = steps(0, 50, 50, 50)  # no change for 20 minutes


def test_a_silence_longer_than_nineteen_has_p_one_in_twenty():
    """Golden: 19 shorter silences give p = .05."""
    row = judged(with_past(19, SILENT), p=0.05)
    assert row["comparable"] == 19
    assert row[["p_value", "min_p_value"]].tolist() == pytest.approx([0.05, 0.05])
    assert (row["basis"], row["verdict"]) == ("conformal", "stuck")
    assert row["silence"] == minutes(20)
    assert (row["last_change_at"], row["last_observed_at"]) == (at(10), at(30))
    assert row["unchanged_observations"] == 3


def test_a_silence_as_long_as_an_earlier_one_is_usual():
    row = judged(with_past(19, steps(0, 50, 50, 50, every=5)), p=0.05)
    assert row["silence"] == minutes(10)
    assert (row["p_value"], row["verdict"]) == (1, "moving")


def test_with_too_few_silences_to_compare_a_fixed_threshold_decides():
    frame = with_past(18, SILENT)
    assert judged(frame, p=0.05)["verdict"] == "cannot tell"  # longer than any completed one
    row = judged(frame, p=0.05, after="20min")
    assert (row["basis"], row["verdict"]) == ("fixed threshold", "stuck")
    assert judged(frame, p=0.05, after=minutes(21))["verdict"] == "cannot tell"


def test_with_too_few_to_compare_a_silence_as_long_as_a_completed_one_is_moving():
    row = judged(with_past(5, steps(0, 50, 50, 50, every=5)))
    assert (row["basis"], row["verdict"]) == ("longest silence", "moving")
    long = judged(with_past(5, steps(0, 50, 50, 50, every=5)), after="10min")
    assert (long["basis"], long["verdict"]) == ("fixed threshold", "stuck")


def test_other_running_batches_count_as_censored_at_their_silence_so_far():
    """18 silences of ten minutes are complete; c has been silent for 20 minutes, or for 5."""
    for other, p_value in (
        (steps(0, 50, 50, 50, batch_id="c"), 2 / 20),
        (steps(0, 50, 50, batch_id="c", every=5), 1 / 19),
    ):
        row = judged(with_past(18, SILENT, other), p=0.05)
        assert row["comparable"] == 18
        assert row["p_value"] == pytest.approx(p_value)
        assert row["min_p_value"] == pytest.approx(1 / 19)


def test_a_dead_batch_is_found_beside_running_and_dead_ones():
    """A silence of 35 minutes, beside hundreds of ten: three times any completed one."""
    past = pd.concat([with_past(19).assign(batch_id=f"old{n}") for n in range(8)])
    dead = [steps(0, 50, *[50] * 7, every=5, batch_id=f"c{n}") for n in range(6)]
    for count in range(1, 7):
        table = stuck(pd.concat([past, *dead[:count]]), as_of=END)
        assert set(table["verdict"]) == {"stuck"}
    assert set(table["basis"]) == {"longest silence"}  # the six make each other usual
    assert (table["p_value"] > 0.01).all()
    assert (table["min_p_value"] <= 0.01).all()
    short = [frame[frame["sent_at"] <= at(30)] for frame in dead]  # silent for 25 minutes so far
    table = stuck(pd.concat([past, *short]), as_of=END)
    assert set(table["verdict"]) == {"cannot tell"}
    table = stuck(pd.concat([past, *short]), as_of=END, after="25min")
    assert set(table["basis"]) == {"fixed threshold"}


WORLDS = [
    Silences(running=0, dead=3),
    Silences(running=20, dead=3),
    Silences(running=60, dead=3, uneven=0.5),
    Silences(running=20, dead=20, kind="lognormal"),
    Silences(past=20, running=10, dead=3, kind="even", uneven=0.5),
]


@pytest.mark.parametrize("world", WORLDS)
def test_all_dead_batches_are_found_within_three_longest_silences_and_few_others(world):
    """More of this in tests/coverage."""
    *_, longest = play(world, 1.0)
    frame, dead, running, _ = play(world, 3 * longest + 4 * world.every)
    found = stuck(frame, as_of=START + pd.Timedelta(hours=1)).set_index("batch_id")["verdict"]
    assert set(found.reindex(sorted(dead))) == {"stuck"}
    assert (found.reindex(sorted(running)) == "stuck").mean() <= 0.05 if running else True


def test_silences_of_another_schema_or_tenant_are_not_comparable():
    for others in (with_past(30, schema="other"), with_past(30).assign(tenant_id="u")):
        row = judged(pd.concat([SILENT, others]))
        assert (row["comparable"], row["p_value"]) == (0, 1)


def test_batches_without_a_schema_are_compared_with_each_other():
    frame = with_past(19, SILENT).assign(schema_name=None)
    assert judged(frame, p=0.05)["verdict"] == "stuck"


def test_waiting_of_pending_records_is_no_silence_of_a_running_batch():
    """The old batch was complete at minute 20; at minute 500 its last pending record arrived."""
    done = {"processed": 1000, "status": "partial_success", "failed": 0}
    old = observations(
        {"at": 0, "processed": 0},
        {"at": 10, "processed": 500},
        {"at": 20, "successful": 999, "pending": 1, **done},
        {"at": 500, "successful": 1000, "pending": 0, **done},
        batch_id="old",
    )
    row = judged(pd.concat([SILENT, old]))
    assert (row["comparable"], row["p_value"]) == (1, 1 / 2)  # only the ten minutes


def test_waiting_for_dependencies_is_never_stuck():
    whole = {"successful": 600, "failed": 100, "pending": 300}
    for processed in (1000, 700):  # whether the API counts pending ones as processed or not
        frame = observations(*[{"at": 600 * i, "processed": processed, **whole} for i in range(9)])
        row = judged(frame)
        assert row["verdict"] == "waiting"
        assert row[["comparable", "p_value", "basis"]].isna().all()


def test_a_batch_with_all_records_processed_but_not_ended_can_be_stuck():
    assert judged(steps(0, 1000, 1000, 1000, every=60))["verdict"] == "stuck"


def test_a_change_at_the_last_observation_is_moving_and_two_are_too_few():
    assert judged(steps(0, 0, 0, 0, 1, every=500))["verdict"] == "moving"
    assert judged(steps(0, 1, 1, every=500))["verdict"] == "too few observations"
    assert judged(steps(5))["verdict"] == "too few observations"
    assert judged(steps(5, 5, 5, every=500))["verdict"] == "stuck"  # never seen to move


def test_a_listing_and_a_single_request_in_one_pass_do_not_count_twice():
    listed = {"scope": "list", "processed": 5}
    rows = [{"at": 100 * i, "run_id": str(i), **listed} for i in range(2)]
    rows += [{"at": 100 * i + 1, "run_id": str(i), "processed": 5} for i in range(2)]
    row = judged(observations(*rows))
    assert (row["unchanged_observations"], row["verdict"]) == (2, "too few observations")
    assert row["last_change_at"] == at(1)


def test_missing_counts_of_an_observation_are_no_change():
    row = judged(steps(0, 50, None, 50, None, every=60))
    assert (row["unchanged_observations"], row["silence"]) == (4, minutes(180))


def test_silence_ends_at_the_last_good_observation_and_later_ones_do_not_count():
    failed = observations({"at": 40, "ok": False, "status": None, "total": None})
    row = judged(pd.concat([SILENT, failed]))
    assert row["last_observed_at"] == at(30)
    early = only(stuck(SILENT, as_of=at(25)))
    assert early["silence"] == minutes(10)
    assert only(stuck(SILENT, as_of=at(25).tz_localize(None)))["silence"] == minutes(10)


def test_only_unfinished_batches_have_a_row():
    over = [
        steps(5, 1000, batch_id="a", status="success"),
        steps(5, 5, batch_id="b", status="failure"),
        steps(5, 5, batch_id="c", status="partial_success", completed_at=at(1)),
        steps(5, 5, batch_id="d", status="novel"),
        steps(5, 5, batch_id="e", total=None),
        steps(5, 5, batch_id="f", total=None, status="novel"),
    ]
    table = stuck(pd.concat(over), as_of=END)
    assert sorted(table["batch_id"]) == ["d", "e"]


def test_the_longest_silence_comes_first():
    frame = pd.concat([SILENT, steps(1, 1, 1, batch_id="a", every=30), steps(1, batch_id="c")])
    assert stuck(frame, as_of=END)["batch_id"].tolist() == ["a", "b", "c"]


def test_at_a_steady_pace_the_end_is_estimated():
    """Golden: 0, 100, 200, 300 of 1000 at 0, 10, 20, 30 minutes: 70 minutes more."""
    row = only(eta(steps(0, 100, 200, 300)))
    assert row[["eta", "eta_low", "eta_high"]].tolist() == [at(100)] * 3
    assert row["records_per_second"] == pytest.approx(1 / 6)
    assert (row["processed_records"], row["total_records"]) == (300, 1000)
    assert pd.isna(row["reason"])


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (steps(0, 100, 200, 300, 300, 300), "no progress in the last 3 observations"),
        (steps(0, 100), "fewer than 3 observations"),
        (steps(None, None, None), "fewer than 3 observations"),
        (steps(0, 20, 49), "less than 5 % done"),
        (steps(0, 100, 200, total=None), "total unknown"),
        (steps(500, 100, 200, 300), "the count went back"),
    ],
)
def test_without_a_pace_there_is_a_reason_instead(frame, reason):
    row = only(eta(frame))
    assert row["reason"] == reason
    assert row[["eta", "eta_low", "eta_high"]].isna().all()


def test_exactly_five_percent_are_enough():
    assert pd.notna(only(eta(steps(0, 4, 7, total=140)))["eta"])


def test_an_uneven_pace_gives_a_span_around_the_end():
    """300 in 20 minutes; 250 in the best ten and 50 in the worst: 700 more in 46.7, 28, 140."""
    row = only(eta(steps(0, 250, 300)))
    assert row["eta"] == at(20) + pd.Timedelta(minutes=700 / 15)
    assert row["eta_low"] == at(20 + 28)
    assert row["eta_high"] == at(20 + 140)


def test_the_pace_is_of_five_observations_or_ten_minutes():
    slow = only(eta(steps(0, *[500] * 5, 600, 700)))  # of the five: 500, 500, 500, 600, 700
    assert slow["records_per_second"] == pytest.approx(200 / 2400)
    fast = only(eta(steps(*range(0, 300, 10), every=1)))  # eleven observations in ten minutes
    assert fast["records_per_second"] == pytest.approx(100 / 600)
    jump = only(eta(steps(0, *range(200, 220), every=1)))
    assert jump["records_per_second"] == pytest.approx(10 / 600)


def test_a_standstill_delays_the_end_but_is_no_pace():
    row = only(eta(steps(100, 200, 200, 200, 300)))
    assert row["eta_low"] == at(40 + 70)
    assert row["eta"] == row["eta_high"] == at(40 + 140)


def test_batches_that_are_complete_or_wait_have_no_eta():
    assert len(eta(steps(0, 500, 1000))) == 0
    assert len(eta(steps(0, 500, 600, status="failure"))) == 0
    waits = [
        {"at": i, "processed": 700, "successful": 700, "pending": 300, "failed": 0}
        for i in range(3)
    ]
    assert len(eta(observations(*waits))) == 0


def test_the_earliest_end_comes_first_and_later_observations_can_be_left_out():
    frame = pd.concat(
        [steps(0, 100, 200), steps(0, 400, 800, batch_id="c"), steps(1, batch_id="a")]
    )
    assert eta(frame)["batch_id"].tolist() == ["c", "b", "a"]
    cut = eta(steps(0, 100, 200, 900), as_of=at(25))
    assert only(cut)["processed_records"] == 200


def test_an_end_beyond_representable_time_is_clipped():
    frame = steps(10**14, 2 * 10**14, 2 * 10**14 + 1, total=10**15)
    assert only(eta(frame))["eta_high"].year == 2343


series = st.lists(st.none() | st.integers(0, 12).map(lambda n: n * 100), min_size=1, max_size=9)


def by_hand(batches: list[list[int | None]]) -> list[float]:
    """The p-value of each batch of `steps`, every 7 minutes for the first, then 8, 9, …"""
    past, current = [], []
    for number, own in enumerate(batches):
        changes, shown = [], own[0]
        for place, count in enumerate(own):
            if count is not None and count != shown:
                changes.append((7 + number) * place)
                shown = count
        past += [later - earlier for earlier, later in pairwise(changes)]
        current.append((7 + number) * (len(own) - 1) - (changes or [0])[-1])
    return [with_censored(past, current, own) for own in current]


def with_censored(past: list[int], current: list[int], own: int) -> float:
    """Kaplan–Meier, silence by silence: completed ones, and the running ones as censored."""
    share = 1.0
    for length in sorted(set(past)):
        if length < own:
            at_risk = sum(t >= length for t in past) + sum(t >= length for t in current)
            share *= 1 - past.count(length) / at_risk
    total = sum(past)
    if not total:
        return max(share, (1 + sum(t >= own for t in past)) / (len(past) + 1))
    mean = total / len(past)
    longer = sum(max(0, t - own) for t in past)
    alone = (1 + sum(t >= own for t in past)) / (len(past) + 1)
    return max(share, alone, (longer + mean) / (total + mean))


@settings(max_examples=examples(10))
@given(st.lists(series, min_size=1, max_size=4), st.randoms())
def test_p_agrees_with_a_plain_computation_and_row_order_does_not_matter(batches, random):
    frame = pd.concat(
        [steps(*own, batch_id=f"b{i}", every=7 + i) for i, own in enumerate(batches)],
        ignore_index=True,
    )
    order = random.sample(range(len(frame)), len(frame))
    table, ends = stuck(frame, as_of=END, p=0.3), eta(frame)
    pd.testing.assert_frame_equal(stuck(frame.iloc[order], as_of=END, p=0.3), table)
    pd.testing.assert_frame_equal(eta(frame.iloc[order]), ends)
    assert table.sort_values("batch_id")["p_value"].tolist() == pytest.approx(by_hand(batches))
    assert table["p_value"].between(0, 1, inclusive="right").all()
    known = ends[ends["eta"].notna()]
    assert known["eta"].between(known["eta_low"], known["eta_high"]).all()
    assert (ends["eta"].isna() == ends["reason"].notna()).all()


@settings(max_examples=examples(10))
@given(st.lists(st.integers(0, 9), min_size=3, max_size=9), st.integers(2, 7))
def test_more_records_in_the_same_time_end_at_the_same_time(rises, factor):
    counts = [sum(rises[: i + 1]) for i in range(len(rises))]
    one = only(eta(steps(*counts, total=100)))
    many = only(eta(steps(*[n * factor for n in counts], total=100 * factor)))
    for name in ("eta", "eta_low", "eta_high"):
        assert pd.isna(one[name]) == pd.isna(many[name])
        assert pd.isna(one[name]) or abs(one[name] - many[name]) < pd.Timedelta("1ms")


def test_empty_and_null_in_the_same_types():
    pd.testing.assert_frame_equal(
        stuck(tables.OBSERVATIONS.empty(), as_of=END), tables.STUCK.empty()
    )
    pd.testing.assert_frame_equal(eta(tables.OBSERVATIONS.empty()), tables.ETA.empty())
    nulls = steps(None, None, total=None, schema_name=None)
    for table, kind in ((stuck(nulls, as_of=END), tables.STUCK), (eta(nulls), tables.ETA)):
        assert len(table) == 1
        assert table.dtypes.to_dict() == kind.empty().dtypes.to_dict()
    unknown = steps(None, None, total=None, status=None)
    assert len(stuck(unknown, as_of=END)) == len(eta(unknown)) == 0


def test_wrong_columns_and_arguments_are_named():
    for measure in (lambda frame: stuck(frame, as_of=END), eta):
        with pytest.raises(FrameError, match=r"`status`.*history\.observations\(\)"):
            measure(SILENT.drop(columns="status"))
    for p in (0, 1, -1):
        with pytest.raises(ValueError, match="p must be between 0 and 1"):
            stuck(SILENT, as_of=END, p=p)
    for after in ("soon", "0h"):
        with pytest.raises(ValueError, match="after must be a length of time"):
            stuck(SILENT, as_of=END, after=after)


def test_the_input_is_not_changed():
    before = SILENT.copy(deep=True)
    stuck(SILENT, as_of=END)
    eta(SILENT)
    pd.testing.assert_frame_equal(SILENT, before)


@pytest.mark.parametrize("measure", [eta, partial(stuck, as_of=at(99)), measures.throughput])
def test_an_observation_without_a_batch_is_refused(measure):
    """A store holds none; it would be dropped, or mixed with others."""
    nobodys = tables.OBSERVATIONS.conform(pd.DataFrame({"sent_at": [at(0)], "ok": [True]}))
    with pytest.raises(FrameError, match="each `tenant_id`; found 1 rows where it is null"):
        measure(nobodys)
