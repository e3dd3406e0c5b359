"""What the API's reference leaves open, and what the sandbox does there.

=========================  ====================================================================
Name                       Choice
=========================  ====================================================================
``RECORDS_PER_SECOND``     A batch's records are processed one after the other at this rate;
                           batches do not wait for each other.
``START_DELAY_S``          Seconds between a batch's creation and its first record.
``MAX_WAIT_S``             Longest ``dependencyWaitTimeout`` (documented: 0 to 86400 s).
``MAX_RECORDS``            Most records, or external ids, in one batch (documented: 1000).
``MAX_DEPTH``              How deep a body's lists and objects may be nested; 400 beyond it.
``MAX_BODY_BYTES``         Largest request body; a larger one is answered with 413.
``DEFAULT_LIMIT``          Rows of a listing page when ``limit`` is not given (documented: 20).
``MAX_LIMIT``              Most rows of a listing page; a larger ``limit`` is cut to it.
``MAX_ERROR_DETAILS``      Failed records listed under ``errors.details`` of one batch.
``ALGORITHM``              Signature of the tokens.
``batch_status``           ``processing`` until every record was processed once; then
                           ``success`` if all succeeded, ``failure`` if none did and none
                           waits, else ``partial_success``. It may still change while records
                           wait.
``success_rate``           100 * successful / total, unrounded; 0 for an empty batch.
expired records            count as failed, with the error code ``DEPENDENCY_WAIT_EXPIRED``.
missing dependencies       list only what is still missing, not what has arrived since. What
                           arrived and was deleted is missing again.
released records           are merged into what is stored by then and validated again; one
                           that no longer fits fails.
several waits, one key     wait beside each other; each is stored when its own dependencies are
                           present. A stored resource may have an update that waits.
self-reference             a new resource that refers to itself waits until it expires.
merge                      goes one level deep: a given field replaces the stored one, null
                           removes it. The merged resource must satisfy the schema.
unknown fields             fail their record (``UNKNOWN_FIELD``) unless ``ignoreUnknownFields``
                           is true; then they are left out.
``onconflict=reject``      fails a record whose resource is stored already (``CONFLICT``).
PATCH                      takes the query of POST but ``onconflict``; a resource that is not
                           stored fails its record (``NOT_FOUND``).
DELETE                     affects stored resources only; records that wait keep waiting. One
                           that others refer to fails (``HAS_DEPENDENTS``) unless ``cascade``
                           is true, or the batch names all of them later; then they are deleted
                           together, so that nothing stored refers to a missing resource.
``deleteAll``              is every resource of the schema stored at that time, however many;
                           it excludes ``externalIds``.
``dryRun``                 is answered with 200 and the number that would be deleted, cascades
                           included; there is no batch.
unknown reference schema   a value in a field that refers to a schema that does not exist fails
                           its record (``REFERENCE_SCHEMA_NOT_FOUND``). Schemas may be defined
                           in any order, so that they can refer to each other.
schema definitions         are JSON Schema (2020-12) of an object; its only ``$ref`` are
                           ``reach:schemas/…``, of a field, of an array's items, or nested in
                           these; not within combinations or patterns. Patterns and
                           ``uniqueItems`` run without a time limit.
new tenants and schemas    201 with the new row; 409 if the name or external id is taken.
pending in listings        ``pendingResources`` appears only where one batch is asked for with
                           ``includePendingDetails=true``.
unknown batch              404, and so is another tenant's batch, and a schema that does not
                           exist; 401 for a bad token; 400 for a partner token without
                           ``reach-tenant-id``; 403 for a tenant token on a partner route, and
                           for a tenant that the token may not act as; 415 for a body that is
                           not declared as JSON; 422 for what is well-formed but impossible.
order of a listing         newest first; ``sortBy`` is accepted and has no effect.
query parameters           that are not documented are ignored; of repeated ones the last wins.
malformed HTTP             (an invalid method, target or chunk) is answered by the server
                           itself with a plain 400, before there is a request.
``Host``                   no header, several, or an invalid one: 400. One that names a host
                           other than the sandbox's: 421.
``Date``                   shows the world's time.
=========================  ====================================================================
"""

from __future__ import annotations

__all__ = [
    "ALGORITHM",
    "BATCH_TYPES",
    "CATEGORIES",
    "DEFAULT_LIMIT",
    "DELETE",
    "INGEST",
    "MAX_BODY_BYTES",
    "MAX_DEPTH",
    "MAX_ERROR_DETAILS",
    "MAX_LIMIT",
    "MAX_RECORDS",
    "MAX_WAIT_S",
    "PATCH",
    "RECORDS_PER_SECOND",
    "START_DELAY_S",
    "batch_status",
    "success_rate",
]

RECORDS_PER_SECOND = 5.0
START_DELAY_S = 4.0
MAX_WAIT_S = 86_400
MAX_RECORDS = 1000
MAX_DEPTH = 100
MAX_BODY_BYTES = 32_000_000
DEFAULT_LIMIT = 20
MAX_LIMIT = 200
MAX_ERROR_DETAILS = 100
ALGORITHM = "HS256"

INGEST = "PARTNER_RESOURCE_JSON_INGEST"
DELETE = "PARTNER_RESOURCE_BATCH_DELETE"
PATCH = "PARTNER_RESOURCE_BATCH_PATCH"
BATCH_TYPES = (INGEST, DELETE, PATCH)
CATEGORIES = ("contacts_schema", "transactions_schema", "custom_schema", "locations_schema")


def batch_status(*, complete: bool, total: int, successful: int, pending: int) -> str:
    """The status that follows from these counts."""
    if not complete:
        return "processing"
    if successful == total:
        return "success"
    return "failure" if successful == 0 and pending == 0 else "partial_success"


def success_rate(*, total: int, successful: int) -> float:
    """The percentage of successful records."""
    return 100 * successful / total if total else 0.0
