"""`collect`: one pass over the batches, each look written to the store."""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from reach_analytics.client import Client
from reach_analytics.client.documents import batch_from_json
from reach_analytics.client.paging import Page
from reach_analytics.collector.observe import DETAIL, LIST, Observed, to_tables
from reach_analytics.errors import (
    AuthError,
    ConfigError,
    PayloadError,
    ReachError,
    StoreError,
    TransportError,
)
from reach_analytics.frames import Tables
from reach_analytics.store import Store


@dataclass(frozen=True)
class Problem:
    """Something that kept part of a pass from being seen."""

    tenant_id: str
    message: str


@dataclass(frozen=True)
class RunSummary:
    """What one pass did.

    Attributes
    ----------
    run_id : str
    started_at, finished_at : datetime
    tenants, batches : int
        Tenants gone through, and different batches looked at.
    looks, failed_looks : int
        Looks written to the store, and how many of them got no readable answer.
    new_states : int
        Batch states that the store did not hold yet.
    requests : int
        Requests sent, retries included.
    problems : tuple of Problem
        Tenants or listing rows that could not be gone through; the others were not held up.
    """

    run_id: str
    started_at: datetime
    finished_at: datetime
    tenants: int
    batches: int
    looks: int
    failed_looks: int
    new_states: int
    requests: int
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything was seen."""
        return not self.problems and not self.failed_looks

    @property
    def duration(self) -> timedelta:
        """How long the pass took, by the clock it was given."""
        return self.finished_at - self.started_at

    def __str__(self) -> str:
        text = (
            f"{self.batches} batches of {self.tenants} tenants: {self.looks} looks, "
            f"{self.failed_looks} failed, {self.new_states} new states, {self.requests} requests"
        )
        return text + "".join(f"\n  {p.tenant_id}: {p.message}" for p in self.problems)


def collect(
    client: Client,
    store: Store | str | os.PathLike[str],
    *,
    batch_ids: Iterable[str] | None = None,
    tenants: Iterable[str] | None = None,
    run_id: str | None = None,
    group: int = 2000,
    progress: bool = True,
) -> RunSummary:
    """Look once at every batch and write what was seen to the store.

    Without ``batch_ids`` the batches are listed, and those with something pending, now or when last
    seen, are looked at one by one for the details. A look that fails is kept as a failed look; a
    tenant whose listing fails is reported and does not hold up the others.

    Parameters
    ----------
    client : Client
    store : Store, str or path
        Created if it is not there yet.
    batch_ids : iterable of str, optional
        Look at these batches of the client's tenant only.
    tenants : iterable of str, optional
        Ids of the tenants to go through. By default the client's own tenant, or all tenants of a
        partner token.
    run_id : str, optional
        Names the pass; a new random one by default.
    group : int
        Looks held in memory before they are written.
    progress : bool
        Show a progress bar, on a terminal or in a notebook.

    Returns
    -------
    RunSummary

    Raises
    ------
    ApiError, TransportError, PayloadError
        If the tenants cannot be listed.
    StoreError
        If the store cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as place:
    ...     sb.advance(sb.scenario.moments[2])
    ...     client = reach.Client(**sb.credentials)
    ...     run = reach.collect(client, reach.Store(place + "/reach"), progress=False)
    >>> run.tenants, run.batches, run.failed_looks
    (3, 9, 0)
    """
    if group < 1:
        raise ValueError(f"group must be at least 1, found {group}")
    if not isinstance(client, Client):
        raise TypeError(f"collect takes a Client first, found {type(client).__name__}")
    clock, place = client.now, store if isinstance(store, Store) else Store(store)
    sent_before, started_at = client.requests_sent, clock()
    ids = None if batch_ids is None else _ids(batch_ids)
    run = _Pass(place, run_id or str(uuid.uuid4()), clock, group)
    targets = _targets(client, ids, tenants, run)
    waiting = _waiting(place)
    # The pass ends first, so that after Ctrl-C the answers in hand are written before all else.
    with ThreadPoolExecutor(client.threads) as pool, _bar(progress) as bar, run:
        run.seen = bar.update
        for target in targets:
            if ids is not None:
                run.look_at(target, ids, pool)
            else:
                run.go_through(target, waiting.get(target.tenant_key, set()), pool)
    return RunSummary(
        run_id=run.run_id,
        started_at=started_at,
        finished_at=clock(),
        tenants=len(targets),
        batches=len(run.batches),
        looks=run.looks,
        failed_looks=run.failed_looks,
        new_states=run.new_states,
        requests=client.requests_sent - sent_before,
        problems=tuple(run.problems),
    )


@dataclass
class _Pass:
    """The pass under way: collects looks, and writes them in groups and at its end."""

    store: Store
    run_id: str
    now: Callable[[], datetime]
    group: int
    seen: Callable[[int], Any] = lambda count: None
    batches: set[tuple[str, str]] = field(default_factory=set)
    looks: int = 0
    failed_looks: int = 0
    new_states: int = 0
    problems: list[Problem] = field(default_factory=list)
    _in_hand: list[Observed] = field(default_factory=list)

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, StoreError):
            self._write()  # on Ctrl-C too: answers in hand are not lost

    def go_through(self, client: Client, waiting: set[str], pool: Executor) -> None:
        """List a tenant's batches, and look closer where something waits or waited."""
        closer, listing = set(waiting), client.batches()
        pages = listing.iter_pages()
        while True:
            try:
                page = next(pages, None)
            except ReachError as error:
                self.problems.append(Problem(client.tenant_key, str(error)))
                if isinstance(error, AuthError | TransportError):
                    return  # single batches would fare no better
                break
            if page is None:
                break
            looks = list(self._listed(client.tenant_key, page))
            self._take(looks)
            wanted = [look.batch_id for look in looks if _wants_detail(look, closer)]
            closer.difference_update(wanted)
            self.look_at(client, wanted, pool)
        if (listing.shortfall or 0) > 0:
            told = f"the listing gave {listing.received} of {listing.total} announced batches"
            self.problems.append(Problem(client.tenant_key, told))
        self.look_at(client, sorted(closer), pool)

    def look_at(self, client: Client, batch_ids: list[str], pool: Executor) -> None:
        """Look at single batches, with details."""
        for start in range(0, len(batch_ids), self.group):
            ids = batch_ids[start : start + self.group]
            futures = deque(pool.submit(self._look, client, batch_id) for batch_id in ids)
            try:
                while futures:
                    self._take([futures[0].result()])
                    futures.popleft()
            except KeyboardInterrupt:
                # No more are begun, and the answers to those that are will not be lost. Waiting for
                # them costs nothing: the pool's end would wait for them too.
                begun = [future for future in futures if not future.cancel()]
                self._take([future.result() for future in begun if future.exception() is None])
                raise

    def _look(self, client: Client, batch_id: str) -> Observed:
        sent_at = self.now()
        try:
            look = client.look(batch_id)
            if look.document.batch_id != batch_id:
                found = look.document.batch_id
                raise PayloadError(f"asked for batch {batch_id!a}, found {found!a}", status=200)
            return _writable(
                Observed(
                    self.run_id,
                    client.tenant_key,
                    batch_id,
                    look.sent_at,
                    look.received_at,
                    DETAIL,
                    look.document,
                    look.status,
                )
            )
        except (ReachError, ValueError) as error:  # ValueError: an id that no path can hold
            return self._failed(client.tenant_key, batch_id, DETAIL, sent_at, self.now(), error)

    def _listed(self, tenant_id: str, page: Page) -> Iterator[Observed]:
        """The rows of a page as looks; one that cannot be read is a failed look, or a problem."""
        sent_at, received_at = page.answer.sent_at, page.answer.received_at
        for index, row in enumerate(page.rows):
            where = f"$.data.results[{index}]"
            batch_id = None
            try:
                document = batch_from_json(row, path=page.answer.path, where=where)
                batch_id = document.batch_id
                yield _writable(
                    Observed(
                        self.run_id,
                        tenant_id,
                        batch_id,
                        sent_at,
                        received_at,
                        LIST,
                        document,
                        page.answer.status,
                    )
                )
            except PayloadError as error:
                error.status = page.answer.status
                if batch_id is None and error.batch_id is None:
                    self.problems.append(Problem(tenant_id, str(error)))
                    continue
                named = error.batch_id or batch_id or ""
                yield self._failed(tenant_id, named, LIST, sent_at, received_at, error)

    def _failed(
        self,
        tenant_id: str,
        batch_id: str,
        scope: str,
        sent_at: datetime,
        received_at: datetime,
        error: Exception,
    ) -> Observed:
        return Observed(
            self.run_id,
            tenant_id,
            batch_id,
            sent_at,
            received_at,
            scope,
            http_status=getattr(error, "status", None),
            error=str(error),
        )

    def _take(self, looks: list[Observed]) -> None:
        new = {(look.tenant_id, look.batch_id) for look in looks} - self.batches
        self.batches |= new
        self.seen(len(new))
        self._in_hand += looks
        if len(self._in_hand) >= self.group:
            self._write()

    def _write(self) -> None:
        if not self._in_hand:
            return
        looks = self._in_hand
        appended = self.store.append(*to_tables(looks, self.now()))
        self._in_hand = []
        self.looks += appended.observations
        self.failed_looks += sum(look.document is None for look in looks)
        self.new_states += appended.snapshots


