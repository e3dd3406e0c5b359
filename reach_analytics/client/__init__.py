"""Reading the Reach API: network in, typed documents out."""

from reach_analytics.client.auth import PartnerSigner, TenantSigner
from reach_analytics.client.client import Client, Look
from reach_analytics.client.documents import (
    BatchDocument,
    MissingDependency,
    PendingResource,
    SchemaDefinition,
    Tenant,
    extra_json,
)
from reach_analytics.client.pacing import RetryPolicy
from reach_analytics.client.paging import Listing

__all__ = [
    "BatchDocument",
    "Client",
    "Listing",
    "Look",
    "MissingDependency",
    "PartnerSigner",
    "PendingResource",
    "RetryPolicy",
    "SchemaDefinition",
    "Tenant",
    "TenantSigner",
    "extra_json",
]
