"""What became of each wait: the rule table, case by case, in minutes with expiry at 60."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import columns
from reach_analytics.collector.observe import LIST, Observed
from reach_analytics.errors import FrameError
from reach_analytics.measures import arrivals, expiry_codes, waiting
from tests.looks import batch, counts, look, minute
from tests.test_spells import SECOND, history
from tests.worlds import World, faults, play

NONE = batch(waits={})


def waits(missing: str = "x", **others: str) -> dict:
    """A document in which A waits until minute 60."""
    return batch(waits={"A": missing, **others}, created=0, expires=60)


def judged(*looks, tolerance: str = "1min", **options) -> pd.DataFrame:
    table = history(*looks).waiting(tolerance=tolerance, **options)
    return table.set_index("resource_external_id")


def verdict(table: pd.DataFrame, name: str = "A") -> tuple[str, str]:
    return table.loc[name, "verdict"], table.loc[name, "rule"]


def test_gone_before_its_expiry_means_released_between_the_looks():
    table = judged(look(waits(), 30), look(NONE, 40))
    assert verdict(table) == ("released", "3")
    assert table.loc["A", "ended_after"] == minute(30)
    assert table.loc["A", "ended_by"] == minute(40) + SECOND


def test_gone_across_its_expiry_is_unknown():
    table = judged(look(waits(), 50), look(NONE, 70))
    assert verdict(table) == ("unknown", "6")
    assert table.loc["A", "ended_by"] == minute(60)
    together = ["unknown_together", "released_at_least", "released_at_most"]
    assert table.loc["A", together].tolist() == [1, 0, 1]


def test_a_dependency_that_another_misses_after_the_expiry_means_expired():
    other = batch("c", waits={"B": "x"}, created=0, expires=200)
    table = judged(look(waits(), 50), look(NONE, 70), look(other, 75))
    assert verdict(table) == ("expired", "5a")
    assert table.loc["A", ["ended_after", "ended_by"]].tolist() == [minute(60)] * 2
    assert verdict(table, "B") == ("pending", "seen")


def test_seen_after_its_expiry_means_expired_with_a_sweep_that_lags():
    table = judged(look(waits(), 65), look(NONE, 80))
    assert verdict(table) == ("expired", "4")
    assert table.loc["A", "sweep_lag_low"] == pd.Timedelta(minutes=5)
    assert table.loc["A", "sweep_lag_high"] == pd.Timedelta(minutes=20) + SECOND


def test_a_failed_look_between_two_that_list_it_means_it_is_still_pending():
    table = judged(look(waits(), 30), look(None, 40, batch_id="b"), look(waits(), 50))
    assert verdict(table) == ("pending", "seen")


def test_a_batch_that_cannot_be_seen_any_more_leaves_its_waits_censored():
    table = judged(look(waits(), 30), look(None, 40, batch_id="b"))
    assert verdict(table) == ("censored", "2")
    assert table.loc["A", "ended_after"] == minute(30)
    assert pd.isna(table.loc["A", "ended_by"])


def test_a_dependency_that_was_there_in_time_means_released():
    """B misses the same, and is gone long before its own end: x was there by minute 45."""
    other = batch("c", waits={"B": "x"}, created=0, expires=300)
    table = judged(
        look(waits(), 40), look(other, 40), look(batch("c", waits={}), 45), look(NONE, 70)
    )
    assert verdict(table, "B") == ("released", "3")
    assert verdict(table) == ("released", "5b")
    assert table.loc["A", "ended_by"] == minute(60)


def test_one_of_two_dependencies_in_time_is_not_enough():
    other = batch("c", waits={"B": "x"}, created=0, expires=300)
    table = judged(
        look(waits("xy"), 40), look(other, 40), look(batch("c", waits={}), 45), look(NONE, 70)
    )
    assert verdict(table)[0] == "unknown"


def test_a_dependency_struck_from_another_list_in_time_was_there():
    before, after = (
        batch("c", waits={"B": missing}, created=0, expires=300) for missing in ("xz", "z")
    )
    table = judged(look(waits(), 40), look(before, 40), look(after, 45), look(NONE, 70))
    assert verdict(table) == ("released", "5b")


def test_what_came_and_went_again_proves_nothing():
    struck = batch("c", waits={"B": "z"}, created=0, expires=300)
    missing = batch("c", waits={"B": "xz"}, created=0, expires=300)
    table = judged(
        look(waits(), 40),
        look(missing, 40),
        look(struck, 45),
        look(NONE, 70),
        look(batch("d", waits={"C": "x"}, created=80, expires=300), 90),
    )
    assert verdict(table)[0] == "unknown"


def test_a_resource_that_misses_nothing_and_waits_yet_shows_that_nothing_is_released_at_once():
    assert verdict(judged(look(waits(""), 50), look(NONE, 70)))[0] == "unknown"


def test_a_list_that_was_left_out_strikes_no_dependency():
    """Batch c lists B without its dependencies: that does not show that x came."""
    other = batch("c", waits={"B": "x"}, created=0, expires=300)
    bare = batch("c", waits={"B": ""}, created=0, expires=300)
    del bare["pendingResources"][0]["missingDependencies"]
    table = judged(look(waits(), 5), look(other, 0), look(bare, 10), look(bare, 20), look(NONE, 70))
    assert verdict(table)[0] == "unknown"


def test_a_dependency_without_a_whole_key_proves_nothing_about_another():
    documents = [waits(), batch("c", waits={"B": "x"}, created=0, expires=300)]
    for document in documents:
        document["pendingResources"][0]["missingDependencies"][0]["externalId"] = None
    table = judged(
        look(documents[0], 10),
        look(documents[1], 10),
        look(batch("c", waits={}), 20),
        look(NONE, 70),
    )
    assert verdict(table, "B") == ("released", "3")
    assert verdict(table)[0] == "unknown"


def test_a_resource_that_a_list_names_twice_is_seen_there_once():
    """A is out of sight at 10, where it would have proven that x came; B's end depends on it."""
    twice = batch(waits={"A": "xy"}, created=0, expires=300)
    twice["pendingResources"] *= 2
    other = batch("c", waits={"B": "x"}, created=0, expires=20)
    table = judged(
        look(twice, 0),
        look(other, 5),
        look(batch(waits={}), 10),
        look(batch("c", waits={}), 35),
        look(batch(waits={"A": "y"}, created=0, expires=300), 40),
    )
    assert verdict(table, "B")[0] == "unknown"


