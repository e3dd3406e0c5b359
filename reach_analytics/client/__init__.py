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
from reach_analytics.client.paging import Listing
from reach_analytics.client.transport import RetryPolicy

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
