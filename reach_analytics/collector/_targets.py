"""What to observe: the given batch and tenant ids, or all tenants of a partner."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from reach_analytics.client import Client, SchemaDefinition, Tenant
from reach_analytics.collector._observe.catalog import catalog
from reach_analytics.collector._observe.observer import NO_BATCH
from reach_analytics.collector._observe.write_buffer import WriteBuffer
from reach_analytics.collector.summary import Problem
from reach_analytics.errors import ConfigError, PagingError, PayloadError, ReachError
from reach_analytics.tables import STORED_TENANTS

logger = logging.getLogger("reach_analytics.collector")


@dataclass
class Partner:
    """What a partner's token shows of it.

    Attributes
    ----------
    clients : list
        The client once for each tenant; deleted ones are left out.
    problems : list
        Tenants that cannot be read or used; a listing without an end.
    tenants, definitions : list
        What the API says of all tenants, and of schema definitions.
    """

    clients: list[Client] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    tenants: list[Tenant] = field(default_factory=list)
    definitions: list[SchemaDefinition] = field(default_factory=list)


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


def learn_names(client: Client, targets: Iterable[Client], buffer: WriteBuffer) -> None:
    """What a partner's token can tell of the named tenants, until the store has their names."""
    try:
        if not client.is_partner:
            return
        known = buffer.store.catalog(STORED_TENANTS)["tenant_id"].to_pylist()
        if not {target.tenant_key for target in targets} - set(known):
            return
        found = partner(client.without_retries())
    except ReachError as error:
        logger.info("no names of tenants: %s", error, extra={"event": "no_names"})
        return
    buffer.take_catalog(catalog(found.tenants, found.definitions, client.now()))


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


def partner(client: Client) -> Partner:
    """The partner's tenants and schema definitions.

    A tenant that cannot be read or used is a problem of its own; so is a listing without an end.
    Definitions that cannot be had are none: nothing but names rests on them.
    """
    found, listing = Partner(), client.tenants()
    while True:
        tenant_id = ""
        try:
            tenant = next(listing, None)
            if tenant is None:
                break
            tenant_id = tenant.id
            if tenant.deleted_at is None:
                found.clients.append(client.for_tenant(tenant_id))
            found.tenants.append(tenant)
        except PagingError as error:
            found.problems.append(Problem("", f"the tenants' listing: {error}"))
            break
        except (PayloadError, ConfigError) as error:
            if isinstance(error, PayloadError) and not error.where.startswith("$.data.results["):
                raise
            found.problems.append(Problem(tenant_id, str(error)))
    if (listing.shortfall or 0) > 0:
        told = f"the listing gave {listing.received} of {listing.total} announced tenants"
        found.problems.append(Problem("", told))
    try:
        found.definitions += client.without_retries().schema_definitions()
    except ReachError as error:
        logger.info("no schema definitions: %s", error, extra={"event": "no_definitions"})
    return found
