"""Control charts of the settled fraction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures.batches.control_chart import control_chart
from tests.support.batches import T0, batches
from tests.support.effort import examples
from tests.support.series import of_100, pairs, series


def test_laney_s_limits_are_widened_by_the_moving_range():
    """Golden: D = 10, 20, 10, 20 of 100 give p .15, sigma .035707, sigma_z 2.48277, UCL .41596."""
    chart = control_chart(of_100(10, 20, 10, 20), baseline=4, limits="laney")
    assert chart["centre_fraction"].tolist() == pytest.approx([0.85] * 4)
    assert chart["sigma_z"].tolist() == pytest.approx([2.48277] * 4, abs=5e-6)
    assert chart["low_fraction"].tolist() == pytest.approx([1 - 0.41596] * 4, abs=5e-5)
    assert chart["high_fraction"].tolist() == [1.0] * 4  # 1.116, clipped
    assert chart["basis"].tolist() == ["p'"] * 4
    assert chart["signal"].isna().all()


def test_a_plain_chart_ignores_the_variation_between_batches():
    chart = control_chart(of_100(10, 20, 10, 20), baseline=4, limits="p")
    assert chart["low_fraction"].tolist() == pytest.approx([0.85 - 3 * 0.035707] * 4, abs=5e-6)
    assert chart["sigma_z"].isna().all()
    assert chart["basis"].tolist() == ["p"] * 4


def test_underdispersion_narrows_the_limits_only_on_request():
    rows = of_100(15, 16, 15, 16)
    wide = control_chart(rows, baseline=4, limits="laney")
    narrow = control_chart(rows, baseline=4, limits="laney-strict")
    assert wide["sigma_z"].tolist() == narrow["sigma_z"].tolist()
    assert narrow["sigma_z"].iloc[0] < 1
    half = {
        name: t["centre_fraction"] - t["low_fraction"] for name, t in (("w", wide), ("n", narrow))
    }
    assert (half["n"] / half["w"]).tolist() == pytest.approx(narrow["sigma_z"].tolist())


def test_the_baseline_is_frozen_and_judges_what_comes_later():
    first = of_100(10, 20, 10, 20)
    rows = of_100(10, 20, 10, 20, 60, 0, 12)
    chart, alone = (control_chart(r, baseline=4, limits="laney") for r in (rows, first))
    pd.testing.assert_frame_equal(chart.head(4), alone)
    assert chart["centre_fraction"].nunique() == 1
    assert chart["in_baseline"].tolist() == [True] * 4 + [False] * 3
    assert chart["signal"].fillna("-").tolist()[4:] == ["below", "-", "-"]


def test_a_fraction_above_the_limits_is_a_signal_too():
    chart = control_chart(of_100(60, 50, 60, 50, 5), baseline=4, limits="p")
    assert chart["signal"].fillna("-").tolist() == ["-"] * 4 + ["above"]


def test_the_baseline_can_end_at_a_moment():
    rows = of_100(*[10, 20] * 12)
    until = T0 + pd.Timedelta(minutes=20)
    chart = control_chart(rows, baseline=until)
    assert chart["in_baseline"].sum() == 21
    naive = control_chart(rows, baseline=str(until.tz_localize(None)))
    pd.testing.assert_frame_equal(chart, naive)
    early = control_chart(rows, baseline=until - pd.Timedelta(minutes=2))
    assert early["reason"].unique().tolist() == ["fewer than 20 settled batches"]


def test_sparse_batches_are_judged_by_exact_binomial_tails():
    """4 of 100 failed: of 50, P(fail >= 8) = .00078 and P(fail >= 7) = .0035 around .00135."""
    rows = series((96, 100), (96, 100), (43, 50), (42, 50), (50, 50))
    chart = control_chart(rows, baseline=2, limits="laney")
    assert chart["basis"].tolist() == ["exact"] * 5
    assert chart["low_fraction"].iloc[2] == 43 / 50
    assert chart["high_fraction"].iloc[2] == 1
    assert chart["signal"].fillna("-").tolist() == ["-", "-", "-", "below", "-"]


def unlike(count: int, seed: int, p: float = 0.9, rho: float = 0.05) -> list[tuple[int, int]]:
    """(successful, settled) of batches of 30 to 2,000 records with differing chances."""
    random = np.random.default_rng(seed)
    sizes = np.exp(random.uniform(np.log(30), np.log(2000), count)).astype(int)
    chances = random.beta(p * (1 / rho - 1), (1 - p) * (1 / rho - 1), count)
    return [(int(random.binomial(n, c)), int(n)) for n, c in zip(sizes, chances, strict=True)]


def test_overdispersed_batches_in_control_rarely_signal():
    """Nominally 0.27 %; Laney's limits, which close in on large batches, give many times that."""
    charts = [
        control_chart(pd.concat([series(*unlike(220, seed))]), limits=limits)
        for seed in range(8)
        for limits in ("beta-binomial", "laney")
    ]
    share = [
        pd.concat(charts[kind::2]).query("~in_baseline")["signal"].notna().mean() for kind in (0, 1)
    ]
    assert share[0] < 0.01
    assert share[1] > 0.02


