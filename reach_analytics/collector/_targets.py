"""What to observe: the given batch and tenant ids, or all tenants of a partner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reach_analytics.client import Client
from reach_analytics.collector._observe.observer import NO_BATCH
from reach_analytics.collector.summary import Problem
from reach_analytics.errors import ConfigError, PagingError, PayloadError


def checked_ids(batch_ids: Iterable[str] | None) -> list[str] | None:
    """The ids of batches, each once; None stays None."""
    if batch_ids is None:
        return None
    if isinstance(batch_ids, str):
        raise TypeError("batch_ids takes several ids, as a list; found one text")
    ids = list(dict.fromkeys(batch_ids))
    unfit = [i for i in ids if not isinstance(i, str) or i in NO_BATCH]
    if unfit:
        raise ValueError(f"batch_ids must be ids of batches, found {unfit[0]!r}")
    return ids


def given_targets(
    client: Client, batch_ids: list[str] | None, tenants: Iterable[str] | None
) -> list[Client] | None:
    """The client once for each named tenant; None for all tenants of a partner."""
    if isinstance(tenants, str):
        raise TypeError("tenants takes several ids, as a list; found one text")
    if tenants is not None:
        chosen = list(dict.fromkeys(tenants))
        if batch_ids is not None and len(chosen) != 1:
            raise ValueError(f"batch_ids belong to one tenant, found {len(chosen)} tenants")
        return [client.for_tenant(tenant_id) for tenant_id in chosen]
    if client.tenant_id is None and client.is_partner and batch_ids is None:
        return None
    client.tenant_key  # noqa: B018  raises here, before the first request, if no tenant is known
    return [client]


def all_tenants(client: Client) -> Iterator[Client | Problem]:
    """The client once for each of the partner's tenants; deleted ones are left out.

    A row that cannot be read or used is a problem of its own; so is a listing without an end.
    """
    listing = client.tenants()
    while True:
        tenant_id = ""
        try:
            tenant = next(listing, None)
            if tenant is None:
                break
            tenant_id = tenant.id
            if tenant.deleted_at is None:
                yield client.for_tenant(tenant_id)
        except PagingError as error:
            yield Problem("", f"the tenants' listing: {error}")
            break
        except (PayloadError, ConfigError) as error:
            if isinstance(error, PayloadError) and not error.where.startswith("$.data.results["):
                raise
            yield Problem(tenant_id, str(error))
    if (listing.shortfall or 0) > 0:
        told = f"the listing gave {listing.received} of {listing.total} announced tenants"
        yield Problem("", told)
