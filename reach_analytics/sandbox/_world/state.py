"""The parts of a world: plain values that change as its clock is turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._world.schema import Key

Record = dict[str, Any]


@dataclass
class Tenant:
    """A business of the partner."""

    id: str
    external_id: str
    name: str
    created_at: datetime
    website: str | None = None


@dataclass(frozen=True)
class Write:
    """A request to change resources: what becomes a batch.

    Attributes
    ----------
    items : sequence of dict or of str
        Records to merge in, or with `kind` DELETE the external ids to delete.
    schema : str
        Name, ignoring case, or id.
    wait_s : int
        The API's ``dependencyWaitTimeout``.
    rejects_stored : bool
        Whether a record fails whose resource is stored already (``onconflict=reject``).
    message : str, optional
        If given, the whole batch fails before its first record, with this message.
    """

    tenant_id: str
    schema: str
    items: Sequence[Any]
    kind: str = assumptions.INGEST
    wait_s: int = 0
    rejects_stored: bool = False
    ignore_unknown_fields: bool = False
    cascade: bool = False
    message: str | None = None


@dataclass
class Pending:
    """A record that waits for what it refers to; ``missing`` is what is not stored of ``needs``.

    ``number`` orders the waits by their start.
    """

    id: str
    number: int
    batch: Batch
    key: Key
    record: Record
    needs: tuple[Key, ...]
    missing: dict[Key, None]
    created_at: datetime
    expires_at: datetime


@dataclass
class Batch:
    """A write and the results of its records so far."""

    id: str
    schema_id: str
    total: int
    created_at: datetime
    write: Write
    started_at: datetime | None = None
    completed_at: datetime | None = None
    processed: int = 0
    successful: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    failed_records: list[dict[str, Any]] = field(default_factory=list)
    pending: dict[str, Pending] = field(default_factory=dict)
    deleted: set[Key] = field(default_factory=set)
    message: str | None = None

    @property
    def tenant_id(self) -> str:
        """Whose batch it is."""
        return self.write.tenant_id

    @property
    def status(self) -> str:
        """``processing``, ``success``, ``partial_success`` or ``failure``."""
        return assumptions.batch_status(
            complete=self.completed_at is not None,
            total=self.total,
            successful=self.successful,
            pending=len(self.pending),
        )

    @cached_property
    def _positions(self) -> dict[Key, int]:
        return {Key(self.schema_id, item): i for i, item in enumerate(self.write.items)}

    def forget_items(self) -> None:
        """Free what is needed only until every record was processed."""
        self.write = replace(self.write, items=())
        self.deleted = set()
        self.__dict__.pop("_positions", None)

    def names_later(self, key: Key) -> bool:
        """Whether a deleting batch names this resource further on."""
        return self._positions.get(key, -1) >= self.processed


@dataclass(frozen=True)
class Fact:
    """Something that truly happened to a record: the sandbox's log, for checking inferences.

    ``event`` is ``waiting``, ``released`` or ``expired``; ``succeeded`` says of a released record
    whether it was stored.
    """

    at: datetime
    event: Literal["waiting", "released", "expired"]
    tenant_id: str
    batch_id: str
    pending_id: str
    key: Key
    succeeded: bool | None = None
