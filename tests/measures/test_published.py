"""Published results, reproduced."""

from __future__ import annotations

import pytest

from reach_analytics.measures.batches.control_chart import control_chart
from tests.support.series import series

# NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.3.2: defective chips of 50 per wafer.
WAFERS = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11]
WAFERS += [20, 18, 24, 15, 9, 12, 7, 13, 9, 6]


def test_the_nist_chart_of_proportions_has_its_limits_and_two_points_outside():
    rows = series(*[(50 - defective, 50) for defective in WAFERS])
    chart = control_chart(rows, baseline=30, limits="p")
    failed = 1 - chart[["centre_fraction", "high_fraction", "low_fraction"]]
    assert failed.drop_duplicates().to_numpy().tolist() == [
        pytest.approx([0.2313, 0.0524, 0.4102], abs=6e-5)
    ]
    out = chart[chart["signal"].notna()]
    assert [int(name[1:]) + 1 for name in out["batch_id"]] == [15, 23]
    assert out["signal"].tolist() == ["below", "below"]
