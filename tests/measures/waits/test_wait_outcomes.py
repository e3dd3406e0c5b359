"""The outcome of each wait: the rule table, case by case, in minutes with expiry at 60."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.errors import FrameError
from reach_analytics.measures import arrivals, expiry_codes, wait_outcomes
from reach_analytics.tables import LIST
from tests.support.effort import examples, some
from tests.support.histories import SECOND, history
from tests.support.observations import batch, counts, minute, observation
from tests.support.outcomes import NONE, learned, one_of_two, summed, waits
from tests.support.worlds import World, faults, play


def judged(*observations, tolerance: str = "1min", **options) -> pd.DataFrame:
    table = history(*observations).wait_outcomes(tolerance=tolerance, **options)
    return table.set_index("external_id")


def verdict(table: pd.DataFrame, name: str = "A") -> tuple[str, str]:
    return table.loc[name, "verdict"], table.loc[name, "rule"]


def test_gone_before_its_expiry_means_released_between_the_observations():
    table = judged(observation(waits(), 30), observation(NONE, 40))
    assert verdict(table) == ("released", "3")
    assert table.loc["A", "ended_after"] == minute(30)
    assert table.loc["A", "ended_by"] == minute(40) + SECOND


def test_gone_across_its_expiry_is_unknown():
    table = judged(observation(waits(), 50), observation(NONE, 70))
    assert verdict(table) == ("unknown", "6")
    assert table.loc["A", "ended_by"] == minute(60)
    together = ["unknown_together", "released_at_least", "released_at_most"]
    assert table.loc["A", together].tolist() == [1, 0, 1]


def test_a_dependency_still_missing_after_the_expiry_means_expired():
    other = batch("c", waits={"B": "x"}, created=0, expires=200)
    table = judged(observation(waits(), 50), observation(NONE, 70), observation(other, 75))
    assert verdict(table) == ("expired", "5a")
    assert table.loc["A", ["ended_after", "ended_by"]].tolist() == [minute(60)] * 2
    assert verdict(table, "B") == ("pending", "seen")


def test_listed_after_its_expiry_means_expired_with_a_late_sweep():
    table = judged(observation(waits(), 65), observation(NONE, 80))
    assert verdict(table) == ("expired", "4")
    assert table.loc["A", "sweep_lag_low"] == pd.Timedelta(minutes=5)
    assert table.loc["A", "sweep_lag_high"] == pd.Timedelta(minutes=20) + SECOND


def test_a_failed_observation_between_two_that_list_it_means_still_pending():
    table = judged(
        observation(waits(), 30), observation(None, 40, batch_id="b"), observation(waits(), 50)
    )
    assert verdict(table) == ("pending", "seen")


def test_waits_of_a_batch_that_can_no_longer_be_fetched_are_censored():
    table = judged(observation(waits(), 30), observation(None, 40, batch_id="b"))
    assert verdict(table) == ("censored", "2")
    assert table.loc["A", "ended_after"] == minute(30)
    assert pd.isna(table.loc["A", "ended_by"])


def test_a_dependency_that_was_present_in_time_means_released():
    """B misses the same, and is gone long before its own expiry: x was present by minute 45."""
    other = batch("c", waits={"B": "x"}, created=0, expires=300)
    table = judged(
        observation(waits(), 40),
        observation(other, 40),
        observation(batch("c", waits={}), 45),
        observation(NONE, 70),
    )
    assert verdict(table, "B") == ("released", "3")
    assert verdict(table) == ("released", "5b")
    assert table.loc["A", "ended_by"] == minute(60)


def test_one_of_two_dependencies_in_time_is_not_enough():
    other = batch("c", waits={"B": "x"}, created=0, expires=300)
    table = judged(
        observation(waits("xy"), 40),
        observation(other, 40),
        observation(batch("c", waits={}), 45),
        observation(NONE, 70),
    )
    assert verdict(table)[0] == "unknown"


def test_a_dependency_removed_from_another_list_in_time_was_present():
    before, after = (
        batch("c", waits={"B": missing}, created=0, expires=300) for missing in ("xz", "z")
    )
    table = judged(
        observation(waits(), 40),
        observation(before, 40),
        observation(after, 45),
        observation(NONE, 70),
    )
    assert verdict(table) == ("released", "5b")


def test_what_came_and_went_again_proves_nothing():
    struck = batch("c", waits={"B": "z"}, created=0, expires=300)
    missing = batch("c", waits={"B": "xz"}, created=0, expires=300)
    table = judged(
        observation(waits(), 40),
        observation(missing, 40),
        observation(struck, 45),
        observation(NONE, 70),
        observation(batch("d", waits={"C": "x"}, created=80, expires=300), 90),
    )
    assert verdict(table)[0] == "unknown"


def test_a_waiting_resource_that_misses_nothing_shows_that_release_is_delayed():
    assert verdict(judged(observation(waits(""), 50), observation(NONE, 70)))[0] == "unknown"


def test_an_omitted_list_removes_no_dependency():
    """Batch c lists B without its dependencies: that does not show that x came."""
    other = batch("c", waits={"B": "x"}, created=0, expires=300)
    bare = batch("c", waits={"B": ""}, created=0, expires=300)
    del bare["pendingResources"][0]["missingDependencies"]
    table = judged(
        observation(waits(), 5),
        observation(other, 0),
        observation(bare, 10),
        observation(bare, 20),
        observation(NONE, 70),
    )
    assert verdict(table)[0] == "unknown"


def test_a_dependency_without_a_whole_key_proves_nothing_about_another():
    documents = [waits(), batch("c", waits={"B": "x"}, created=0, expires=300)]
    for document in documents:
        document["pendingResources"][0]["missingDependencies"][0]["externalId"] = None
    table = judged(
        observation(documents[0], 10),
        observation(documents[1], 10),
        observation(batch("c", waits={}), 20),
        observation(NONE, 70),
    )
    assert verdict(table, "B") == ("released", "3")
    assert verdict(table)[0] == "unknown"


def test_a_resource_that_a_list_names_twice_counts_once():
    """A is not listed at 10, where it would have proven that x came; B's end depends on it."""
    twice = batch(waits={"A": "xy"}, created=0, expires=300)
    twice["pendingResources"] *= 2
    other = batch("c", waits={"B": "x"}, created=0, expires=20)
    table = judged(
        observation(twice, 0),
        observation(other, 5),
        observation(batch(waits={}), 10),
        observation(batch("c", waits={}), 35),
        observation(batch(waits={"A": "y"}, created=0, expires=300), 40),
    )
    assert verdict(table, "B")[0] == "unknown"


