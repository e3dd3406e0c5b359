"""The client against the sandbox, over real sockets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import reach_analytics as reach
from reach_analytics.errors import ApiError, AuthError, NotFoundError
from reach_analytics.sandbox.server import PARTNER_ID


@pytest.fixture
def client(sandbox):
    with reach.Client(**sandbox.credentials) as client:
        yield client


def test_tenants_and_schema_definitions_are_read(client, sandbox):
    tenants = list(client.tenants(page_size=2))
    assert [t.id for t in tenants] == list(sandbox.world.tenants)
    schemas = {schema.name: schema for schema in client.schema_definitions()}
    assert schemas["transactions"].reference_schemas == ["contacts", "locations"]
    assert schemas["contacts"].external_id_field == "externalId"


@pytest.mark.parametrize("page_size", [1, 7, 100])
def test_every_page_size_lists_every_batch_once(client, sandbox, page_size):
    for tenant_id, batches in sandbox.world.batches_of.items():
        listing = client.for_tenant(tenant_id).batches(page_size=page_size)
        assert sorted(b.batch_id for b in listing) == sorted(b.id for b in batches)
        assert listing.total == listing.received == len(batches)
        assert listing.pages == -(-len(batches) // page_size)


def test_a_single_batch_has_its_counts_and_its_waits(client, sandbox):
    batch = next(b for b in sandbox.world.batches.values() if b.pending)
    document = client.for_tenant(batch.tenant_id).batch(batch.id)
    assert document.total_records == batch.total
    assert document.pending_records == len(document.pending_resources) == len(batch.pending)
    waits = {p.id: p for p in document.pending_resources}
    for pending in batch.pending.values():
        shown = waits[pending.id]
        assert shown.resource_external_id == pending.key.external_id
        assert {m.external_id for m in shown.missing_dependencies} == {
            key.external_id for key in pending.missing
        }
        assert abs((shown.expires_at - pending.expires_at).total_seconds()) < 0.001


def test_without_details_the_waits_are_not_listed(client, sandbox):
    batch = next(b for b in sandbox.world.batches.values() if b.pending)
    own = client.for_tenant(batch.tenant_id)
    assert own.batch(batch.id, pending_details=False).pending_resources is None


def test_batch_types_filter_the_listing(client, sandbox):
    own = client.for_tenant(next(iter(sandbox.world.tenants)))
    assert len(list(own.batches("PARTNER_RESOURCE_BATCH_DELETE"))) == 0
    assert len(list(own.batches("PARTNER_RESOURCE_JSON_INGEST"))) > 0


def test_tenants_are_isolated_from_each_other(client, sandbox):
    one, other = list(sandbox.world.tenants)[:2]
    foreign = sandbox.world.batches_of[other][0].id
    with pytest.raises(NotFoundError):
        client.for_tenant(one).batch(foreign)


def test_partner_token_without_a_tenant_is_told_what_it_lacks(client):
    with pytest.raises(ApiError, match="reach-tenant-id"):
        next(client.batches())


def test_tokens_signed_from_the_shared_secret_are_accepted(sandbox):
    signer = reach.PartnerSigner(sandbox.secret, PARTNER_ID)
    with reach.Client(token=signer, base_url=sandbox.url) as client:
        assert len(list(client.tenants())) == 3


def test_tenant_tokens_see_their_own_tenant_and_no_partner_route(sandbox):
    tenant = next(iter(sandbox.world.tenants.values()))
    signer = reach.TenantSigner(
        sandbox.secret,
        PARTNER_ID,
        tenant_external_id=tenant.external_id,
        external_id="user-1",
        email="user@example.com",
        name="User",
    )
    with reach.Client(token=signer, base_url=sandbox.url) as client:
        assert len(list(client.batches())) == len(sandbox.world.batches_of[tenant.id])
        assert client.tenant_key == tenant.external_id
        with pytest.raises(AuthError):
            client.schema_definitions()


def test_wrong_secret_is_an_auth_error(sandbox):
    signer = reach.PartnerSigner("x" * 40, PARTNER_ID)
    with reach.Client(token=signer, base_url=sandbox.url) as client:
        with pytest.raises(AuthError, match="check the token or the shared secret") as caught:
            list(client.tenants())
    assert caught.value.status == 401


def test_many_threads_share_one_client(client, sandbox):
    batches = list(sandbox.world.batches.values())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda b: client.for_tenant(b.tenant_id).batch(b.id), batches))
    assert [d.batch_id for d in found] == [b.id for b in batches]
    assert client.requests_sent == len(batches)