def test_two_resources_without_ids_are_told_apart_by_schema():
    document = batch(waits={"1": "x", "2": "y"}, created=0, expires=60)
    for row, schema in zip(document["pendingResources"], "st", strict=True):
        row |= {"id": None, "resourceExternalId": "1", "schemaDefinitionId": schema}
    gone = batch("c", waits={"C": "x"}, created=0, expires=300)
    seen = history(
        look(document, 30), look(gone, 30), look(batch("c", waits={}), 40), look(NONE, 70)
    )
    table = seen.waiting()
    told = table.set_index("schema_definition_id").loc[["s", "t"], "verdict"]
    by_schema = dict(zip(table["schema_definition_id"], table["verdict"], strict=True))
    assert by_schema["t"] == "unknown"
    assert len(told) == 3  # C is of schema s too


def test_an_id_whose_name_is_told_later_is_one_wait():
    nameless = waits()
    nameless["pendingResources"][0]["resourceExternalId"] = None
    table = judged(look(nameless, 10), look(waits(), 20))
    assert table["verdict"].tolist() == ["pending"]
    assert table.index.tolist() == ["A"]


def test_what_cannot_expire_has_not():
    still = {"progress": counts(10, 4, 5)}
    endless = batch(waits={"A": "x"})
    assert verdict(judged(look(endless | still, 50), look(NONE | still, 70)))[0] == "unknown"


