"""Series of batches for charts and change points."""

from __future__ import annotations

import pandas as pd
from hypothesis import strategies as st

from tests.support.batches import batches


def series(*pairs: tuple[int, int], schema: str = "s") -> pd.DataFrame:
    """Batches of (successful, settled) records, a minute apart."""
    return batches(*[(schema, i, "x", n, s, n - s, 0) for i, (s, n) in enumerate(pairs)])


def of_100(*failed: int) -> pd.DataFrame:
    return series(*[(100 - n, 100) for n in failed])


pairs = st.tuples(st.integers(0, 60), st.integers(1, 60)).map(lambda t: (min(t), t[1]))