def test_a_batch_far_outside_still_signals():
    rows = series(*unlike(40, 3), (300, 1000))
    assert control_chart(rows)["signal"].fillna("-").iloc[-1] == "below"
    assert (control_chart(rows)["basis"] == "beta-binomial").all()


def test_limits_agree_with_sampling_from_the_same_baseline():
    """By drawing further batches of one size: 0.135 % lie beyond each limit."""
    pairs = unlike(400, 11)
    chart = control_chart(series(*pairs, (1, 200)), baseline=400)
    low, high = chart[["low_fraction", "high_fraction"]].iloc[-1]
    random = np.random.default_rng(0)
    chances = random.beta(0.9 * 19, 0.1 * 19, 400_000)
    drawn = random.binomial(200, chances) / 200
    assert 0.0005 < (drawn < low).mean() < 0.003
    assert (drawn > high).mean() < 0.003


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (of_100(*[10] * 19), "fewer than 20 settled batches"),
        (of_100(*[0] * 20, 50), "all succeeded in the baseline"),
        (of_100(*[100] * 20, 50), "none succeeded in the baseline"),
    ],
)
def test_without_a_usable_baseline_there_is_a_reason_instead_of_limits(rows, reason):
    chart = control_chart(rows)
    assert chart["reason"].unique().tolist() == [reason]
    told = ["centre_fraction", "low_fraction", "high_fraction", "sigma_z", "signal", "basis"]
    assert chart[told].isna().all(axis=None)
    assert len(chart) == len(rows)


