"""A frame of one's own beside what is known: every row kept, every status true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics.errors import UnknownNameError
from tests.support.histories import history
from tests.support.observations import batch, counts, observation

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
OWN = ["status", "at", "expires_at", "waits_for", "cause", "batch_id"]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """(sandbox's log and stored keys of a tenant, history of it) at the end of the demo."""
    pytest.importorskip("starlette")
    store = reach.Store(tmp_path_factory.mktemp("join") / "store")
    with reach.sandbox.serve("demo") as sandbox, reach.Client(**sandbox.credentials) as client:
        for moment in sandbox.scenario.moments[1::2]:
            sandbox.advance(moment)
            reach.collect(client, store, progress=False)
        [tenant] = [t for t in sandbox.world.tenants.values() if t.name == "Pine & Co"]
        stored = {
            (key.schema_id, key.external_id) for key in sandbox.world.libraries[tenant.id].resources
        }
        schemas = {schema.name: schema.id for schema in sandbox.world.schemas.values()}
    return stored, schemas, reach.open_history(store)


@pytest.mark.parametrize("schema", ["contacts", "locations", "transactions"])
def test_what_landed_is_stored_and_what_waits_or_is_lost_is_not(played, schema):
    stored, schemas, opened = played
    pine = opened.filter(tenant="Pine & Co")
    known = pd.concat(
        [
            pine.wait_outcomes()["external_id"][pine.wait_outcomes()["schema_name"] == schema],
            pine.arrivals()["external_id"][pine.arrivals()["schema_name"] == schema],
            pd.Series(["mine"]),
        ]
    )
    mine = pd.DataFrame({"external_id": known.unique()}).assign(other=1)
    joined = opened.join(mine, tenant="Pine & Co", schema=schema)
    assert joined[["external_id", "other"]].equals(mine)
    is_stored = [(schemas[schema], key) in stored for key in mine["external_id"]]
    status = joined["reach_status"]
    assert status.iloc[-1] == "never seen"
    assert joined.attrs["matched"] == len(mine) - 1
    assert np.array(is_stored)[status == "landed"].all()
    assert not np.array(is_stored)[status.isin(["waits", "missing", "lost"])].any()
    assert set(status) >= {"landed"}


def test_columns_say_since_when_what_for_and_why():
    look = batch(waits={"A": "x", "L": "z"}, created=0, expires={"A": 900, "L": 60})
    looks = [
        observation(look, 10),
        observation(batch(waits={"A": "x", "L": "z"}, created=0, expires=900), 80),
        observation(batch(waits={"A": "x"}, created=0, expires=900, progress=counts(10, 0, 1)), 90),
    ]
    looks[1] = observation(batch("other", waits={"O": "z"}, created=70, expires=999), 75)
    joined = history(*looks).join(pd.DataFrame({"key": ["A", "x", "L", "?"]}), on="key")
    rows = joined.set_index("key")
    assert rows["reach_status"].to_dict() == {
        "A": "waits",
        "x": "missing",
        "L": "lost",
        "?": "never seen",
    }
    assert rows.loc["A", "reach_waits_for"] == "things x"
    assert rows.loc["L", "reach_cause"] == "waited for things z"
    assert rows.loc["L", "reach_batch_id"] == "b"
    assert rows["reach_expires_at"].notna().tolist() == [True, True, False, False]


def test_what_was_lost_and_sent_again_counts_as_it_is_now():
    first = batch("b", waits={"L": "z"}, created=0, expires=60)
    holds = observation(batch("o", waits={"O": "z"}, created=70, expires=999), 75)
    lost = [observation(first, 10), holds, observation(batch("b", waits={}), 90)]
    again = observation(batch("c", waits={"L": "z"}, created=95, expires=999), 100)
    mine = pd.DataFrame({"external_id": ["L"]})
    assert history(*lost).join(mine)["reach_status"].tolist() == ["lost"]
    assert history(*lost, again).join(mine)["reach_status"].tolist() == ["waits"]
    landed = observation(batch("c", waits={}, progress=counts(10, 10, 0)), 120)
    assert history(*lost, again, landed).join(mine)["reach_status"].tolist() == ["landed"]


@pytest.mark.parametrize(
    "ids",
    [
        [7, 8],
        pd.array([7, None], "Int64"),
        [7.0, float("nan")],
        pd.array(["7", None], "string[pyarrow]"),
        pd.Categorical(["7", "8"]),
        np.array(["7", "8"], object),
    ],
)
def test_ids_of_any_dtype_are_found_and_rows_keep_their_index(ids):
    opened = history(observation(batch(waits={"7": "x"}), 1))
    mine = pd.DataFrame({"id": ids}, index=["first", "first"])
    joined = opened.join(mine, on="id")
    assert joined["reach_status"].tolist() == ["waits", "never seen"]
    assert joined.index.tolist() == ["first", "first"]
    assert joined["id"].dtype == mine["id"].dtype
    assert "reach_status" not in mine


def test_joined_again_its_own_columns_are_made_anew():
    opened = history(observation(batch(waits={"A": "x"}), 1))
    once = opened.join(pd.DataFrame({"external_id": ["A"], "reach_more": [1]}))
    assert opened.join(once).columns.tolist() == once.columns.tolist()
    assert once.columns.tolist() == ["external_id", "reach_more", *(f"reach_{n}" for n in OWN)]


def test_whose_records_they_are_has_to_be_said_where_ids_may_be_alike():
    shipped = reach.open_history(SHIPPED)
    mine = pd.DataFrame({"external_id": ["TX-00825"]})
    with pytest.raises(ValueError, match="say tenant=, one of 'Harbour Books', "):
        shipped.join(mine)
    with pytest.raises(UnknownNameError, match="no tenant is called 'Pine Inc'"):
        shipped.join(mine, tenant="Pine Inc")
    with pytest.raises(UnknownNameError, match="no schema is called 'sales'"):
        shipped.join(mine, tenant="Pine & Co", schema="sales")
    with pytest.raises(ValueError, match="join finds no column 'id'"):
        shipped.join(mine, on="id", tenant="Pine & Co")
    other = batch("c", waits={"A": "x"})
    other["pendingResources"][0]["schemaDefinitionId"] = "other"
    opened = history(observation(batch(waits={"A": "x"}), 1), observation(other, 1))
    with pytest.raises(ValueError, match="known in several schemas"):
        opened.join(pd.DataFrame({"external_id": ["A"]}))
    assert opened.join(pd.DataFrame({"external_id": ["A"]}), schema="other")[
        "reach_batch_id"
    ].tolist() == ["c"]


def test_an_empty_frame_and_an_empty_history_are_joined():
    mine = pd.DataFrame({"external_id": pd.Series([], dtype="str")})
    opened = history(observation(batch(waits={"A": "x"}), 1))
    assert opened.join(mine).columns.tolist() == ["external_id", *(f"reach_{n}" for n in OWN)]
    assert history().join(pd.DataFrame({"external_id": ["A"]}))["reach_status"].tolist() == [
        "never seen"
    ]
