"""The names of tenants and schemas that a pass learns on its way."""

from __future__ import annotations

from datetime import UTC, datetime

import reach_analytics as reach
from reach_analytics.client import PartnerSigner, SchemaDefinition, Tenant
from reach_analytics.collector._observe.catalog import catalog
from tests.support.hostile import answer
from tests.support.scripted_api import Api, page, row


def partner(run, api: Api, **options):
    return run(api, token=PartnerSigner("secret" * 6, "p"), **options)


def test_names_that_may_not_be_read_are_no_error(run, tmp_path):
    """A partner's token that may list neither tenants nor definitions, for a tenant by its id."""
    api = Api(batches=page(row("a")), tenants=answer(403))
    api.answers["schema-definitions"] = answer(403)
    assert partner(run, api, tenant_id="t").ok
    assert reach.open_history(tmp_path / "store").batches()["tenant_name"].tolist() == ["t"]


def test_definitions_that_cannot_be_read_leave_the_tenants_names(run, tmp_path):
    api = Api(batches=page(row("a")), tenants=page({"id": "t", "name": "Pine"}))
    api.answers["schema-definitions"] = [{"name": "without an id"}]
    assert partner(run, api, tenant_id="").ok
    assert reach.open_history(tmp_path / "store").batches()["tenant_name"].tolist() == ["Pine"]


def test_the_name_of_a_single_tenant_is_asked_for_once(run, tmp_path):
    api = Api(batches=page(row("a")), tenants=page({"id": "t", "name": "Pine"}))
    for _ in range(3):
        assert partner(run, api, tenant_id="t").ok
    assert api.asked.count("/partner/tenants") == 1
    assert reach.open_history(tmp_path / "store").batches()["tenant_name"].tolist() == ["Pine"]


def test_hostile_names_are_text(run, tmp_path):
    name = '<script>alert("x")</script>\x1b[31m'
    api = Api(batches=page(row("b", 1)), tenants=page({"id": "t", "name": name}))
    waits = [{"id": "p", "resourceExternalId": "A", "missingDependencies": [{"externalId": "x"}]}]
    api.answers["b"] = row("b", 1, pendingResources=waits)
    assert partner(run, api, tenant_id="").ok
    history = reach.open_history(tmp_path / "store")
    assert history.health()["tenant_name"].tolist() == [name]
    assert "<script>alert" not in history.report(tmp_path / "report.html").read_text("utf-8")


def test_odd_definitions_cost_themselves_only(run, tmp_path):
    """A version number that no column holds, and text that is no UTF-8."""
    api = Api(batches=page(row("a")), tenants=page({"id": "t", "name": "Pine \ud800"}))
    odd = {"id": "s", "name": "sales", "versionNumber": 10**30, "referenceSchemas": ["\udfff"]}
    api.answers["schema-definitions"] = [odd]
    assert partner(run, api, tenant_id="").ok
    history = reach.open_history(tmp_path / "store")
    assert history.batches()["tenant_name"].str.startswith("Pine").all()
    assert history.schemas()["schema_name"].tolist() == ["sales"]
    assert history.schemas()["version"].isna().all()


def test_what_no_column_holds_is_null_or_mended():
    learned = catalog(
        [Tenant(id="t", name="a\ud800b")],
        [SchemaDefinition(id="s", version_number=2**63, reference_schemas=["\udfff"])],
        datetime(2026, 3, 2, tzinfo=UTC),
    )
    assert learned.tenants["name"].to_pylist() == ["a?b"]
    [stored] = learned.schema_definitions.to_pylist()
    assert (stored["version"], stored["references"]) == (None, ["?"])