def test_two_resources_without_ids_are_distinguished_by_schema():
    document = batch(waits={"1": "x", "2": "y"}, created=0, expires=60)
    for row, schema in zip(document["pendingResources"], "st", strict=True):
        row |= {"id": None, "resourceExternalId": "1", "schemaDefinitionId": schema}
    gone = batch("c", waits={"C": "x"}, created=0, expires=300)
    seen = history(
        observation(document, 30),
        observation(gone, 30),
        observation(batch("c", waits={}), 40),
        observation(NONE, 70),
    )
    table = seen.wait_outcomes()
    told = table.set_index("schema_definition_id").loc[["s", "t"], "verdict"]
    by_schema = dict(zip(table["schema_definition_id"], table["verdict"], strict=True))
    assert by_schema["t"] == "unknown"
    assert len(told) == 3  # C is of schema s too


def test_an_id_whose_name_is_known_later_is_one_wait():
    nameless = waits()
    nameless["pendingResources"][0]["resourceExternalId"] = None
    table = judged(observation(nameless, 10), observation(waits(), 20))
    assert table["verdict"].tolist() == ["pending"]
    assert table.index.tolist() == ["A"]


def test_what_cannot_expire_was_released():
    still = {"progress": counts(10, 4, 5)}
    endless = batch(waits={"A": "x"})
    assert (
        verdict(judged(observation(endless | still, 50), observation(NONE | still, 70)))[0]
        == "unknown"
    )