def test_a_batch_that_counted_nothing_meanwhile_released_nothing():
    still = {"progress": counts(10, 4, 5)}
    table = judged(look(waits() | still, 50), look(NONE | still, 70))
    assert verdict(table) == ("expired", "5c")


def test_a_batch_that_counted_a_success_for_each_departure_released_them():
    table = judged(
        look(waits(B="x") | {"progress": counts(10, 4, 4)}, 50),
        look(NONE | {"progress": counts(10, 6, 4)}, 70),
    )
    assert verdict(table) == verdict(table, "B") == ("released", "5d")


def test_successes_of_records_not_yet_looked_at_prove_nothing():
    table = judged(
        look(waits() | {"progress": counts(10, 4, 4, processed=9)}, 50),
        look(NONE | {"progress": counts(10, 5, 4)}, 70),
    )
    assert verdict(table)[0] == "unknown"


def failed(**options) -> pd.DataFrame:
    """A leaves across its expiry while its batch counts one failure."""
    return judged(
        look(waits() | {"progress": counts(10, 4, 5)}, 50),
        look(NONE | {"progress": counts(10, 4, 6)}, 70),
        **options,
    )


def test_a_failure_tells_as_much_as_is_known_of_what_is_counted_as_one():
    assert verdict(failed())[0] == "unknown"
    assert verdict(failed(expired_counts_as_failed=True))[0] == "unknown"
    assert verdict(failed(expired_counts_as_failed=False)) == ("released", "5d")
    assert verdict(failed(released_may_fail=False)) == ("expired", "5c")


def test_no_failure_means_no_expiry_where_these_count_as_failed():
    """Records are looked at yet, so that the success may be another's."""
    looks = [
        look(waits() | {"progress": counts(10, 4, 4, processed=9)}, 50),
        look(NONE | {"progress": counts(10, 6, 4)}, 70),
    ]
    assert verdict(judged(*looks, expired_counts_as_failed=True)) == ("released", "5d")
    assert verdict(judged(*looks, expired_counts_as_failed=False))[0] == "unknown"


def convention(rise: int) -> list:
    """Another batch whose expired resource (rule 4) raised the failed count by ``rise``."""
    own = batch("c", waits={"B": "z"}, created=0, expires=60)
    return [
        look(own | {"progress": counts(10, 4, 5)}, 65),
        look(batch("c", waits={}) | {"progress": counts(10, 4, 5 + rise)}, 80),
    ]


def test_what_counts_as_failed_is_read_from_departures_that_are_known():
    one = [
        look(waits() | {"progress": counts(10, 4, 5)}, 50),
        look(NONE | {"progress": counts(10, 4, 6)}, 70),
    ]
    assert verdict(judged(*one, *convention(rise=0))) == ("released", "5d")
    assert verdict(judged(*one, *convention(rise=1)))[0] == "unknown"


def test_counts_that_contradict_what_is_known_prove_nothing():
    """Both left, one of them surely released, and the successes fell."""
    document = batch(waits={"A": "x", "B": "y"}, created=0, expires={"A": 60, "B": 300})
    table = judged(
        look(document | {"progress": counts(10, 4, 4)}, 50),
        look(NONE | {"progress": counts(10, 3, 4)}, 70),
    )
    assert verdict(table, "B") == ("released", "3")
    assert verdict(table)[0] == "unknown"


def test_a_group_with_unknown_ends_has_bounds_on_how_many_were_released():
    table = judged(
        look(waits(B="y", C="z") | {"progress": counts(10, 4, 3)}, 50),
        look(NONE | {"progress": counts(10, 5, 5)}, 70),
    )
    bounds = ["unknown_together", "released_at_least", "released_at_most"]
    assert table[bounds].drop_duplicates().to_numpy().tolist() == [[3, 1, 3]]


