"""The product-limit estimate with delayed entry, against statsmodels and by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from reach_analytics.measures._survival.lifetimes import product_limit

lives = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 20), st.booleans()), min_size=1, max_size=40
)


def test_a_case_by_hand():
    """Of three at risk one ends at 2; the one that enters at 2 is at risk after it, at 5."""
    entry, end = np.array([0.0, 0, 0, 2]), np.array([2.0, 3, 5, 5])
    ages, left, at_risk = product_limit(entry, end, np.array([True, False, True, False]))
    assert ages.tolist() == [2, 5]
    assert at_risk.tolist() == [3, 2]
    assert np.allclose(left, [2 / 3, 1 / 3])


@given(lives)
def test_it_agrees_with_statsmodels(rows):
    entry = np.array([start for start, _, _ in rows], float)
    end = entry + [length for _, length, _ in rows]
    ended = np.array([over for _, _, over in rows])
    if not ended.any():
        return
    ages, left, at_risk = product_limit(entry, end, ended)
    theirs = SurvfuncRight(end, ended.astype("int64"), entry=entry)
    assert ages.tolist() == theirs.surv_times.tolist()
    assert at_risk.tolist() == theirs.n_risk.tolist()
    assert np.allclose(left, theirs.surv_prob)
