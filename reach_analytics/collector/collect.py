"""`collect`: one pass over the batches, each look written to the store."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from reach_analytics._time import parse_duration
from reach_analytics.client import Client, Listing
from reach_analytics.collector.hand import Hand
from reach_analytics.collector.limits import TokenGuard, is_down
from reach_analytics.collector.looking import Looker
from reach_analytics.collector.observe import Observed
from reach_analytics.collector.patience import GivenUp, Patience
from reach_analytics.collector.remembering import ask
from reach_analytics.collector.running import begin
from reach_analytics.collector.singly import Singles
from reach_analytics.collector.summary import Problem, RunSummary
from reach_analytics.collector.targets import all_tenants, checked_ids, given_targets
from reach_analytics.collector.tidying import tidy
from reach_analytics.errors import AuthError, ReachError, StoreError, TransportError
from reach_analytics.store import Store


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
    """Look once at every batch and write what was seen to the store.

    Without ``batch_ids`` the batches are listed, and those with something pending, now or when last
    seen, are looked at one by one for the details. A look that fails is kept as a failed look; a
    tenant whose listing fails is reported and does not hold up the others.

    Where the API answers nobody any more, after a few requests it is only asked now and then, and
    after ``give_up_after`` no more. What was seen is written, and the summary says what was not
    looked at.

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
    give_up_after : str or timedelta
        For how long to bear with an API that answers nobody: ``"5min"``. A ``Retry-After`` that
        asks for more ends the pass at once.
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
    patience = Patience(client, parse_duration(give_up_after, "give_up_after").to_pytimedelta())
    going = _Pass(run.looker, run.hand, TokenGuard(client.without_retries()), patience)
    targets = _targets(client, ids, tenants, going)
    waiting = _waiting(run.hand.store, going.problems)
    # The pass ends first, so that after Ctrl-C the answers in hand are written before all else.
    with ThreadPoolExecutor(client.threads) as pool, _bar(progress) as bar, going:
        going.seen, going.pool = bar.update, pool
        if ids is not None:
            going.look_at_all(targets[0], ids)
        else:
            going.go_through_all(targets, waiting)
    if compact:
        tidy(run.hand.store, client.now())
    outages = patience.outage.count
    return run.summary(tenants=len(targets), problems=tuple(going.problems), outages=outages)


@dataclass
class _Pass:
    """The pass under way."""

    looker: Looker
    hand: Hand
    guard: TokenGuard
    patience: Patience
    seen: Callable[[int], Any] = lambda count: None
    problems: list[Problem] = field(default_factory=list)
    pool: Executor = field(init=False)

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, StoreError):
            self.hand.write()  # on Ctrl-C too: answers in hand are not lost

    def go_through_all(self, clients: list[Client], waiting: dict[str, set[str]]) -> None:
        """Go through the tenants; one that cannot be listed in an outage has its turn again."""
        left = deque(clients)
        try:
            while left:
                target = left[0]
                is_done = self._go_through(target, waiting.get(target.tenant_key, set()))
                left.popleft()
                if not is_done:
                    left.append(target)
        except GivenUp:
            if len(clients) > 1:
                told = f"{len(left):,} of {len(clients):,} tenants were not gone through to the end"
                self.problems.append(Problem("", f"{told}: {self._why()}"))

    def look_at_all(self, client: Client, batch_ids: list[str]) -> None:
        """Look at single batches, as far as the API lets us."""
        with contextlib.suppress(GivenUp):  # which is among the problems then
            self._look_at(client, batch_ids)

    def _go_through(self, client: Client, waiting: set[str]) -> bool:
        """List a tenant's batches, and look closer where something waits or waited.

        False if it is to be tried again, since nothing answers just now.
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
            looks, problems = self.looker.rows(client.tenant_key, page)
            self.problems += problems
            self._take(looks)
            wanted = [look.batch_id for look in looks if _wants_detail(look, closer)]
            closer.difference_update(wanted)
            self._look_at(client, wanted, listing, len(closer))
        if (listing.shortfall or 0) > 0:
            told = f"the listing gave {listing.received} of {listing.total} announced batches"
            self.problems.append(Problem(client.tenant_key, told))
        self._look_at(client, sorted(closer))
        return True

    def _look_at(
        self,
        client: Client,
        batch_ids: list[str],
        listing: Listing[Any] | None = None,
        later: int = 0,
    ) -> None:
        """Look at single batches, and say what was left out if that is given up.

        So many others of the tenant were to be looked at ``later``, and those on the pages of a
        ``listing`` that were not read yet.
        """
        singles = Singles(self.looker, client, self.patience, self.guard, self.pool, self._take)
        try:
            singles.look_at(batch_ids)
        except GivenUp:
            left, count = singles.untried + later, len(batch_ids) + later
            told = f"{left:,} of {count:,} batches were not looked at: {self._why()}"
            self.problems.append(Problem(client.tenant_key, told))
            if listing is not None and not listing.complete:
                self._tell_of_listing(client, listing, 0)
            raise

    def _tell_of_listing(self, client: Client, listing: Listing[Any], unseen: int) -> None:
        read = f"to page {listing.pages} only" if listing.pages else "not at all"
        told = f"the listing was read {read}"
        if unseen:
            told += f", and {unseen:,} batches that waited were not looked at"
        self.problems.append(Problem(client.tenant_key, f"{told}: {self._why()}"))

    def _why(self) -> str:
        return f"the API answers nobody ({self.patience.error})"

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


def _wants_detail(look: Observed, waiting: set[str]) -> bool:
    """Whether a listed batch is to be looked at by itself: a listing does not show what waits."""
    if look.document is None:
        return True
    return look.document.pending_records != 0 or look.batch_id in waiting


def _bar(progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(desc="collect", unit=" batches", leave=False, disable=None if progress else True)