def slow(document: dict, sent: float, received: float) -> Observed:
    """A look whose answer came late."""
    return replace(look(document, sent), received_at=minute(received))


def overlapping(second: float, good: tuple[int, int, int], bad: tuple[int, int, int]) -> list:
    """A expires late and B at 15. Both are listed at 0 and 10, the latter answered at ``second``;
    a look sent at 11 and answered at 13 lists B only, and one at 20 nothing. The counts are those
    of the batch at first, at 11 and at 20."""
    both = batch(waits={"A": "x", "B": "y"}, created=0, expires={"A": 500, "B": 15})
    only_b = batch(waits={"B": "y"}, created=0, expires={"B": 15})
    first, third, last = ({"progress": counts(9, g, b)} for g, b in zip(good, bad, strict=True))
    return [
        look(both | first, 0),
        slow(both | first, 10, second),
        slow(only_b | third, 11, 13),
        look(NONE | last, 20),
    ]


@pytest.mark.parametrize("second", [10.4, 12])
def test_a_late_answer_makes_no_expiry_of_a_release(second):
    """A is released by 11 and B at 14, in time; each counts as a success."""
    table = judged(*overlapping(second, good=(3, 4, 5), bad=(2, 2, 2)), tolerance="1s")
    assert verdict(table) == ("released", "3")
    assert verdict(table, "B") == ("released", "5d")


ENDS = {"A": 10.5, "B": 15}


@pytest.mark.parametrize("second", [10.4, 12])
def test_a_late_answer_makes_no_release_of_an_expiry(second):
    """The mirror image: A expired by 11 (z, which it misses too, is missing yet at 30), B at 15;
    each counts as a failure, as others show."""
    both, only_b, none = (
        batch(waits=w, created=0, expires=ENDS) for w in ({"A": "z", "B": "y"}, {"B": "y"}, {})
    )
    looks = [
        look(both | {"progress": counts(9, 3, 2)}, 0),
        slow(both | {"progress": counts(9, 3, 2)}, 10, second),
        slow(only_b | {"progress": counts(9, 3, 3)}, 11, 13),
        look(none | {"progress": counts(9, 3, 4)}, 20),
    ]
    other = look(batch("c", waits={"C": "z"}, created=0, expires=300), 30)
    table = judged(*looks, other, expired_counts_as_failed=True, tolerance="1s")
    assert verdict(table)[0] != "released"
    assert verdict(table, "B")[0] != "released"


def deletion(began: float, ended: float | None, deleted: int = 1, **fields) -> Observed:
    """A listing's row of a batch that deletes."""
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
    return look(document, 400, scope=LIST)


MISSING_LATER = [
    look(waits(), 50),
    look(NONE, 70),
    look(batch("c", waits={"B": "x"}, created=71, expires=200), 75),
]


@pytest.mark.parametrize("work", [(52, 53), (10, 51), (74, 80), (55, None)])
def test_what_is_missing_after_the_expiry_may_have_come_and_been_deleted_again(work):
    assert verdict(judged(*MISSING_LATER, deletion(*work)))[0] == "unknown"


@pytest.mark.parametrize("work", [(10, 48), (77, 80)])
def test_a_deletion_before_or_after_explains_nothing(work):
    assert verdict(judged(*MISSING_LATER, deletion(*work))) == ("expired", "5a")


def test_nor_does_one_that_deleted_nothing_or_another_tenant_s():
    assert verdict(judged(*MISSING_LATER, deletion(52, 53, deleted=0))) == ("expired", "5a")
    other = replace(deletion(52, 53), tenant_id="u")
    assert verdict(judged(*MISSING_LATER, other)) == ("expired", "5a")