def test_a_batch_without_new_successes_released_nothing():
    still = {"progress": counts(10, 4, 5)}
    table = judged(observation(waits() | still, 50), observation(NONE | still, 70))
    assert verdict(table) == ("expired", "5c")


def test_a_batch_with_a_success_for_each_departure_released_them():
    table = judged(
        observation(waits(B="x") | {"progress": counts(10, 4, 4)}, 50),
        observation(NONE | {"progress": counts(10, 6, 4)}, 70),
    )
    assert verdict(table) == verdict(table, "B") == ("released", "5d")


def test_successes_of_records_not_yet_processed_prove_nothing():
    table = judged(
        observation(waits() | {"progress": counts(10, 4, 4, processed=9)}, 50),
        observation(NONE | {"progress": counts(10, 5, 4)}, 70),
    )
    assert verdict(table)[0] == "unknown"


def failed(**options) -> pd.DataFrame:
    """A leaves across its expiry while its batch counts one failure."""
    return judged(
        observation(waits() | {"progress": counts(10, 4, 5)}, 50),
        observation(NONE | {"progress": counts(10, 4, 6)}, 70),
        **options,
    )


def test_what_a_failure_proves_depends_on_whether_expiries_count_as_failed():
    assert verdict(failed())[0] == "unknown"
    assert verdict(failed(expired_counts_as_failed=True))[0] == "unknown"
    assert verdict(failed(expired_counts_as_failed=False)) == ("released", "5d")
    assert verdict(failed(released_may_fail=False)) == ("expired", "5c")


def test_no_failure_means_no_expiry_if_these_count_as_failed():
    """Some records are still unprocessed, so the success may be another's."""
    observations = [
        observation(waits() | {"progress": counts(10, 4, 4, processed=9)}, 50),
        observation(NONE | {"progress": counts(10, 6, 4)}, 70),
    ]
    assert verdict(judged(*observations, expired_counts_as_failed=True)) == ("released", "5d")
    assert verdict(judged(*observations, expired_counts_as_failed=False))[0] == "unknown"


def convention(rise: int) -> list:
    """Another batch whose expired resource (rule 4) raised the failed count by ``rise``."""
    own = batch("c", waits={"B": "z"}, created=0, expires=60)
    return [
        observation(own | {"progress": counts(10, 4, 5)}, 65),
        observation(batch("c", waits={}) | {"progress": counts(10, 4, 5 + rise)}, 80),
    ]


def test_what_counts_as_failed_is_learned_from_known_departures():
    one = [
        observation(waits() | {"progress": counts(10, 4, 5)}, 50),
        observation(NONE | {"progress": counts(10, 4, 6)}, 70),
    ]
    assert verdict(judged(*one, *convention(rise=0))) == ("released", "5d")
    assert verdict(judged(*one, *convention(rise=1)))[0] == "unknown"


def test_counts_that_contradict_what_is_known_prove_nothing():
    """Both left, one of them certainly released, and the successes fell."""
    document = batch(waits={"A": "x", "B": "y"}, created=0, expires={"A": 60, "B": 300})
    table = judged(
        observation(document | {"progress": counts(10, 4, 4)}, 50),
        observation(NONE | {"progress": counts(10, 3, 4)}, 70),
    )
    assert verdict(table, "B") == ("released", "3")
    assert verdict(table)[0] == "unknown"


def test_a_group_with_unknown_ends_has_bounds_on_how_many_were_released():
    table = judged(
        observation(waits(B="y", C="z") | {"progress": counts(10, 4, 3)}, 50),
        observation(NONE | {"progress": counts(10, 5, 5)}, 70),
    )
    bounds = ["unknown_together", "released_at_least", "released_at_most"]
    assert table[bounds].drop_duplicates().to_numpy().tolist() == [[3, 1, 3]]


def slow(document: dict, sent: float, received: float) -> RecordedObservation:
    """An observation whose answer came late."""
    return replace(observation(document, sent), received_at=minute(received))


