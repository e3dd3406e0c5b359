"""`collect`: one pass over the batches, each observation written to the store."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from reach_analytics._progress import progress_bar
from reach_analytics._time import parse_duration
from reach_analytics.client import Client, Listing
from reach_analytics.collector._compact_if_due import compact_if_due
from reach_analytics.collector._observe.catalog import catalog
from reach_analytics.collector._observe.limits import TokenGuard, is_down
from reach_analytics.collector._observe.observer import Observer
from reach_analytics.collector._observe.patience import GivenUp, Patience
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector._observe.singly import Singles
from reach_analytics.collector._observe.write_buffer import WriteBuffer
from reach_analytics.collector._run import begin
from reach_analytics.collector._schedule.remembering import ask
from reach_analytics.collector._targets import checked_ids, given_targets, learn_names, partner
from reach_analytics.collector.summary import Problem, RunSummary
from reach_analytics.errors import AuthError, ReachError, StoreError, TransportError
from reach_analytics.store import Store

__all__ = ["collect"]


def collect(
    client: Client,
    store: Store | str | os.PathLike[str],
    *,
    batch_ids: Iterable[str] | None = None,
    tenants: Iterable[str] | None = None,
    run_id: str | None = None,
    give_up_after: str | timedelta = "2min",
    group: int = 2000,
    compact: bool = True,
    progress: bool = True,
) -> RunSummary:
    """Observe every batch once and write the observations to the store.

    Without ``batch_ids`` the batches are listed, and those with something pending, now or when last
    seen, are fetched one by one for the details. A failed request is kept as a failed observation;
    a tenant whose listing fails is reported and does not hold up the others.

    If the API goes down, it is only probed after a few failed requests, and given up after
    ``give_up_after``. What was seen is written, and the summary says what was not observed.

    Parameters
    ----------
    client : Client
    store : Store, str or path
        Created if it does not exist.
    batch_ids : iterable of str, optional
        Observe only these batches of the client's tenant.
    tenants : iterable of str, optional
        Ids of the tenants to collect. By default the client's own tenant, or all tenants of a
        partner token.
    run_id : str, optional
        Names the pass; a new random one by default.
    give_up_after : str or timedelta
        How long to wait for an API that is down: ``"5min"``. A ``Retry-After`` that asks for more
        ends the pass at once.
    group : int
        Observations to buffer before they are written; fewer where they list many pending
        resources.
    compact : bool
        Compact the store at the end, if it has many small files.
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
        If the token is no longer accepted; what was seen before is written.
    StoreError
        If the store cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as folder:
    ...     sb.advance(sb.scenario.moments[2])
    ...     client = reach.Client(**sb.credentials)
    ...     run = reach.collect(client, reach.Store(folder + "/reach"), progress=False)
    >>> run.tenants, run.batches, run.failed_observations
    (3, 9, 0)
    """
    run = begin("collect", client, store, run_id, group)
    ids = checked_ids(batch_ids)
    patience = Patience(client, parse_duration(give_up_after, "give_up_after").to_pytimedelta())
    running = _Pass(run.observer, run.buffer, TokenGuard(client.without_retries()), patience)
    targets = _targets(client, ids, tenants, running)
    waiting = _waiting(run.buffer.store, running.problems)
    # The pass exits first, so that after Ctrl-C buffered observations are written before all else.
    with ThreadPoolExecutor(client.threads) as pool, _bar(progress) as bar, running:
        running.seen, running.pool = bar.update, pool
        if ids is not None:
            running.observe_all(targets[0], ids)
        else:
            running.collect_all(targets, waiting)
    if compact:
        compact_if_due(run.buffer.store, client.now())
    outages = patience.breaker.count
    return run.summary(tenants=len(targets), problems=tuple(running.problems), outages=outages)


@dataclass
class _Pass:
    """The running pass."""

    observer: Observer
    buffer: WriteBuffer
    guard: TokenGuard
    patience: Patience
    seen: Callable[[int], Any] = lambda count: None
    problems: list[Problem] = field(default_factory=list)
    pool: Executor = field(init=False)

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, StoreError):
            self.buffer.write()  # on Ctrl-C too: no observation is lost

    def collect_all(self, clients: list[Client], waiting: dict[str, set[str]]) -> None:
        """Collect the tenants; one that cannot be listed in an outage is tried again."""
        left = deque(clients)
        try:
            while left:
                target = left[0]
                is_done = self._collect(target, waiting.get(target.tenant_key, set()))
                left.popleft()
                if not is_done:
                    left.append(target)
        except GivenUp:
            if len(clients) > 1:
                told = f"{len(left):,} of {len(clients):,} tenants were not fully collected"
                self.problems.append(Problem("", f"{told}: {self._why()}"))

    def observe_all(self, client: Client, batch_ids: list[str]) -> None:
        """Observe single batches, as far as the API answers."""
        with contextlib.suppress(GivenUp):  # the problems name it
            self._observe_at(client, batch_ids)

    def _collect(self, client: Client, waiting: set[str]) -> bool:
        """List a tenant's batches, and ask for the details where something waits or waited.

        False if it is to be tried again, since the API is down.
        """
        closer, listing = set(waiting), client.without_retries().batches()
        while True:
            try:
                page = self.patience.ask(listing.next_page, (client.tenant_key, listing.pages))
            except GivenUp:
                self._tell_of_listing(client, listing, len(closer))
                raise
            except ReachError as error:
                if is_down(error) and self.patience.is_down:
                    if not listing.pages:
                        return False
                    continue
                self.problems.append(Problem(client.tenant_key, str(error)))
                self.guard.check(error)
                if isinstance(error, AuthError | TransportError):
                    return True  # single batches would fare no better
                break
            if page is None:
                break
            observations, problems = self.observer.rows(client.tenant_key, page)
            self.problems += problems
            self._take(observations)
            wanted = [
                observation.batch_id
                for observation in observations
                if _wants_detail(observation, closer)
            ]
            closer.difference_update(wanted)
            self._observe_at(client, wanted, listing, len(closer))
        if (listing.shortfall or 0) > 0:
            told = f"the listing gave {listing.received} of {listing.total} announced batches"
            self.problems.append(Problem(client.tenant_key, told))
        self._observe_at(client, sorted(closer))
        return True

    def _observe_at(
        self,
        client: Client,
        batch_ids: list[str],
        listing: Listing[Any] | None = None,
        later: int = 0,
    ) -> None:
        """Observe single batches, and report what was left out when giving up.

        ``later`` counts other batches of the tenant that were still to be observed; a ``listing``
        has more on pages that were not read yet.
        """
        singles = Singles(self.observer, client, self.patience, self.guard, self.pool, self._take)
        try:
            singles.observe_at(batch_ids)
        except GivenUp:
            left, count = singles.untried + later, len(batch_ids) + later
            told = f"{left:,} of {count:,} batches were not observed: {self._why()}"
            self.problems.append(Problem(client.tenant_key, told))
            if listing is not None and not listing.complete:
                self._tell_of_listing(client, listing, 0)
            raise

    def _tell_of_listing(self, client: Client, listing: Listing[Any], unseen: int) -> None:
        read = f"to page {listing.pages} only" if listing.pages else "not at all"
        told = f"the listing was read {read}"
        if unseen:
            told += f", and {unseen:,} batches that waited were not observed"
        self.problems.append(Problem(client.tenant_key, f"{told}: {self._why()}"))

    def _why(self) -> str:
        return f"the API is down ({self.patience.error})"

    def _take(self, observations: list[RecordedObservation]) -> None:
        before = len(self.buffer.batches)
        for observation in observations:
            self.buffer.take(observation)
        if self.buffer.is_full:
            self.buffer.write()
        self.seen(len(self.buffer.batches) - before)


def _targets(
    client: Client, batch_ids: list[str] | None, tenants: Iterable[str] | None, run: _Pass
) -> list[Client]:
    """The client once for each tenant to collect."""
    given = given_targets(client, batch_ids, tenants)
    if given is not None:
        learn_names(client, given, run.buffer)
        return given
    found = partner(client)
    run.problems += found.problems
    run.buffer.take_catalog(catalog(found.tenants, found.definitions, client.now()))
    return found.clients


def _waiting(store: Store, problems: list[Problem]) -> dict[str, set[str]]:
    """By tenant, the batches that had something pending when their list was last seen."""
    found: dict[str, set[str]] = {}
    rows: list[dict[str, str]] = ask(
        store,
        lambda tables: tables.read(tables.waiting).to_pylist(),
        [],
        on_damage=lambda error: problems.append(Problem("", str(error))),
    )
    for row in rows:
        found.setdefault(row["tenant_id"], set()).add(row["batch_id"])
    return found


def _wants_detail(observation: RecordedObservation, waiting: set[str]) -> bool:
    """Whether to ask for a listed batch itself: a listing does not show what waits."""
    if observation.document is None:
        return True
    return observation.document.pending_records != 0 or observation.batch_id in waiting


def _bar(progress: bool) -> Any:
    off = None if progress else True
    return progress_bar(desc="collect", unit=" batches", leave=False, disable=off)
