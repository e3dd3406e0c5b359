"""What changed between two moments: beside the sandbox's log, and beside both histories by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.measures.changes.success_change import _holm, success_change
from tests.support.effort import count
from tests.support.histories import history
from tests.support.observations import batch, counts, minute, observation
from tests.support.outcomes import NONE, waits

KEY = ["tenant_id", "schema_definition_id", "external_id"]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """(store, the two moments, what the sandbox knew at each, its log)."""
    pytest.importorskip("starlette")
    store = reach.Store(tmp_path_factory.mktemp("changes") / "store")
    known = []
    with reach.sandbox.serve("demo") as sandbox, reach.Client(**sandbox.credentials) as client:
        for number, moment in enumerate(sandbox.scenario.moments[:20]):
            sandbox.advance(moment)
            reach.collect(client, store, progress=False)
            if number in (9, 19):
                own = sandbox.world.batches.values()
                known.append(
                    {b.id: (b.status, b.successful, sum(b.failures.values())) for b in own}
                )
        log = pd.DataFrame([vars(fact) for fact in sandbox.world.ground_truth])
        moments = [sandbox.scenario.moments[n] for n in (9, 19)]
    return store, moments, known, log


@pytest.fixture(scope="module")
def both(played):
    store, (first, _), *_ = played
    at = pd.Timestamp(first) + pd.Timedelta(minutes=1)
    return reach.open_history(store, as_of=at), reach.open_history(store)


def sizes(changes: pd.DataFrame) -> dict[tuple[str, str], float]:
    return changes.groupby(["about", "change"])["size"].sum().to_dict()


def test_counts_are_those_of_the_sandbox(played, both):
    _, _, (before, after), log = played
    earlier, later = both
    found = sizes(earlier.compare(later))
    ended = {"success", "partial_success", "failure"}
    assert found[("batches", "new")] == len(after) - len(before)
    assert found[("batches", "settled")] == sum(
        status in ended and before.get(own, ("",))[0] not in ended
        for own, (status, *_) in after.items()
    )
    for place, change in ((1, "landed"), (2, "failed")):
        total = [sum(row[place] for row in one.values()) for one in (before, after)]
        assert found[("records", change)] == total[1] - total[0]
    since = log[(log["at"] > earlier.moment) & (log["at"] <= later.moment)]
    truth = since["event"].value_counts()
    unknown = found.get(("records", "unknown"), 0)
    for name in ("released", "expired"):
        seen = found[("records", name)]
        assert 0 < seen <= truth[name]  # what began and ended between two passes was not seen
    assert unknown < 0.3 * truth["released"]


def test_what_came_and_went_explains_what_waits(both):
    earlier, later = both
    found = sizes(earlier.compare(later))
    over = sum(found.get(("records", one), 0) for one in ("released", "expired", "unknown"))
    assert found[("records", "waiting")] - over == len(later.pending()) - len(earlier.pending())


def test_dependencies_and_bottlenecks_are_those_of_both_histories(both):
    earlier, later = both
    changes = earlier.compare(later, top=None)
    then, now = (one.bottlenecks().set_index(KEY)["blocked"].to_dict() for one in both)
    arrived = later.arrivals().query("verdict == 'arrived'").set_index(KEY).index
    found = sizes(changes)
    assert found[("dependencies", "new")] == len(now.keys() - then.keys())
    over = then.keys() - now.keys()
    assert found[("dependencies", "arrived")] == len(over & {*arrived})
    assert found[("dependencies", "gone")] == len(over - {*arrived})
    moved = {
        key: now.get(key, 0) - then.get(key, 0)
        for key in now.keys() | then.keys()
        if now.get(key, 0) != then.get(key, 0)
    }
    rows = changes[changes["about"] == "bottleneck"]
    assert rows.set_index(KEY)["size"].to_dict() == moved
    assert (rows["change"] == np.where(rows["size"] > 0, "grew", "shrank")).all()
    few = earlier.compare(later, top=2)
    assert (few["about"] == "bottleneck").sum() == 4


def test_changes_since_a_time_are_the_comparison_with_that_time(both):
    earlier, later = both
    since = later.changes(since=earlier.moment)
    pd.testing.assert_frame_equal(since, earlier.compare(later))
    back = later.moment - earlier.moment
    pd.testing.assert_frame_equal(later.changes(since=back), since)


def test_waits_end_as_the_whole_says_where_all_batches_were_observed_since(both):
    _, later = both
    found = sizes(later.changes(since="30D"))
    outcomes = later.wait_outcomes()["verdict"].value_counts()
    for verdict in ("released", "expired", "unknown"):
        assert found.get(("records", verdict), 0) == outcomes.get(verdict, 0)
    assert found[("records", "waiting")] == len(later.wait_outcomes())
    assert found[("batches", "new")] == len(later.batches())


def test_of_a_part_only_what_is_its_own_changed(both):
    earlier, later = both
    whole = earlier.compare(later, top=None)
    for tenant in ("Pine & Co", "Harbour Books"):
        part = earlier.filter(tenant=tenant).compare(later.filter(tenant=tenant), top=None)
        ours = [one[one["about"] != "success"] for one in (part, whole)]
        pd.testing.assert_frame_equal(
            ours[0].reset_index(drop=True),
            ours[1][ours[1]["tenant_name"] == tenant].reset_index(drop=True),
        )
    of_schema = later.filter(schema="contacts").changes(since="2h")
    assert set(of_schema.loc[of_schema["about"] == "records", "change"]) >= {"landed"}


def test_moments_that_cannot_be_compared_say_so(both, tmp_path):
    earlier, later = both
    with pytest.raises(ValueError, match="swap them"):
        later.compare(earlier)
    with pytest.raises(ValueError, match="two moments of one history"):
        earlier.compare(later.filter(tenant="Pine & Co"))
    with pytest.raises(ValueError, match="since must be before"):
        later.changes(since="2100-01-01")
    with pytest.raises(ValueError, match="since must be a length of time"):
        later.changes(since="soon")
    for options in ({"top": 0}, {"n_resamples": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            later.changes(since="1h", **options)


def test_nothing_changed_between_two_moments_without_observations():
    opened = history(observation(batch(progress=counts(5, 5, 0), waits={}), 1))
    found = reach.measures.changes_in_words(opened.changes(since="24h"))
    assert found.startswith("Batches: 1 new")
    same = batch(progress=counts(5, 5, 0), waits={})
    later = history(observation(same, 1), observation(same, 500))
    quiet = later.changes(since="1h")
    assert quiet.empty
    assert quiet.drop(columns="tenant_name").columns.tolist() == tables.CHANGES.names
    assert reach.measures.changes_in_words(quiet) == "Nothing changed."
    assert history().changes(since="1h").empty


def test_deadlocks_that_come_go_and_grow_are_told_apart():
    def looks(at: float, **waits: dict) -> list:
        return [observation(batch(own, waits=listed), at) for own, listed in waits.items()]

    opened = history(
        *looks(0, same={"A": "B", "B": "A"}, goes={"C": "D", "D": "C"}, more={"E": "F", "F": "E"}),
        *looks(60, goes={}, more={"E": "FG", "F": "E", "G": "E"}, comes={"H": "I", "I": "H"}),
    )
    changes = opened.changes(since="30min")
    rows = changes[changes["about"] == "deadlock"]
    told = rows[["change", "external_id", "before", "after"]].values.tolist()
    assert told == [["new", "H", 0, 2], ["grew", "E", 2, 3], ["gone", "C", 2, 0]]
    said = reach.measures.changes_in_words(changes)
    assert "1 deadlock new: with things H of t." in said
    assert "1 deadlock larger: with things E of t." in said


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"A": "B", "B": "C", "C": "A"}, {"A": "B", "B": "A"}, ["shrank", "A", 3, 2]),
        ({"A": "B", "B": "A"}, {"A": "B", "B": "AC", "C": "B"}, ["grew", "A", 2, 3]),
        (
            {"A": "B", "B": "A", "C": "D", "D": "C"},
            {"A": "B", "B": "AC", "C": "DB", "D": "C"},
            None,
        ),
    ],
)
def test_a_deadlock_has_the_members_that_it_had_on_both_sides(before, after, told):
    """Of two that become one with the same members, nothing grew."""
    opened = history(observation(batch(waits=before), 0), observation(batch(waits=after), 60))
    changes = opened.changes(since="30min")
    rows = changes.loc[changes["about"] == "deadlock", ["change", "external_id", "before", "after"]]
    assert rows.values.tolist() == ([told] if told else [])


START = pd.Timestamp("2026-03-02", tz="UTC")
HOUR = pd.Timedelta(hours=1)


def settled(hits, total, tenant="t", begin=0.0) -> pd.DataFrame:
    """Batches with so many successes of so many records, created one after the other in an hour."""
    step = HOUR / (len(total) + 1)
    return pd.DataFrame(
        {
            "tenant_id": tenant,
            "batch_id": [f"{tenant}{begin}-{n}" for n in range(len(total))],
            "created_at": pd.DatetimeIndex(
                [START + begin * HOUR + step * n for n in range(len(total))], tz="UTC"
            ),
            "successful_records": np.asarray(hits),
            "failed_records": np.asarray(total) - np.asarray(hits),
        }
    )


def compared(before: pd.DataFrame, after: pd.DataFrame, n_resamples=999) -> pd.DataFrame:
    later = pd.concat([before, after])
    return success_change(before, later, START + HOUR, START + 2 * HOUR, n_resamples, 0)


def test_what_was_deleted_proves_nothing_here_either():
    """A batch that deletes ran between the last list and the proof, before what is compared."""

    def counted(document: dict, good: int, bad: int) -> dict:
        waiting = len(document["pendingResources"])
        return document | {"progress": counts(11, good, bad) | {"pendingRecords": waiting}}

    deletes = batch("del", batchType="delete", status="success", progress=counts(3, 3, 0), waits={})
    opened = history(
        observation(counted(waits(), 4, 5), 50),
        observation(deletes | {"createdAt": minute(52).isoformat()}, 53),
        observation(counted(NONE, 5, 6), 70),
        observation(batch("other", waits={"Z": "x"}, created=0, expires=900), 80),
    )
    [verdict] = opened.wait_outcomes().query("external_id == 'A'")["verdict"]
    found = sizes(opened.changes(since=minute(55)))
    assert verdict == "released"
    assert found[("records", "released")] == 1
    assert ("records", "expired") not in found


def test_a_batch_of_a_part_counts_by_what_it_is_now():
    opened = history(
        observation(batch(status="processing", progress=counts(9, 5, 0), waits={}), 1),
        observation(batch(status="success", progress=counts(9, 9, 0), waits={}), 90),
    )
    found = sizes(opened.filter(status="success").changes(since="1h"))
    assert found[("records", "landed")] == 4
    assert ("batches", "new") not in found
    assert found[("batches", "settled")] == 1


def test_counts_that_are_left_out_are_none_that_went_back():
    looks = [observation(batch(progress=counts(9, 8, 1), waits={}), 1)]
    looks.append(observation(batch(progress={}, waits={}), 90))
    assert ("records", "landed") not in sizes(history(*looks).changes(since="1h"))


def test_names_in_words_stay_on_their_line():
    looks = [observation(batch(waits={"A": "X\nNothing changed.\x1b[2J"}), 1)]
    said = reach.measures.changes_in_words(history(*looks).changes(since="1h"))
    assert not [line for line in said.splitlines() if line.startswith("Nothing")]
    assert "\x1b" not in said


def test_equal_fractions_differ_by_nothing():
    total = [49] * 8
    found = compared(settled([1] * 8, total), settled([3] * 8, [147] * 8, begin=1))
    assert found["change"].tolist() == ["same", "same"]
    assert found["p_value"].tolist() == [1, 1]


def test_what_could_not_have_been_shown_is_not_denied():
    sides = [[], []]
    for n in range(5):
        for begin in (0, 1):
            hits = [1] * 4 if n == 0 and begin else [9] * 4
            sides[begin].append(settled(hits, [10] * 4, f"t{n}", begin))
    found = compared(*map(pd.concat, sides)).set_index("tenant_id")
    assert found.loc[[f"t{n}" for n in range(5)], "beyond_chance"].isna().all()
    ten = compared(settled([9] * 10, [10] * 10), settled([1] * 10, [10] * 10, begin=1), 10)
    assert ten["beyond_chance"].isna().all()
    odd_one = compared(settled([10] * 30, [10] * 30), settled([0], [10], begin=1))
    assert odd_one["beyond_chance"].all()
    assert odd_one["p_value"].nunique() == 1


def test_the_p_value_is_that_of_all_orders_of_few_batches():
    hits, total = np.array([9, 8, 10, 3, 5, 2]), np.array([10, 10, 12, 9, 8, 7])
    row = compared(settled(hits[:3], total[:3]), settled(hits[3:], total[3:], begin=1)).iloc[0]
    own = hits - hits.sum() / total.sum() * total
    every = np.array([own[list(chosen)].sum() for chosen in combinations(range(6), 3)])
    exact = (np.abs(every) >= abs(own[3:].sum()) - 1e-9).mean()
    assert row["p_value"] == pytest.approx(exact, abs=0.05)
    assert (row["before"], row["after"]) == pytest.approx((27 / 32, 10 / 24))
    assert pd.isna(row["beyond_chance"])  # of 20 orders none is rare enough


def test_for_many_batches_the_limit_is_what_drawing_gives():
    random = np.random.default_rng(1)
    total = random.integers(1, 200, 1200)
    hits = random.binomial(total, random.beta(9, 1, 1200))
    hits[600:] = np.maximum(hits[600:] - random.binomial(total[600:], 0.01), 0)
    row = compared(settled(hits[:600], total[:600]), settled(hits[600:], total[600:], begin=1))
    own = hits - hits.sum() / total.sum() * total
    drawn = [random.permutation(own)[600:].sum() for _ in range(4999)]
    p_value = (np.abs(drawn) >= abs(own[600:].sum())).mean()
    assert row.iloc[0]["p_value"] == pytest.approx(p_value, abs=0.03)


@pytest.mark.parametrize("spread", [3, 1000])
def test_chance_alone_seldom_counts_as_a_change(spread):
    """Batches of uneven sizes that differ much, or little, from each other; both hours alike."""
    random, alarms, runs = np.random.default_rng(spread), 0, count(300, 20)
    for _ in range(runs):
        sides = []
        for begin in (0, 1):
            total = random.integers(1, 300, random.integers(5, 25))
            chance = random.beta(0.9 * spread, 0.1 * spread, len(total))
            sides.append(settled(random.binomial(total, chance), total, begin=begin))
        alarms += bool(compared(*sides, n_resamples=199).iloc[0]["beyond_chance"])
    assert stats.binomtest(alarms, runs, 0.05, alternative="greater").pvalue > 0.001


def test_a_real_change_of_one_tenant_among_many_is_found_and_no_other():
    random = np.random.default_rng(3)
    sides = [[], []]
    for n in range(20):
        for begin in (0, 1):
            total = random.integers(50, 150, 12)
            chance = random.beta(90, 10, 12) - (0.3 if n == 7 and begin else 0)
            rows = settled(random.binomial(total, chance), total, f"t{n:02}", begin)
            sides[begin].append(rows)
    found = compared(*map(pd.concat, sides), n_resamples=9999)
    sure = found[found["beyond_chance"].fillna(False)]
    assert sure["tenant_id"].dropna().tolist() == ["t07"]
    assert (sure["change"] == "fell").all()


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (settled([], []), settled([5], [5], begin=1), "unknown"),
        (settled([5], [5]), settled([], [], begin=1), "unknown"),
        (settled([5] * 9, [5] * 9), settled([5] * 9, [5] * 9, begin=1), "same"),
    ],
)
def test_what_cannot_be_compared_is_not_judged(before, after, change):
    row = compared(before, after).iloc[0]
    assert row["change"] == change
    assert pd.isna(row["beyond_chance"]) == (change == "unknown")


def test_holm_s_steps_are_those_of_its_definition():
    def by_hand(p_values: np.ndarray) -> list[bool]:
        rejected = [False] * len(p_values)
        tests = [n for n, p in enumerate(p_values) if not np.isnan(p)]
        for step, n in enumerate(sorted(tests, key=lambda n: p_values[n])):
            if p_values[n] > 0.05 / (len(tests) - step):
                break
            rejected[n] = True
        return rejected

    random = np.random.default_rng(0)
    for _ in range(200):
        p_values = random.beta(0.2, 1, random.integers(1, 12))
        p_values[random.random(len(p_values)) < 0.2] = np.nan
        assert _holm(p_values).tolist() == by_hand(p_values)