def overlapping(second: float, good: tuple[int, int, int], bad: tuple[int, int, int]) -> list:
    """A expires late and B at 15. Both are listed at 0 and 10, the latter answered at ``second``;
    one sent at 11 and answered at 13 lists B only, and one at 20 nothing. The counts are those of
    the batch at first, at 11 and at 20."""
    both = batch(waits={"A": "x", "B": "y"}, created=0, expires={"A": 500, "B": 15})
    only_b = batch(waits={"B": "y"}, created=0, expires={"B": 15})
    first, third, last = ({"progress": counts(9, g, b)} for g, b in zip(good, bad, strict=True))
    return [
        observation(both | first, 0),
        slow(both | first, 10, second),
        slow(only_b | third, 11, 13),
        observation(NONE | last, 20),
    ]


@pytest.mark.parametrize("second", [10.4, 12])
def test_a_late_answer_does_not_turn_a_release_into_an_expiry(second):
    """A is released by 11 and B at 14, in time; each counts as a success."""
    table = judged(*overlapping(second, good=(3, 4, 5), bad=(2, 2, 2)), tolerance="1s")
    assert verdict(table) == ("released", "3")
    assert verdict(table, "B") == ("released", "5d")


ENDS = {"A": 10.5, "B": 15}


@pytest.mark.parametrize("second", [10.4, 12])
def test_a_late_answer_does_not_turn_an_expiry_into_a_release(second):
    """The mirror image: A expired by 11 (z, which it also misses, is still missing at 30), B at 15;
    each counts as a failure, as others show."""
    both, only_b, none = (
        batch(waits=w, created=0, expires=ENDS) for w in ({"A": "z", "B": "y"}, {"B": "y"}, {})
    )
    observations = [
        observation(both | {"progress": counts(9, 3, 2)}, 0),
        slow(both | {"progress": counts(9, 3, 2)}, 10, second),
        slow(only_b | {"progress": counts(9, 3, 3)}, 11, 13),
        observation(none | {"progress": counts(9, 3, 4)}, 20),
    ]
    other = observation(batch("c", waits={"C": "z"}, created=0, expires=300), 30)
    table = judged(*observations, other, expired_counts_as_failed=True, tolerance="1s")
    assert verdict(table)[0] != "released"
    assert verdict(table, "B")[0] != "released"


def deletion(began: float, ended: float | None, deleted: int = 1, **fields) -> RecordedObservation:
    """A listing's row of a deletion batch."""
    document = {
        "batchId": "d",
        "batchType": "PARTNER_RESOURCE_BATCH_DELETE",
        "status": "processing" if ended is None else "success",
        "createdAt": minute(began).isoformat(),
        "progress": {"totalRecords": 1, "successfulRecords": deleted},
        **fields,
    }
    if ended is not None:
        document["completedAt"] = minute(ended).isoformat()
    return observation(document, 400, scope=LIST)


MISSING_LATER = [
    observation(waits(), 50),
    observation(NONE, 70),
    observation(batch("c", waits={"B": "x"}, created=71, expires=200), 75),
]


@pytest.mark.parametrize("work", [(52, 53), (10, 51), (74, 80), (55, None)])
def test_what_is_missing_after_the_expiry_may_have_come_and_been_deleted(work):
    assert verdict(judged(*MISSING_LATER, deletion(*work)))[0] == "unknown"


@pytest.mark.parametrize("work", [(10, 48), (77, 80)])
def test_a_deletion_before_or_after_explains_nothing(work):
    assert verdict(judged(*MISSING_LATER, deletion(*work))) == ("expired", "5a")


def test_neither_does_one_that_deleted_nothing_or_another_tenant_s():
    assert verdict(judged(*MISSING_LATER, deletion(52, 53, deleted=0))) == ("expired", "5a")
    other = replace(deletion(52, 53), tenant_id="u")
    assert verdict(judged(*MISSING_LATER, other)) == ("expired", "5a")


def test_an_early_observation_of_what_is_missing_is_as_good_as_a_late_one():
    """x is missing at 75, before the deletion at 90, and still at 100."""
    again = observation(batch("c", waits={"B": "x"}, created=71, expires=200), 100)
    other = observation(batch("e", waits={"E": "x"}, created=71, expires=200), 75)
    table = judged(*MISSING_LATER[:2], other, again, deletion(90, 91))
    assert verdict(table) == ("expired", "5a")
    assert verdict(judged(*MISSING_LATER[:2], again, deletion(90, 91)))[0] == "unknown"


