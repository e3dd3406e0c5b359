"""An account of all records: it adds up, however little is known of the waits."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import conventions, health, reconciliation
from tests.support.effort import examples
from tests.support.histories import history
from tests.support.observations import batch, counts, minute, observation
from tests.support.outcomes import learned, one_of_two, waits


def account(seen, **options) -> dict[tuple[str, str], int]:
    table = seen.reconciliation(**options)
    rules = table["rule"].fillna("-")
    return {
        (part, rule): records
        for part, rule, records in zip(table["part"], rules, table["records"], strict=True)
        if records
    }


def of(total: int, good: int, bad: int, pending: int, processed: int | None = None) -> dict:
    told = counts(total, good, bad, processed) | {"pendingRecords": pending}
    return {"progress": told}


def test_every_record_is_in_one_part():
    """Of 10 records 4 were stored, 1 waits, 2 are unprocessed and 3 failed, none by expiry."""
    seen = history(
        observation(batch(waits={"A": "x"}, created=0, expires=60) | of(10, 4, 3, 1, 8), 5)
    )
    assert account(seen) == {
        ("landed", "-"): 4,
        ("waiting", "-"): 1,
        ("unprocessed", "-"): 2,
        ("failed", "-"): 3,
    }


def test_expired_records_are_listed_by_rule_and_other_lost_ones_failed():
    seen = history(
        observation(waits(B="x") | of(10, 4, 4, 2), 65),
        observation(batch(waits={}) | of(10, 4, 6, 0), 80),
    )
    assert account(seen) == {("landed", "-"): 4, ("expired", "4"): 2, ("failed", "-"): 4}


def test_a_wait_with_an_unknown_end_may_be_lost():
    """A leaves across its expiry while its batch counts one failure: it expired, or failed."""
    seen = history(
        observation(waits() | of(10, 4, 5, 1), 50),
        observation(batch(waits={}) | of(10, 4, 6, 0), 70),
    )
    assert account(seen) == {("landed", "-"): 4, ("unknown", "-"): 1, ("failed", "-"): 5}


def test_some_of_those_that_left_may_certainly_be_lost_though_not_which():
    observations = [
        observation(waits(B="y", C="w") | of(10, 4, 3, 3), 50),
        observation(batch(waits={}) | of(10, 5, 5, 0), 70),
    ]
    assert account(history(*observations)) == {
        ("landed", "-"): 5,
        ("unknown", "-"): 2,
        ("failed", "-"): 3,
    }


def test_if_a_code_counts_expiries_the_batch_s_own_count_decides():
    seen = history(*learned(), *one_of_two(rise=1))
    found = account(seen)
    assert found["expired", "4"] == 4
    assert found["expired", "5e"] == 1
    assert ("unknown", "-") not in found


def test_an_unobserved_wait_is_accounted_for_if_a_code_counts_it():
    """Batch q counts three expiries, and no observation ever listed its waits."""
    unseen = batch("q", waits={}) | {
        "progress": counts(30, 20, 10) | {"pendingRecords": 0},
        "errors": {"summary": {"OTHER": 7, "WAIT_EXPIRED": 3}},
    }
    found = account(history(*learned(), observation(unseen, 90)))
    assert found["expired", "counts"] == 3


def test_expiries_that_do_not_count_as_failed_are_still_lost():
    """One of ten is neither successful, pending nor failed: it expired, as rule 4 shows."""
    seen = history(
        observation(waits() | of(10, 4, 5, 1), 65),
        observation(batch(waits={}) | {"progress": counts(10, 4, 5) | {"pendingRecords": 0}}, 80),
    )
    assert account(seen) == {("landed", "-"): 4, ("expired", "4"): 1, ("failed", "-"): 5}


@pytest.mark.parametrize(
    "progress",
    [
        {"totalRecords": 10},
        counts(10, 11, 0) | {"pendingRecords": 0},  # more successes than records
        counts(10, -1, 0) | {"pendingRecords": 0},
        counts(10, 9, 1) | {"pendingRecords": 3},
    ],
)
def test_missing_or_contradictory_counts_do_not_affect_other_batches(progress):
    good = observation(batch("g", waits={}) | of(10, 9, 1, 0), 5)
    odd = observation(batch("o", waits={}) | {"progress": progress}, 5)
    found = account(history(good, odd))
    assert found == {("landed", "-"): 9, ("failed", "-"): 1, ("unreconciled", "-"): 10}


def test_more_expired_than_the_batch_counts_as_lost_is_a_contradiction():
    seen = history(
        observation(waits(B="x") | of(10, 9, 0, 1), 65),
        observation(batch(waits={}) | of(10, 9, 1, 0), 80),
    )
    assert account(seen) == {("unreconciled", "-"): 10}


def test_groups_have_all_parts_and_empty_in_empty_out():
    seen = history(observation(batch(waits={}, schemaName="s1") | of(3, 3, 0, 0), 5))
    table = seen.reconciliation(by="schema_name")
    assert table["part"].tolist() == [
        *("landed", "waiting", "unprocessed", "expired", "unknown", "failed", "unreconciled")
    ]
    assert set(table["schema_name"]) == {"s1"}
    empty = reconciliation(tables.BATCHES.empty(), tables.WAIT_OUTCOMES.empty(), by="tenant_id")
    assert empty.columns.tolist() == ["tenant_id", *tables.RECONCILIATION.names]
    assert len(empty) == 0
    with pytest.raises(FrameError, match=r"pass history\.wait_outcomes\(\)"):
        reconciliation(tables.BATCHES.empty(), pd.DataFrame({"x": [1]}))


numbers = st.none() | st.integers(-1, 12)


@settings(max_examples=examples(30))
@given(
    st.lists(
        st.tuples(st.integers(0, 12), numbers, numbers, numbers, numbers), min_size=1, max_size=4
    ),
    st.integers(0, 3),
)
def test_the_parts_add_up_to_all_records_for_any_counts(batches, waiting):
    observations = []
    for n, (total, good, bad, pending, processed) in enumerate(batches):
        names = {f"W{n}{i}": "x" for i in range(waiting)}
        told = {
            "totalRecords": total,
            "successfulRecords": good,
            "failedRecords": bad,
            "pendingRecords": pending,
            "processedRecords": processed,
        }
        document = batch(f"b{n}", waits=names, created=0, expires=30)
        document["progress"] = {name: count for name, count in told.items() if count is not None}
        empty = {**document, "pendingResources": []}
        observations += [
            observation(document, 1),
            observation(document, 40),
            observation(empty, 50),
        ]
    seen = history(*observations)
    table = seen.reconciliation()
    assert table["records"].sum() == sum(total for total, *_ in batches)
    assert (table["records"] >= 0).all()


def released(count: int, failed: int) -> list:
    """Batches whose waits were released long before their expiry, ``failed`` of which failed."""
    observations = []
    for n in range(count):
        own = batch(f"r{n}", waits={f"R{n}": "z"}, created=0, expires=500)
        bad = 1 if n < failed else 0
        observations += [
            observation(own | of(5, 3, 1, 1), 5),
            observation(batch(f"r{n}", waits={}) | of(5, 4 - bad, 1 + bad, 0), 10),
        ]
    return observations


def test_if_no_released_record_seems_to_fail_it_says_what_that_would_decide():
    seen = history(*released(40, failed=0), *one_of_two(rise=0))
    [row] = seen.conventions().to_dict("records")
    assert (row["released"], row["released_failed"], row["none_fails"]) == (40, 0, True)
    assert (row["unknown"], row["would_settle"]) == (1, 1)
    assert row["failed_high_fraction"] == pytest.approx(1 - 0.05 ** (1 / 40))
    assert (seen.wait_outcomes(released_may_fail=False)["verdict"] == "unknown").sum() == 0


@pytest.mark.parametrize(("count", "failed"), [(40, 1), (20, 0)])
def test_one_that_failed_or_too_few_speak_against_it(count, failed):
    [row] = history(*released(count, failed), *one_of_two(rise=0)).conventions().to_dict("records")
    assert row["released_failed"] == failed
    assert not row["none_fails"]


def test_conventions_of_nothing_are_one_row():
    [row] = conventions(tables.WAIT_OUTCOMES.empty(), tables.DEPARTURES.empty()).to_dict("records")
    assert (row["released"], row["unknown"], row["none_fails"]) == (0, 0, False)
    assert pd.isna(row["expired_counts_as_failed"])


def test_health_shows_what_was_lost_and_the_age_of_the_observations():
    seen = history(
        observation(waits() | of(10, 4, 5, 1), 50),
        observation(batch(waits={}) | of(10, 4, 6, 0), 70),
        as_of=minute(100),
    )
    table = health(
        seen.batches(), seen.pending(), seen.reconciliation(by="tenant_id"), as_of=minute(100)
    )
    [row] = table.to_dict("records")
    assert (row["lost_records"], row["expired_min"], row["expired_max"]) == (6, 0, 1)
    assert row["observation_age"] == pd.Timedelta(minutes=30) - pd.Timedelta(seconds=1)
    without = health(seen.batches(), seen.pending(), as_of=minute(100)).iloc[0]
    assert pd.isna(without["lost_records"])


def test_a_code_with_a_fractional_count_is_ignored_and_the_parts_add_up():
    half = batch("h", waits={}) | of(10, 5, 5, 0) | {"errors": {"summary": {"WAIT_EXPIRED": 2.5}}}
    table = history(*learned(), observation(half, 90)).reconciliation()
    assert table["records"].sum() == 30 * 2 + 10
