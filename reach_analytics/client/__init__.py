"""Reading the Reach API: network in, typed documents out."""

from reach_analytics.client._pacing import RetryPolicy
from reach_analytics.client.auth import PartnerSigner, TenantSigner
from reach_analytics.client.client import Client, Observation
from reach_analytics.client.documents import (
    BatchDocument,
    MissingDependency,
    PendingResource,
    SchemaDefinition,
    Tenant,
    extra_json,
)
from reach_analytics.client.paging import Listing

__all__ = [
    "BatchDocument",
    "Client",
    "Listing",
    "MissingDependency",
    "Observation",
    "PartnerSigner",
    "PendingResource",
    "RetryPolicy",
    "SchemaDefinition",
    "Tenant",
    "TenantSigner",
    "extra_json",
]