def test_of_several_dependencies_the_first_may_be_deleted_before_the_last_comes():
    """x was present by 42 and y by 46, as others show; but a deletion ran in between."""
    b, c = (batch(n, waits={n: m}, created=0, expires=300) for n, m in (("b2", "x"), ("c2", "y")))
    observations = [
        *(observation(waits("xy"), 40), observation(b, 40), observation(c, 40)),
        *(
            observation(batch("b2", waits={}), 42),
            observation(batch("c2", waits={}), 46),
            observation(NONE, 70),
        ),
    ]
    assert verdict(judged(*observations)) == ("released", "5b")
    assert verdict(judged(*observations, deletion(43, 44)))[0] == "unknown"
    assert verdict(judged(*observations, deletion(47.5, 48))) == ("released", "5b")


def test_a_code_that_counts_expiries_decides_if_nothing_else_does():
    assert verdict(judged(*one_of_two(rise=1)))[0] == "unknown"  # its name alone proves nothing
    assert verdict(judged(*one_of_two(rise=1), *learned())) == ("expired", "5e")
    assert verdict(judged(*one_of_two(rise=0), *learned())) == ("released", "5e")


@pytest.mark.parametrize(
    ("code", "rises"),
    [
        ("WAIT_EXPIRED", (2, 1)),  # disagrees once
        ("WAIT_EXPIRED", (2, 3)),
        ("WAIT_EXPIRED", (2,)),  # seen once only
        ("GONE", (2, 2)),  # counts the same, but names no expiry
    ],
)
def test_a_code_not_proven_to_count_expiries_decides_nothing(code, rises):
    table = judged(*one_of_two(code, rise=1), *learned(code, rises))
    assert verdict(table)[0] == "unknown"


def test_a_code_gives_bounds_if_it_counts_a_part_of_those_that_left():
    table = judged(
        observation(summed(waits(B="y", C="w"), 4, 3, OTHER=3), 50),
        observation(summed(NONE, 4, 6, OTHER=4, WAIT_EXPIRED=2), 70),
        *learned(),
    )
    own = table.loc[["A", "B", "C"]]
    bounds = ["unknown_together", "released_at_least", "released_at_most"]
    assert own[bounds].drop_duplicates().to_numpy().tolist() == [[3, 1, 1]]


def test_expiry_codes_are_listed_with_their_evidence():
    seen = history(*learned(), *one_of_two(rise=1))
    [row] = seen.expiry_codes().to_dict("records")
    assert row == {
        "code": "WAIT_EXPIRED",
        "departures": 2,
        "expired": 4,
        "contradictions": 0,
        "used": True,
    }
    [row] = history(*learned(rises=(2, 1))).expiry_codes().to_dict("records")
    assert (row["contradictions"], row["used"]) == (1, False)


