"""What the API's reference leaves open, and what the sandbox does instead: all of it, here.

========================  =====================================================================
Name                      Choice
========================  =====================================================================
``RECORDS_PER_SECOND``    A batch's records are processed one after the other at this rate.
``START_DELAY_S``         Seconds between a batch's creation and its first record.
``MAX_WAIT_S``            Longest ``dependencyWaitTimeout`` (documented: 0 to 86400 s).
``MAX_RECORDS``           Most records in one batch (documented: 1000).
``DEFAULT_LIMIT``         Rows of a listing page when ``limit`` is not given (documented: 20).
``MAX_LIMIT``             Most rows of a listing page; a larger ``limit`` is cut to it.
``MAX_ERROR_DETAILS``     Failed records listed under ``errors.details`` of one batch.
``ALGORITHM``             Signature of the tokens.
``batch_status``          ``processing`` until every record was looked at once; then ``success``
                          if all succeeded, ``failure`` if none did and none waits, else
                          ``partial_success``. It may still change while records wait.
``success_rate``          100 * successful / total, unrounded; 0 for an empty batch.
expired records           count as failed, with the error code ``DEPENDENCY_WAIT_EXPIRED``.
missing dependencies      list only what is still missing, not what has arrived since.
pending in listings       ``pendingResources`` appears only where one batch is asked for with
                          ``includePendingDetails=true``.
unknown batch             404, and so is another tenant's batch; 401 for a bad token; 400 for a
                          partner token without ``reach-tenant-id``; 403 for a tenant token on
                          a partner route, and for a tenant that the token may not act as.
order of a listing        newest first.
========================  =====================================================================
"""

from __future__ import annotations

RECORDS_PER_SECOND = 5.0
START_DELAY_S = 4.0
MAX_WAIT_S = 86_400
MAX_RECORDS = 1000
DEFAULT_LIMIT = 20
MAX_LIMIT = 200
MAX_ERROR_DETAILS = 100
ALGORITHM = "HS256"

INGEST = "PARTNER_RESOURCE_JSON_INGEST"


def batch_status(*, total: int, processed: int, successful: int, pending: int) -> str:
    """The status that these counts mean."""
    if processed < total:
        return "processing"
    if successful == total:
        return "success"
    return "failure" if successful == 0 and pending == 0 else "partial_success"


def success_rate(*, total: int, successful: int) -> float:
    """The percentage of successful records."""
    return 100 * successful / total if total else 0.0