def test_an_early_look_at_what_is_missing_serves_as_well_as_a_late_one():
    """x is missing at 75, before the deletion at 90, and at 100 still."""
    again = look(batch("c", waits={"B": "x"}, created=71, expires=200), 100)
    other = look(batch("e", waits={"E": "x"}, created=71, expires=200), 75)
    table = judged(*MISSING_LATER[:2], other, again, deletion(90, 91))
    assert verdict(table) == ("expired", "5a")
    assert verdict(judged(*MISSING_LATER[:2], again, deletion(90, 91)))[0] == "unknown"


def test_of_several_dependencies_the_first_may_be_deleted_before_the_last_comes():
    """x was there by 42 and y by 46, as others show; but a deletion went on in between."""
    b, c = (batch(n, waits={n: m}, created=0, expires=300) for n, m in (("b2", "x"), ("c2", "y")))
    looks = [
        *(look(waits("xy"), 40), look(b, 40), look(c, 40)),
        *(look(batch("b2", waits={}), 42), look(batch("c2", waits={}), 46), look(NONE, 70)),
    ]
    assert verdict(judged(*looks)) == ("released", "5b")
    assert verdict(judged(*looks, deletion(43, 44)))[0] == "unknown"
    assert verdict(judged(*looks, deletion(47.5, 48))) == ("released", "5b")


def summed(document: dict, good: int, bad: int, **codes: int) -> dict:
    """The document with these counts, and a summary of the errors."""
    waiting = {"pendingRecords": len(document["pendingResources"])}
    return document | {
        "progress": counts(30, good, bad) | waiting,
        "errors": {"summary": codes},
    }


def learned(code: str = "WAIT_EXPIRED", rises: tuple[int, ...] = (2, 2)) -> list:
    """Batches of two waits each that expired for certain (rule 4), with what a code counted."""
    looks = []
    for n, rise in enumerate(rises):
        own = batch(f"l{n}", waits={f"L{n}": "z", f"M{n}": "z"}, created=0, expires=60)
        looks += [
            look(summed(own, 4, 5, OTHER=5), 65),
            look(summed(batch(f"l{n}", waits={}), 4, 7, OTHER=5, **{code: rise}), 80),
        ]
    return looks


def one_of_two(code: str = "WAIT_EXPIRED", rise: int = 0) -> list:
    """A leaves across its expiry, while its batch counts one failure."""
    return [
        look(summed(waits(), 4, 5, OTHER=5), 50),
        look(summed(NONE, 4, 6, OTHER=6 - rise, **{code: rise}), 70),
    ]


def test_a_code_that_counts_what_expired_tells_where_nothing_else_does():
    assert verdict(judged(*one_of_two(rise=1)))[0] == "unknown"  # its name alone tells nothing
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
def test_a_code_that_is_not_sure_to_count_what_expired_tells_nothing(code, rises):
    table = judged(*one_of_two(code, rise=1), *learned(code, rises))
    assert verdict(table)[0] == "unknown"


def test_a_code_gives_bounds_where_it_counts_a_part_of_those_that_left():
    table = judged(
        look(summed(waits(B="y", C="w"), 4, 3, OTHER=3), 50),
        look(summed(NONE, 4, 6, OTHER=4, WAIT_EXPIRED=2), 70),
        *learned(),
    )
    own = table.loc[["A", "B", "C"]]
    bounds = ["unknown_together", "released_at_least", "released_at_most"]
    assert own[bounds].drop_duplicates().to_numpy().tolist() == [[3, 1, 1]]


def test_expiry_codes_are_listed_with_what_speaks_for_them():
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
@pytest.mark.parametrize("seed", [0, 1])
def test_no_verdict_and_no_bound_is_wrong_in_worlds_where_looks_overlap(name, seed):
    played = play(replace(WORLDS[name], seed=seed))
    table = history(*played.looks).waiting(tolerance="1s")
    assert faults(table, played.waits) == []
    assert len(table) > 90
    assert (table["verdict"] == "unknown").mean() < 0.5