WORLDS = {
    "slow": World(slow=0.6),
    "two collectors": World(slow=0.6, collectors=2, expired_counts_as_failed=False),
    "deletions": World(slow=0.1, deletes=True, code="WAIT_EXPIRED"),
    "all at once": World(slow=0.6, collectors=2, deletes=True, busy=0.5, sweep=8, code="timeout"),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("seed", some([0, 1], 1))
def test_no_verdict_or_bound_is_wrong_in_worlds_with_overlapping_observations(name, seed):
    played = play(replace(WORLDS[name], seed=seed))
    table = history(*played.observations).wait_outcomes(tolerance="1s")
    assert faults(table, played.waits) == []
    assert len(table) > 90
    assert (table["verdict"] == "unknown").mean() < 0.5


def test_clocks_may_differ_by_the_tolerance():
    near = [observation(waits(), 58), observation(NONE, 59.5)]
    assert verdict(judged(*near, tolerance="1min"))[0] == "unknown"
    assert verdict(judged(*near, tolerance="5s")) == ("released", "3")
    after = [observation(waits(), 60.5), observation(NONE, 70)]
    assert verdict(judged(*after, tolerance="1min"))[0] == "unknown"
    assert verdict(judged(*after, tolerance="0s")) == ("expired", "4")


def test_without_an_expiry_only_the_counts_decide():
    endless = batch(waits={"A": "x"})
    assert verdict(judged(observation(endless, 0), observation(NONE, 9)))[0] == "unknown"
    table = judged(
        observation(endless | {"progress": counts(10, 4, 5)}, 0),
        observation(NONE | {"progress": counts(10, 5, 5)}, 9),
    )
    assert verdict(table) == ("released", "5d")


def test_the_root_of_a_wait_is_at_the_end_of_its_chain():
    document = batch(waits={"A": "x", "B": "A", "C": "B", "D": ""}, created=0, expires=60)
    table = judged(observation(document, 0))
    assert table["root_external_id"].fillna("-").to_dict() == {
        "A": "x",
        "B": "x",
        "C": "x",
        "D": "-",
    }


def test_of_several_roots_the_one_with_the_most_waits_counts():
    document = batch(waits={"A": "xy", "B": "y", "C": "xz"}, created=0, expires=60)
    assert judged(observation(document, 0))["root_external_id"].to_dict() == {
        "A": "x",  # x and y are missed by two each: the first name counts
        "B": "y",
        "C": "x",
    }


def test_the_root_of_waits_in_a_cycle_is_one_of_them():
    document = batch(waits={"A": "B", "B": "A"}, created=0, expires=60)
    assert set(judged(observation(document, 0))["root_external_id"]) <= {"A", "B"}


def test_another_tenant_proves_nothing():
    other = batch("c", waits={"B": "x"}, created=0, expires=200)
    table = judged(
        observation(waits(), 50), observation(NONE, 70), observation(other, 75, tenant_id="u")
    )
    assert verdict(table)[0] == "unknown"


def test_empty_in_empty_out():
    table = wait_outcomes(tables.WAIT_INTERVALS.empty(), tables.MISSING_INTERVALS.empty())
    pd.testing.assert_frame_equal(table, tables.WAIT_OUTCOMES.empty())
    found = arrivals(tables.WAIT_OUTCOMES.empty(), tables.MISSING_INTERVALS.empty())
    pd.testing.assert_frame_equal(found, tables.ARRIVALS.empty())


def test_a_wrong_frame_is_refused_with_what_to_pass():
    with pytest.raises(FrameError, match=r"pass history\.wait_intervals\(\)"):
        wait_outcomes(pd.DataFrame({"x": [1]}), tables.MISSING_INTERVALS.empty())
    with pytest.raises(FrameError, match=r"pass history\.missing_intervals\(\)"):
        wait_outcomes(tables.WAIT_INTERVALS.empty(), pd.DataFrame({"x": [1]}))


@pytest.mark.parametrize("tolerance", ["-1s", "soon"])
def test_an_odd_tolerance_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance must be a length of time"):
        wait_outcomes(
            tables.WAIT_INTERVALS.empty(), tables.MISSING_INTERVALS.empty(), tolerance=tolerance
        )


LISTS = st.lists(
    st.dictionaries(st.sampled_from("ABC"), st.sets(st.sampled_from("xyz")), max_size=3),
    min_size=1,
    max_size=5,
)


@settings(max_examples=examples(25))
@given(one=LISTS, other=LISTS, seed=st.randoms())
def test_each_wait_has_one_verdict_with_ordered_bounds_for_any_observations(one, other, seed):
    observations = [
        observation(batch(name, waits=waits, created=0, expires=35), at * 10 + shift)
        for name, lists, shift in (("b", one, 0), ("c", other, 3))
        for at, waits in enumerate(lists)
    ]
    seen = history(*observations)
    wait_intervals, links, left = seen.wait_intervals(), seen.missing_intervals(), seen.departures()
    table = wait_outcomes(wait_intervals, links, left)
    assert len(table) == len(wait_intervals)
    told = table["ended_by"].notna()
    assert (table["ended_after"] <= table["ended_by"])[told].all()
    assert set(table["verdict"]) <= {"released", "expired", "unknown", "pending"}
    unknown = table[table["verdict"] == "unknown"]
    assert (unknown["released_at_least"] <= unknown["released_at_most"]).all()
    assert (unknown["released_at_most"] <= unknown["unknown_together"]).all()
    order = list(range(len(wait_intervals)))
    seed.shuffle(order)
    again = wait_outcomes(wait_intervals.iloc[order], links.iloc[::-1], left.iloc[::-1])
    pd.testing.assert_frame_equal(again, table)


def test_a_dependency_arrived_between_its_last_absence_and_the_first_proof():
    table = judged(observation(waits(), 30), observation(waits(), 40), observation(NONE, 50))
    seen = history(observation(waits(), 30), observation(waits(), 40), observation(NONE, 50))
    [(_, row)] = arrivals(table.reset_index(), seen.missing_intervals()).iterrows()
    assert row["verdict"] == "arrived"
    assert (row["ended_after"], row["ended_by"]) == (minute(40), minute(50) + SECOND)
    assert (row["created_at"], row["resources"]) == (minute(0), 1)


def test_a_dependency_whose_waits_expired_is_not_known_to_have_arrived():
    seen = history(observation(waits(), 65), observation(NONE, 80))
    table = seen.wait_outcomes()
    assert arrivals(table, seen.missing_intervals())["verdict"].tolist() == ["censored"]


def test_a_dependency_that_something_still_waits_for_is_missing():
    seen = history(observation(waits(B="x"), 30), observation(batch(waits={"B": "x"}), 40))
    table = seen.wait_outcomes()
    assert arrivals(table, seen.missing_intervals())["verdict"].tolist() == ["missing"]


@pytest.mark.parametrize(("good", "bad"), [(13, 7), (13, 10), (7, 12)])
def test_counts_that_rise_by_more_than_left_or_fall_prove_nothing(good, bad):
    """Two left a fully processed batch, which counted five more successes, or one less."""
    table = judged(
        observation(waits(B="y") | {"progress": counts(20, 8, 10)}, 50),
        observation(NONE | {"progress": counts(20, good, bad)}, 70),
        expired_counts_as_failed=True,
    )
    assert set(table["verdict"]) == {"unknown"}
    assert table[
        ["released_at_least", "released_at_most"]
    ].drop_duplicates().to_numpy().tolist() == [[0, 2]]


def test_a_departure_listed_twice_in_a_frame_counts_once():
    observations = []
    for n in range(4):
        own = batch(f"b{n}", waits={f"A{n}": "x"}, created=0, expires=60)
        observations.append(observation(own | {"progress": counts(10, 4, 4)}, 50))
        gone = batch(f"b{n}", waits={})
        observations.append(observation(gone | {"progress": counts(10, 4 + n % 2, 5 - n % 2)}, 70))
    seen = history(*observations)
    parts = seen.wait_intervals(), seen.missing_intervals()
    left = seen.departures()
    twice = pd.concat([left.iloc[:1], left])
    expected = wait_outcomes(*parts, left, released_may_fail=False)
    assert set(expected["verdict"]) == {"released", "expired"}
    pd.testing.assert_frame_equal(wait_outcomes(*parts, twice, released_may_fail=False), expected)


def test_ids_in_expiry_codes_and_long_summaries_do_not_slow_the_others():
    """A thousand summaries with distinct ids and one of a megabyte: no table of all of them."""
    n = 1000
    summary = [f'{{"expired": {{"TX-{k}": 1}}, "N": {k}}}' for k in range(n)]
    summary[7] = '{"V": "' + "x" * 1_000_000 + '"}'
    left = tables.DEPARTURES.conform(
        pd.DataFrame(
            {
                "tenant_id": "t",
                "batch_id": [f"b{k}" for k in range(n)],
                "departure": 1,
                "base": 0,
                "gone_by": minute(70),
                "overlapping": 0,
                "errors_before": "{}",
                "errors_after": summary,
            }
        )
    )
    gone = tables.WAIT_OUTCOMES.conform(
        left[["tenant_id", "batch_id", "departure"]].assign(verdict="expired", rule="4")
    )
    assert len(expiry_codes(gone, left)) == 0