def test_each_group_has_its_own_chart_and_batches_without_a_group_have_one():
    rows = batches(
        *[("b", i, "x", 100, 90 - i % 2, 10 + i % 2, 0) for i in range(4)],
        *[(None, i, "x", 100, 40 + i % 2, 60 - i % 2, 0) for i in range(3)],
        ("a", 0, "x", 100, 50, 50, 0),
    )
    chart = control_chart(rows, by="schema_name", baseline=3)
    assert chart["chart"].tolist() == [1, 2, 2, 2, 2, 3, 3, 3]
    assert chart["schema_name"].fillna("-").tolist() == ["a", *"bbbb", *"---"]
    assert chart["reason"].notna().tolist() == [True] + [False] * 7
    centres = chart.groupby("chart")["centre_fraction"].first()
    assert centres.tolist()[1:] == pytest.approx([269 / 300, 121 / 300])
    alone = control_chart(rows[rows["schema_name"] == "b"], baseline=3)
    own = chart[chart["chart"] == 2][alone.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(own.assign(chart=1), alone.assign(chart=1))


def test_charts_can_be_grouped_by_tenant():
    rows = of_100(10, 20, 30, 40).assign(tenant_id=["t2", "t1", "t2", "t1"])
    chart = control_chart(rows, by="tenant_id", baseline=2)
    assert chart.columns.tolist() == tables.CONTROL_CHART.names
    assert chart["tenant_id"].tolist() == ["t1", "t1", "t2", "t2"]
    assert chart["centre_fraction"].tolist() == pytest.approx([0.7, 0.7, 0.8, 0.8])


def test_batches_without_settled_records_or_time_or_with_negative_counts_are_left_out():
    rows = batches(
        ("s", 0, "x", 10, 0, 0, 10),
        ("s", 1, "x", None, None, None, None),
        ("s", None, "x", 10, 9, 1, 0),
        ("s", 2, "x", 10, -1, 5, 0),
        ("s", 3, "x", 10, 9, 1, 0),
    )
    chart = control_chart(rows, baseline=2)
    assert chart["batch_id"].tolist() == ["b4"]
    assert chart["settled_records"].tolist() == [10]


@pytest.mark.parametrize("by", [None, "schema_name", ["schema_name", "tenant_id"]])
def test_empty_and_null_in_empty_out_in_the_same_types(by):
    full = control_chart(of_100(10, 20, 10, 20), by=by, baseline=4)
    nulls = tables.BATCHES.conform(pd.DataFrame({"tenant_id": ["t"], "batch_id": ["b"]}))
    bare = nulls[["tenant_id", "batch_id"]].assign(
        schema_name="s", created_at=None, successful_records=None, failed_records=None
    )
    for rows in (tables.BATCHES.empty(), nulls, bare):
        empty = control_chart(rows, by=by)
        assert len(empty) == 0
        assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_wrong_columns_and_arguments_are_named():
    with pytest.raises(FrameError, match=r"`failed_records`.*history\.batches\(\)"):
        control_chart(of_100(1, 2).drop(columns="failed_records"))
    with pytest.raises(FrameError, match="`nothing`"):
        control_chart(of_100(1, 2), by="nothing")
    with pytest.raises(ValueError, match="by takes columns of the batches"):
        control_chart(of_100(1, 2).assign(signal=1), by="signal")
    with pytest.raises(ValueError, match="limits must be one of"):
        control_chart(of_100(1, 2), limits="wide")
    for odd in (1, 0, -3, True, "soon", None, 2.5, pd.NaT):
        with pytest.raises(ValueError, match="baseline must be a number of batches"):
            control_chart(of_100(1, 2), baseline=odd)


def test_the_input_is_not_changed():
    rows = of_100(10, 20, 10, 20)
    before = rows.copy(deep=True)
    control_chart(rows, by="schema_name", baseline=2)
    pd.testing.assert_frame_equal(rows, before)


many = st.lists(pairs, min_size=2, max_size=14)


@settings(max_examples=examples(20))
@given(many, st.sampled_from(["beta-binomial", "laney", "laney-strict", "p"]), st.randoms())
def test_limits_are_ordered_within_0_and_1_for_any_row_order(pairs, limits, random):
    rows = series(*pairs)
    options = {"baseline": 2, "limits": limits}
    chart = control_chart(rows, **options)
    told = chart[chart["reason"].isna()]
    ends = told[["low_fraction", "high_fraction"]]
    assert ((ends >= 0) & (ends <= 1)).all(axis=None)
    assert (ends["low_fraction"] <= ends["high_fraction"]).all()
    normal = told[~told["basis"].isin(["exact", "beta-binomial"])]
    assert (normal["low_fraction"] <= normal["centre_fraction"]).all()
    out = (
        told["settled_fraction"]
        - told["settled_fraction"].clip(told["low_fraction"], told["high_fraction"])
    ) != 0
    assert (out == told["signal"].notna()).all()
    order = random.sample(range(len(rows)), len(rows))
    pd.testing.assert_frame_equal(control_chart(rows.iloc[order], **options), chart)


@settings(max_examples=examples(20))
@given(many, st.integers(2, 5))
def test_larger_batches_have_closer_limits_and_the_same_centre(pairs, factor):
    small = control_chart(series(*pairs), baseline=2, limits="p")
    large = control_chart(
        series(*[(s * factor, n * factor) for s, n in pairs]), baseline=2, limits="p"
    )
    np.testing.assert_allclose(small["centre_fraction"], large["centre_fraction"])
    both = (small["basis"] == "p") & (small["low_fraction"] > 0) & (small["high_fraction"] < 1)
    width = [t["high_fraction"][both] - t["low_fraction"][both] for t in (small, large)]
    np.testing.assert_allclose(width[0], width[1] * factor**0.5)