def _writable(look: Observed) -> Observed:
    """The look, once it is sure that its state can be written: the error is this look's own."""
    _ = look.state_hash, look.extra
    return look


def _targets(
    client: Client, batch_ids: list[str] | None, tenants: Iterable[str] | None, run: _Pass
) -> list[Client]:
    """The client once for each tenant to go through."""
    if isinstance(tenants, str):
        raise TypeError("tenants takes several ids, as a list; found one text")
    if tenants is not None:
        chosen = list(dict.fromkeys(tenants))
        if batch_ids is not None and len(chosen) != 1:
            raise ValueError(f"batch_ids belong to one tenant, found {len(chosen)} tenants")
        return [client.for_tenant(tenant_id) for tenant_id in chosen]
    if client.tenant_id is None and client.is_partner and batch_ids is None:
        return list(_all_tenants(client, run))
    client.tenant_key  # noqa: B018  raises here, before the first request, if no tenant is known
    return [client]


def _all_tenants(client: Client, run: _Pass) -> Iterator[Client]:
    """The partner's tenants; a row that cannot be read, or used, is a problem of its own."""
    listing = client.tenants()
    while True:
        tenant_id = ""
        try:
            tenant = next(listing, None)
            if tenant is None:
                return
            tenant_id = tenant.id
            if tenant.deleted_at is None:
                yield client.for_tenant(tenant_id)
        except (PayloadError, ConfigError) as error:
            if isinstance(error, PayloadError) and not error.where.startswith("$.data.results["):
                raise
            run.problems.append(Problem(tenant_id, str(error)))


def _ids(batch_ids: Iterable[str]) -> list[str]:
    if isinstance(batch_ids, str):
        raise TypeError("batch_ids takes several ids, as a list; found one text")
    ids = list(dict.fromkeys(batch_ids))
    unfit = [i for i in ids if not isinstance(i, str) or i in {"", ".", ".."}]
    if unfit:
        raise ValueError(f"batch_ids must be ids of batches, found {unfit[0]!r}")
    return ids


def _waiting(store: Store) -> dict[str, set[str]]:
    """By tenant, the batches that had something pending when their list was last seen."""
    if not store.exists():
        return {}
    rows = Tables(*store.tables()).waiting.to_pyarrow().to_pylist()
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["tenant_id"], set()).add(row["batch_id"])
    return found


def _wants_detail(look: Observed, waiting: set[str]) -> bool:
    """Whether a listed batch is to be looked at by itself: a listing does not show what waits."""
    if look.document is None:
        return True
    return look.document.pending_records != 0 or look.batch_id in waiting


def _bar(progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(desc="collect", unit=" batches", leave=False, disable=None if progress else True)