def test_the_clocks_may_be_apart_by_the_tolerance():
    near = [look(waits(), 58), look(NONE, 59.5)]
    assert verdict(judged(*near, tolerance="1min"))[0] == "unknown"
    assert verdict(judged(*near, tolerance="5s")) == ("released", "3")
    after = [look(waits(), 60.5), look(NONE, 70)]
    assert verdict(judged(*after, tolerance="1min"))[0] == "unknown"
    assert verdict(judged(*after, tolerance="0s")) == ("expired", "4")


def test_without_an_expiry_only_the_counts_can_tell():
    endless = batch(waits={"A": "x"})
    assert verdict(judged(look(endless, 0), look(NONE, 9)))[0] == "unknown"
    table = judged(
        look(endless | {"progress": counts(10, 4, 5)}, 0),
        look(NONE | {"progress": counts(10, 5, 5)}, 9),
    )
    assert verdict(table) == ("released", "5d")


def test_each_wait_hangs_on_the_root_at_the_end_of_its_chain():
    document = batch(waits={"A": "x", "B": "A", "C": "B", "D": ""}, created=0, expires=60)
    table = judged(look(document, 0))
    assert table["root_external_id"].fillna("-").to_dict() == {
        "A": "x",
        "B": "x",
        "C": "x",
        "D": "-",
    }


def test_of_several_roots_the_one_that_most_waits_hang_on_counts():
    document = batch(waits={"A": "xy", "B": "y", "C": "xz"}, created=0, expires=60)
    assert judged(look(document, 0))["root_external_id"].to_dict() == {
        "A": "x",  # x and y are missed by two each, and the name decides
        "B": "y",
        "C": "x",
    }


def test_what_waits_in_a_circle_hangs_on_one_of_it():
    document = batch(waits={"A": "B", "B": "A"}, created=0, expires=60)
    assert set(judged(look(document, 0))["root_external_id"]) <= {"A", "B"}


def test_another_tenant_proves_nothing():
    other = batch("c", waits={"B": "x"}, created=0, expires=200)
    table = judged(look(waits(), 50), look(NONE, 70), look(other, 75, tenant_id="u"))
    assert verdict(table)[0] == "unknown"


def test_empty_in_empty_out():
    table = waiting(columns.SPELLS.empty(), columns.SPELL_DEPENDENCIES.empty())
    pd.testing.assert_frame_equal(table, columns.WAITING.empty())
    found = arrivals(columns.WAITING.empty(), columns.SPELL_DEPENDENCIES.empty())
    pd.testing.assert_frame_equal(found, columns.ARRIVALS.empty())


def test_another_frame_is_told_what_to_pass():
    with pytest.raises(FrameError, match=r"pass history\.spells\(\)"):
        waiting(pd.DataFrame({"x": [1]}), columns.SPELL_DEPENDENCIES.empty())
    with pytest.raises(FrameError, match=r"pass history\.spell_dependencies\(\)"):
        waiting(columns.SPELLS.empty(), pd.DataFrame({"x": [1]}))


@pytest.mark.parametrize("tolerance", ["-1s", "soon"])
def test_an_odd_tolerance_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance must be a length of time"):
        waiting(columns.SPELLS.empty(), columns.SPELL_DEPENDENCIES.empty(), tolerance=tolerance)


LISTS = st.lists(
    st.dictionaries(st.sampled_from("ABC"), st.sets(st.sampled_from("xyz")), max_size=3),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25)
@given(one=LISTS, other=LISTS, seed=st.randoms())
def test_whatever_is_seen_each_wait_gets_one_verdict_whose_bounds_are_in_order(one, other, seed):
    looks = [
        look(batch(name, waits=waits, created=0, expires=35), at * 10 + shift)
        for name, lists, shift in (("b", one, 0), ("c", other, 3))
        for at, waits in enumerate(lists)
    ]
    seen = history(*looks)
    spells, links, left = seen.spells(), seen.spell_dependencies(), seen.departures()
    table = waiting(spells, links, left)
    assert len(table) == len(spells)
    told = table["ended_by"].notna()
    assert (table["ended_after"] <= table["ended_by"])[told].all()
    assert set(table["verdict"]) <= {"released", "expired", "unknown", "pending"}
    unknown = table[table["verdict"] == "unknown"]
    assert (unknown["released_at_least"] <= unknown["released_at_most"]).all()
    assert (unknown["released_at_most"] <= unknown["unknown_together"]).all()
    order = list(range(len(spells)))
    seed.shuffle(order)
    again = waiting(spells.iloc[order], links.iloc[::-1], left.iloc[::-1])
    pd.testing.assert_frame_equal(again, table)


