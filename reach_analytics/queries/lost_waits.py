"""The waits that `measures.lost` looks at."""

from __future__ import annotations

import ibis
import pyarrow as pa

from reach_analytics.queries.engine import Runner
from reach_analytics.queries.verdicts import CODES, Evidence
from reach_analytics.tables import BATCH_KEY

__all__ = ["lost_waits"]

_OVER = [code for code, rule in enumerate(CODES) if rule.verdict in ("expired", "unknown")]


def lost_waits(judged: ibis.Table, evidence: Evidence, named: pa.Table, run: Runner) -> ibis.Table:
    """Of the judged waits those that expired or whose end is unknown, and those of the ``named``
    records: rows with a tenant_id, batch_id and external_id."""
    over = judged.code.isin(_OVER)
    if not len(named):
        return judged.filter(over)
    records = ibis.memtable(named).rename({f"of_{name}": name for name in named.column_names})
    batches = evidence.batches
    same = [batches[name] == records[f"of_{name}"] for name in BATCH_KEY]
    asked = run.keep(batches.inner_join(records, same).select("batch", "of_external_id"))
    texts = evidence.waits.select("wait", "batch", "external_id")
    same = [texts.batch == asked.batch, texts.external_id == asked.of_external_id]
    found = run.keep(texts.semi_join(asked, same).select(named="wait").distinct())
    joined = judged.left_join(found, judged.wait == found.named)
    return run.keep(joined.filter(over | joined.named.notnull()).select(judged.columns))
