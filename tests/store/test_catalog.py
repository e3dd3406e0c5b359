"""What a store keeps of tenants and schema definitions."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import reach_analytics as reach
from reach_analytics.client import SchemaDefinition, Tenant
from reach_analytics.collector._observe.catalog import catalog
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import StoreNotFoundError
from reach_analytics.tables import STORED_SCHEMAS, STORED_TENANTS
from tests.support.observations import batch, minute, observation

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def place(tmp_path) -> reach.Store:
    """A store with one batch, of the tenant ``t``."""
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([observation(batch(waits={"A": "x"}), 0)], minute(9)))
    return store


def learn(store: reach.Store, *tenants: Tenant, schemas=(), hour: int = 0) -> int:
    learned = catalog(tenants, schemas, NINE + timedelta(hours=hour))
    return store.append_catalog(learned.tenants, learned.schema_definitions)


def name_of(store: reach.Store, **options) -> str:
    [name] = reach.open_history(store, **options).batches()["tenant_name"]
    return name


def test_only_what_is_new_is_stored(place):
    schema = SchemaDefinition(id="s", name="sales", reference_schemas=["shops"])
    pine, oak = Tenant(id="t", name="Pine"), Tenant(id="o", name="Oak")
    assert learn(place, pine, schemas=[schema]) == 2
    assert learn(place, pine, schemas=[schema], hour=1) == 0
    assert learn(place, pine, oak, hour=2) == 1
    assert learn(place, Tenant(id="t", name="Pine & Co"), oak, hour=3) == 1
    assert learn(place, pine, oak, hour=4) == 1  # which was stored before, but is new again
    names = place.catalog(STORED_TENANTS).sort_by("received_at")["name"].to_pylist()
    assert names == ["Pine", "Oak", "Pine & Co", "Pine"]
    [references] = place.catalog(STORED_SCHEMAS)["references"].to_pylist()
    assert references == ["shops"]


def test_a_name_is_that_of_the_moment(place):
    for hour, name in ((0, "Pine"), (2, "Pine & Co"), (4, "Pine Ltd")):
        learn(place, Tenant(id="t", name=name), hour=hour)
    assert name_of(place) == "Pine Ltd"
    for as_of, name in (("08:59", "Pine"), ("09:00", "Pine"), ("12:00", "Pine & Co")):
        # Before anything was said of it, what was said first counts.
        history = reach.open_history(place, as_of=f"2026-03-02 {as_of}")
        assert history.tenants()["tenant_name"].tolist() == [name], as_of


def test_a_history_has_the_names_of_when_it_was_opened(place):
    learn(place, Tenant(id="t", name="Pine"))
    history = reach.open_history(place)
    learn(place, Tenant(id="t", name="Oak"), hour=1)
    assert history.batches()["tenant_name"].tolist() == ["Pine"]
    assert name_of(place) == "Oak"


def test_without_a_store_nothing_is_written(tmp_path):
    with pytest.raises(StoreNotFoundError):
        learn(reach.Store(tmp_path / "none"), Tenant(id="t"))
    assert list(tmp_path.iterdir()) == []


def test_rows_with_other_columns_are_refused(place):
    learned = catalog([Tenant(id="t")], [], NINE)
    with pytest.raises(ValueError, match=r"tenants rows must have the columns"):
        place.append_catalog(learned.tenants.drop(["name"]), learned.schema_definitions)
    assert len(place.catalog(STORED_TENANTS)) == 0


def test_several_may_learn_at_once(place):
    """Each from a store object of its own, as processes do."""
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for hour in range(4):
                learn(reach.Store(place.location), Tenant(id=f"t{number}", name=f"{hour}"))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    stored = place.catalog(STORED_TENANTS)
    assert {f"t{n}" for n in range(4)} == set(stored["tenant_id"].to_pylist())


@pytest.mark.parametrize("harm", ["data", "log"])
def test_a_damaged_catalog_takes_away_the_names_only(place, harm):
    learn(place, Tenant(id="t", name="Pine"))
    folder = Path(place.location) / STORED_TENANTS.name
    if harm == "log":
        shutil.rmtree(folder / "_delta_log")
    else:
        [file] = folder.glob("*.parquet")
        file.write_bytes(b"PAR1 and nothing else")
    with pytest.warns(UserWarning, match=r"tenants cannot be read .* or delete it"):
        assert name_of(place) == "t"
    shutil.rmtree(folder)
    assert name_of(place) == "t"
    learn(place, Tenant(id="t", name="Pine"))
    assert name_of(place) == "Pine"


def test_a_catalog_of_a_newer_version_is_not_to_be_deleted(place):
    learn(place, Tenant(id="t", name="Pine"))
    log = Path(place.location) / STORED_TENANTS.name / "_delta_log" / f"{0:020}.json"
    text = log.read_text("utf-8")
    log.write_text(text.replace('table_version":"1"', 'table_version":"99"'), "utf-8")
    assert log.read_text("utf-8") != text
    with pytest.warns(UserWarning, match="upgrade the package") as told:
        assert name_of(place) == "t"
    assert "delete" not in str(told[0].message)


def test_a_store_of_an_earlier_version_opens_and_learns(tmp_path):
    shipped = Path(__file__).parents[2] / "data" / "demo"
    for part in ("observations", "snapshots"):
        shutil.copytree(shipped / part, tmp_path / "store" / part)
    store = reach.Store(tmp_path / "store")
    before = reach.open_history(store).health()
    assert before["tenant_name"].tolist() == before["tenant_id"].tolist()
    first = before["tenant_id"][0]
    learn(store, Tenant(id=first, name="First of all"))
    assert reach.open_history(store).health()["tenant_name"][0] == "First of all"
    assert store.append(*to_tables([observation(batch("new"), 0)], minute(9))).observations == 1