def test_a_dependency_arrived_between_its_last_absence_and_the_first_proof():
    table = judged(look(waits(), 30), look(waits(), 40), look(NONE, 50))
    seen = history(look(waits(), 30), look(waits(), 40), look(NONE, 50))
    [(_, row)] = arrivals(table.reset_index(), seen.spell_dependencies()).iterrows()
    assert row["verdict"] == "arrived"
    assert (row["ended_after"], row["ended_by"]) == (minute(40), minute(50) + SECOND)
    assert (row["created_at"], row["resources"]) == (minute(0), 1)


def test_a_dependency_whose_waiters_expired_is_lost_sight_of_not_arrived():
    seen = history(look(waits(), 65), look(NONE, 80))
    table = seen.waiting()
    assert arrivals(table, seen.spell_dependencies())["verdict"].tolist() == ["censored"]


def test_a_dependency_that_something_still_waits_for_is_missing():
    seen = history(look(waits(B="x"), 30), look(batch(waits={"B": "x"}), 40))
    table = seen.waiting()
    assert arrivals(table, seen.spell_dependencies())["verdict"].tolist() == ["missing"]


@pytest.mark.parametrize(("good", "bad"), [(13, 7), (13, 10), (7, 12)])
def test_counts_that_rise_by_more_than_left_or_go_back_prove_nothing(good, bad):
    """Two left a settled batch, which counted five more successes, or one less."""
    table = judged(
        look(waits(B="y") | {"progress": counts(20, 8, 10)}, 50),
        look(NONE | {"progress": counts(20, good, bad)}, 70),
        expired_counts_as_failed=True,
    )
    assert set(table["verdict"]) == {"unknown"}
    assert table[
        ["released_at_least", "released_at_most"]
    ].drop_duplicates().to_numpy().tolist() == [[0, 2]]


def test_a_departure_that_stands_twice_in_a_frame_counts_once():
    looks = []
    for n in range(4):
        own = batch(f"b{n}", waits={f"A{n}": "x"}, created=0, expires=60)
        looks.append(look(own | {"progress": counts(10, 4, 4)}, 50))
        gone = batch(f"b{n}", waits={})
        looks.append(look(gone | {"progress": counts(10, 4 + n % 2, 5 - n % 2)}, 70))
    seen = history(*looks)
    parts = seen.spells(), seen.spell_dependencies()
    left = seen.departures()
    twice = pd.concat([left.iloc[:1], left])
    expected = waiting(*parts, left, released_may_fail=False)
    assert set(expected["verdict"]) == {"released", "expired"}
    pd.testing.assert_frame_equal(waiting(*parts, twice, released_may_fail=False), expected)


def test_ids_below_a_name_of_expiry_and_long_summaries_cost_only_themselves():
    """A thousand summaries with ids of their own and one of a megabyte: no table of all of them."""
    n = 1000
    summary = [f'{{"expired": {{"TX-{k}": 1}}, "N": {k}}}' for k in range(n)]
    summary[7] = '{"V": "' + "x" * 1_000_000 + '"}'
    left = columns.DEPARTURES.conform(
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
    gone = columns.WAITING.conform(
        left[["tenant_id", "batch_id", "departure"]].assign(verdict="expired", rule="4")
    )
    assert len(expiry_codes(gone, left)) == 0
