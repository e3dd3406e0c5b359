"""Text that would do harm if it were not escaped."""

from __future__ import annotations

import pytest

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from tests.support.observations import batch, minute, observation

EVIL = (
    "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
)


@pytest.fixture
def evil(tmp_path):
    """A history in which every text of the API is hostile."""
    document = batch(
        EVIL,
        {EVIL: [EVIL + "1"], "B": [EVIL]},
        status=EVIL,
        schemaName=EVIL,
        createdAt="2026-03-02T06:00:00Z",
        errors={"summary": {EVIL: EVIL}, "message": EVIL},
    )
    for resource in document["pendingResources"]:
        resource["schemaName"] = EVIL
        for missing in resource["missingDependencies"]:
            missing["schemaName"] = EVIL
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([observation(document, tenant_id=EVIL)], minute(1)))
    return reach.open_history(store)
