"""One account of every record: it adds up, whatever is known of the waits."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import columns
from reach_analytics.errors import FrameError
from reach_analytics.measures import conventions, health, reconciliation
from tests.looks import batch, counts, look, minute
from tests.measures.test_waiting import learned, one_of_two, waits
from tests.test_spells import history


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
    """Of 10 records 4 landed, 1 waits, 2 are yet to be processed and 3 failed, none of them as
    its wait ran out."""
    seen = history(look(batch(waits={"A": "x"}, created=0, expires=60) | of(10, 4, 3, 1, 8), 5))
    assert account(seen) == {
        ("landed", "-"): 4,
        ("waiting", "-"): 1,
        ("unprocessed", "-"): 2,
        ("failed", "-"): 3,
    }


def test_what_expired_stands_by_its_rule_and_the_rest_of_the_lost_failed_otherwise():
    seen = history(
        look(waits(B="x") | of(10, 4, 4, 2), 65),
        look(batch(waits={}) | of(10, 4, 6, 0), 80),
    )
    assert account(seen) == {("landed", "-"): 4, ("expired", "4"): 2, ("failed", "-"): 4}


def test_an_unknown_end_may_be_one_of_the_lost():
    """A leaves across its expiry while its batch counts one failure: it expired, or failed."""
    seen = history(look(waits() | of(10, 4, 5, 1), 50), look(batch(waits={}) | of(10, 4, 6, 0), 70))
    assert account(seen) == {("landed", "-"): 4, ("unknown", "-"): 1, ("failed", "-"): 5}


def test_a_part_of_those_that_left_may_be_lost_for_certain_though_not_which():
    looks = [
        look(waits(B="y", C="w") | of(10, 4, 3, 3), 50),
        look(batch(waits={}) | of(10, 5, 5, 0), 70),
    ]
    assert account(history(*looks)) == {
        ("landed", "-"): 5,
        ("unknown", "-"): 2,
        ("failed", "-"): 3,
    }


def test_where_a_code_counts_what_expired_the_batch_s_own_count_decides():
    seen = history(*learned(), *one_of_two(rise=1))
    found = account(seen)
    assert found["expired", "4"] == 4
    assert found["expired", "5e"] == 1
    assert ("unknown", "-") not in found


def test_a_wait_that_nobody_saw_is_in_the_account_if_a_code_tells():
    """Batch q counts three expiries, and no look ever listed what waited."""
    unseen = batch("q", waits={}) | {
        "progress": counts(30, 20, 10) | {"pendingRecords": 0},
        "errors": {"summary": {"OTHER": 7, "WAIT_EXPIRED": 3}},
    }
    found = account(history(*learned(), look(unseen, 90)))
    assert found["expired", "counts"] == 3


def test_where_expiries_are_not_counted_as_failed_they_are_lost_all_the_same():
    """One of ten is neither landed, pending nor failed: it expired, as rule 4 shows."""
    seen = history(
        look(waits() | of(10, 4, 5, 1), 65),
        look(batch(waits={}) | {"progress": counts(10, 4, 5) | {"pendingRecords": 0}}, 80),
    )
    assert account(seen) == {("landed", "-"): 4, ("expired", "4"): 1, ("failed", "-"): 5}


@pytest.mark.parametrize(
    "progress",
    [
        {"totalRecords": 10},
        counts(10, 11, 0) | {"pendingRecords": 0},  # more landed than there are
        counts(10, -1, 0) | {"pendingRecords": 0},
        counts(10, 9, 1) | {"pendingRecords": 3},
    ],
)
def test_counts_that_are_missing_or_contradict_each_other_hide_no_other_batch(progress):
    good = look(batch("g", waits={}) | of(10, 9, 1, 0), 5)
    odd = look(batch("o", waits={}) | {"progress": progress}, 5)
    found = account(history(good, odd))
    assert found == {("landed", "-"): 9, ("failed", "-"): 1, ("unreconciled", "-"): 10}


def test_more_expired_than_the_batch_counts_as_lost_is_a_contradiction():
    seen = history(
        look(waits(B="x") | of(10, 9, 0, 1), 65), look(batch(waits={}) | of(10, 9, 1, 0), 80)
    )
    assert account(seen) == {("unreconciled", "-"): 10}


def test_groups_have_all_parts_and_empty_in_is_empty_out():
    seen = history(look(batch(waits={}, schemaName="s1") | of(3, 3, 0, 0), 5))
    table = seen.reconciliation("schema_name")
    assert table["part"].tolist() == [
        *("landed", "waiting", "unprocessed", "expired", "unknown", "failed", "unreconciled")
    ]
    assert set(table["schema_name"]) == {"s1"}
    empty = reconciliation(columns.BATCHES.empty(), columns.WAITING.empty(), by="tenant_id")
    assert empty.columns.tolist() == ["tenant_id", *columns.RECONCILIATION.names]
    assert len(empty) == 0
    with pytest.raises(FrameError, match=r"pass history\.waiting\(\)"):
        reconciliation(columns.BATCHES.empty(), pd.DataFrame({"x": [1]}))


numbers = st.none() | st.integers(-1, 12)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), numbers, numbers, numbers, numbers), min_size=1, max_size=4
    ),
    st.integers(0, 3),
)
def test_whatever_is_counted_the_parts_add_up_to_all_records(batches, waiting):
    looks = []
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
        looks += [look(document, 1), look(document, 40), look(empty, 50)]
    seen = history(*looks)
    table = seen.reconciliation()
    assert table["records"].sum() == sum(total for total, *_ in batches)
    assert (table["records"] >= 0).all()


def released(count: int, failed: int) -> list:
    """Batches whose waits were released long before their expiry, so many of which failed."""
    looks = []
    for n in range(count):
        own = batch(f"r{n}", waits={f"R{n}": "z"}, created=0, expires=500)
        bad = 1 if n < failed else 0
        looks += [
            look(own | of(5, 3, 1, 1), 5),
            look(batch(f"r{n}", waits={}) | of(5, 4 - bad, 1 + bad, 0), 10),
        ]
    return looks


def test_where_all_counts_fit_that_no_released_one_fails_it_says_what_that_would_settle():
    seen = history(*released(40, failed=0), *one_of_two(rise=0))
    [row] = seen.conventions().to_dict("records")
    assert (row["released"], row["released_failed"], row["none_fails"]) == (40, 0, True)
    assert (row["unknown"], row["would_settle"]) == (1, 1)
    assert row["failed_high_fraction"] == pytest.approx(1 - 0.05 ** (1 / 40))
    assert (seen.waiting(released_may_fail=False)["verdict"] == "unknown").sum() == 0


@pytest.mark.parametrize(("count", "failed"), [(40, 1), (20, 0)])
def test_one_that_failed_or_too_few_speak_against_it(count, failed):
    [row] = history(*released(count, failed), *one_of_two(rise=0)).conventions().to_dict("records")
    assert row["released_failed"] == failed
    assert not row["none_fails"]


def test_conventions_of_nothing_are_one_row():
    [row] = conventions(columns.WAITING.empty(), columns.DEPARTURES.empty()).to_dict("records")
    assert (row["released"], row["unknown"], row["none_fails"]) == (0, 0, False)
    assert pd.isna(row["expired_counts_as_failed"])


def test_health_tells_what_was_lost_and_how_old_it_all_is():
    seen = history(
        look(waits() | of(10, 4, 5, 1), 50),
        look(batch(waits={}) | of(10, 4, 6, 0), 70),
        as_of=minute(100),
    )
    table = health(
        seen.batches(), seen.pending(), seen.reconciliation("tenant_id"), as_of=minute(100)
    )
    [row] = table.to_dict("records")
    assert (row["lost_records"], row["expired_min"], row["expired_max"]) == (6, 0, 1)
    assert row["look_age"] == pd.Timedelta(minutes=30) - pd.Timedelta(seconds=1)
    without = health(seen.batches(), seen.pending(), as_of=minute(100)).iloc[0]
    assert pd.isna(without["lost_records"])


def test_a_code_that_counts_no_whole_number_is_not_taken_and_all_adds_up():
    half = batch("h", waits={}) | of(10, 5, 5, 0) | {"errors": {"summary": {"WAIT_EXPIRED": 2.5}}}
    table = history(*learned(), look(half, 90)).reconciliation()
    assert table["records"].sum() == 30 * 2 + 10
