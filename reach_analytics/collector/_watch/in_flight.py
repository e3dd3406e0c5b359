"""Requests in flight: sent from a pool of threads, taken in one by one as they end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

from reach_analytics.client import Client
from reach_analytics.client.transport import GRACE_S
from reach_analytics.collector._observe.limits import Budget
from reach_analytics.collector._schedule.policy import Due
from reach_analytics.collector._schedule.tenant_schedule import Tenant
from reach_analytics.collector._watch.standstill import Hanging

logger = logging.getLogger("reach_analytics.collector")

_WAIT_S = 1.0


class Probe:
    """A request that only asks whether the API, or the token, works."""


Request = Due | Tenant | Probe  # a batch or the list of tenants; a page of a tenant's listing


class InFlight:
    """The requests that a watch has sent and not yet taken in; each is paid from the budget."""

    def __init__(self, client: Client, budget: Budget) -> None:
        self._client, self._budget = client, budget
        self._pool = ThreadPoolExecutor(client.threads)
        self._requests: dict[Future[Any], Request] = {}
        self._hanging = Hanging()
        self._paid = client.requests_sent

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def has_room(self) -> bool:
        """Whether another request would not wait long for a thread."""
        return len(self._requests) < 2 * self._client.threads

    @property
    def is_probing(self) -> bool:
        """Whether a probe is among them."""
        return any(isinstance(request, Probe) for request in self._requests.values())

    def send(self, request: Request, ask: Callable[..., Any], *arguments: Any) -> None:
        """Call ``ask`` in a thread of the pool."""
        future = self._pool.submit(ask, *arguments)
        self._requests[future] = request
        self._hanging.begun(future)

    def ended(self) -> Iterator[tuple[Request, Future[Any]]]:
        """Wait briefly, and give what has ended; what is not taken is given again."""
        done, _ = wait_for(self._requests, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
        for future in done:
            self._hanging.ended(future)
            self._pay()
            yield self._requests.pop(future), future
        self._hanging.tell(self._requests, self._client.threads)

    def _pay(self) -> None:
        sent = self._client.requests_sent
        self._budget.spend(sent - self._paid)
        self._paid = sent

    def close(self) -> None:
        """Begin no more requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def last(self) -> Iterator[tuple[Request, Future[Any]]]:
        """After `close`: give the answers that arrive within the client's grace period.

        Requests end by themselves or are cut off; only a DNS lookup cannot be.
        """
        begun = [future for future in self._requests if not future.cancelled()]
        done, left = wait_for(begun, timeout=GRACE_S + 1)
        for future in done:
            if future.exception() is None:
                yield self._requests[future], future
        if left:
            logger.warning("%d requests are abandoned", len(left))

    def resume_client(self) -> None:
        """Let a halted client send again once nothing of this watch is in flight."""
        left = [future for future in self._requests if not future.done()]

        def resume() -> None:
            wait_for(left)
            self._client.resume()

        if left:
            threading.Thread(target=resume, daemon=True).start()
        else:
            resume()
