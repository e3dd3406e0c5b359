"""`collect`: one pass over the batches, each look written to the store."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from reach_analytics.client import Client
from reach_analytics.collector.hand import Hand
from reach_analytics.collector.limits import TokenGuard
from reach_analytics.collector.looking import Looker
from reach_analytics.collector.observe import Observed
from reach_analytics.collector.running import begin
from reach_analytics.collector.summary import Problem, RunSummary
from reach_analytics.collector.targets import all_tenants, checked_ids, given_targets
from reach_analytics.collector.tidying import tidy
from reach_analytics.errors import AuthError, ReachError, StoreError, TransportError
from reach_analytics.frames import Tables
from reach_analytics.store import Store


def collect(
    client: Client,
    store: Store | str | os.PathLike[str],
    *,
    batch_ids: Iterable[str] | None = None,
    tenants: Iterable[str] | None = None,
    run_id: str | None = None,
    group: int = 2000,
    compact: bool = True,
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
        Looks held in memory before they are written; fewer, where they list many pending resources.
    compact : bool
        Compact the store at the end, if it has come to many small files.
    progress : bool
        Show a progress bar, on a terminal or in a notebook.

    Returns
    -------
    RunSummary

    Raises
    ------
    ApiError, TransportError, PayloadError
        If the tenants cannot be listed.
    AuthError
        If the token is not accepted any more; what was seen before is written.
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
    run = begin("collect", client, store, run_id, group)
    ids = checked_ids(batch_ids)
    going = _Pass(run.looker, run.hand, TokenGuard(client), client.threads)
    targets = _targets(client, ids, tenants, going)
    waiting = _waiting(run.hand.store)
    # The pass ends first, so that after Ctrl-C the answers in hand are written before all else.
    with ThreadPoolExecutor(client.threads) as pool, _bar(progress) as bar, going:
        going.seen = bar.update
        for target in targets:
            if ids is not None:
                going.look_at(target, ids, pool)
            else:
                going.go_through(target, waiting.get(target.tenant_key, set()), pool)
    if compact:
        tidy(run.hand.store, client.now())
    return run.summary(tenants=len(targets), problems=tuple(going.problems))


@dataclass
class _Pass:
    """The pass under way."""

    looker: Looker
    hand: Hand
    guard: TokenGuard
    threads: int
    seen: Callable[[int], Any] = lambda count: None
    problems: list[Problem] = field(default_factory=list)

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, StoreError):
            self.hand.write()  # on Ctrl-C too: answers in hand are not lost

    def go_through(self, client: Client, waiting: set[str], pool: Executor) -> None:
        """List a tenant's batches, and look closer where something waits or waited."""
        closer, listing = set(waiting), client.batches()
        pages = listing.iter_pages()
        while True:
            try:
                page = next(pages, None)
            except ReachError as error:
                self.problems.append(Problem(client.tenant_key, str(error)))
                self.guard.check(error)
                if isinstance(error, AuthError | TransportError):
                    return  # single batches would fare no better
                break
            if page is None:
                break
            looks, problems = self.looker.rows(client.tenant_key, page)
            self.problems += problems
            self._take(looks)
            wanted = [look.batch_id for look in looks if _wants_detail(look, closer)]
            closer.difference_update(wanted)
            self.look_at(client, wanted, pool)
        if (listing.shortfall or 0) > 0:
            told = f"the listing gave {listing.received} of {listing.total} announced batches"
            self.problems.append(Problem(client.tenant_key, told))
        self.look_at(client, sorted(closer), pool)

    def look_at(self, client: Client, batch_ids: Iterable[str], pool: Executor) -> None:
        """Look at single batches, with details; a few answers at most wait to be taken in hand."""
        left = iter(batch_ids)
        begun: deque[Future[tuple[Observed, Exception | None]]] = deque()
        try:
            while True:
                for batch_id in islice(left, 4 * self.threads - len(begun)):
                    begun.append(pool.submit(self.looker.look, client, batch_id))
                if not begun:
                    return
                look, error = begun[0].result()
                self._take([look])
                begun.popleft()
                self.guard.check(error)
        except (KeyboardInterrupt, AuthError):
            # No more are begun, and the answers to those that are will not be lost. Waiting for
            # them costs little: nothing is tried again.
            client.halt()
            try:
                running = [future for future in begun if not future.cancel()]
                self._take([f.result()[0] for f in running if f.exception() is None])
            finally:
                client.resume()
            raise

    def _take(self, looks: list[Observed]) -> None:
        before = len(self.hand.batches)
        for look in looks:
            self.hand.take(look)
        if self.hand.is_full:
            self.hand.write()
        self.seen(len(self.hand.batches) - before)


def _targets(
    client: Client, batch_ids: list[str] | None, tenants: Iterable[str] | None, run: _Pass
) -> list[Client]:
    """The client once for each tenant to go through."""
    given = given_targets(client, batch_ids, tenants)
    if given is not None:
        return given
    found = list(all_tenants(client))
    run.problems += [one for one in found if isinstance(one, Problem)]
    return [one for one in found if isinstance(one, Client)]


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
