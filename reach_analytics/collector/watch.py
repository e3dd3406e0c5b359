"""`watch`: observes batches for as long as it runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.client import Client
from reach_analytics.collector._observe.limits import Budget
from reach_analytics.collector._run import Run, begin
from reach_analytics.collector._schedule.batch_states import BatchStates, remembered
from reach_analytics.collector._schedule.policy import PollingPolicy
from reach_analytics.collector._schedule.remembering import ask
from reach_analytics.collector._targets import checked_ids, given_targets, learn_names
from reach_analytics.collector._watch.loop import Settings, WatchLoop
from reach_analytics.collector._watch.progress import Progress
from reach_analytics.collector.summary import RunSummary
from reach_analytics.queries.batch_states import requests_since
from reach_analytics.store import Store

__all__ = ["watch"]

logger = logging.getLogger("reach_analytics.collector")

_DAY = timedelta(days=1)
_FOR_NAMES = 10  # requests: a page of a hundred tenants each, and one for the schemas
_STEP_S = 1.0  # waits are cut into steps, since a sandbox's clock may run faster than ours


def watch(
    client: Client,
    store: Store | str | os.PathLike[str],
    every: str | timedelta = "60s",
    until: str | datetime | timedelta | None = None,
    *,
    batch_ids: Iterable[str] | None = None,
    tenants: Iterable[str] | None = None,
    policy: PollingPolicy | None = None,
    requests_per_day: int | None = None,
    keep_retrying: bool = False,
    run_id: str | None = None,
    group: int = 2000,
    group_seconds: float = 10.0,
    compact: bool = True,
    progress: bool = True,
    wait: Callable[[float], object] | None = None,
) -> RunSummary:
    """Observe batches over time, each as often as is useful, and write the observations.

    What changed a minute ago is observed again in seconds, what has been quiet for hours in
    minutes, and around each expiry there are two more observations. New batches are found in the
    listings, which are read back to known batches, and once a day to their end. Batch states are
    read from the store at the start, so a watch that was stopped or killed resumes where it was;
    several may share a store.

    Ctrl-C ends it: what was seen is written, and the summary returned. Then, and when ``until`` is
    reached, answers in flight have five seconds to arrive before they are cut off.

    Parameters
    ----------
    client : Client
        Its ``requests_per_second`` holds for the watch too.
    store : Store, str or path
        Created if it does not exist.
    every : str or timedelta
        Shortest interval between two requests for a tenant's listing. Where nothing new comes, it
        grows to ``policy.max_interval``.
    until : str, datetime or timedelta, optional
        When to end, or after how long: ``"8h"``. By default never, or, with ``batch_ids``, when all
        of them have ended. If the client's clock is stopped, as a sandbox's may be, real time
        counts.
    batch_ids : iterable of str, optional
        Watch only these batches of the client's tenant.
    tenants : iterable of str, optional
        Ids of the tenants to watch. By default the client's own tenant, or all tenants of a partner
        token, including future ones.
    policy : PollingPolicy, optional
        How often to observe batches.
    requests_per_day : int, optional
        The most requests in any 24 hours, retries included. If that is too few, observations around
        expiries go first, then the most overdue, and the summary tells what was neglected.
    keep_retrying : bool
        Try again every 15 minutes when the token is no longer accepted or the store cannot be
        written, rather than end with the error.
    run_id : str, optional
        Names the watch; a new random one by default.
    group, group_seconds : int, float
        Observations are written in groups of this many, and at the latest after this many seconds.
    compact : bool
        Compact the store, in the background, when it has many small files.
    progress : bool
        Show a progress bar, on a terminal or in a notebook.
    wait : callable, optional
        How to wait for a number of seconds; with a sandbox whose clock is stopped, turn it.

    Returns
    -------
    RunSummary

    Raises
    ------
    AuthError
        If the token is no longer accepted; what was seen before is written.
    StoreError
        If the store cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import timedelta
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as folder:
    ...     turn = lambda seconds: sb.advance(sb.now() + timedelta(seconds=seconds))
    ...     client = reach.Client(**sb.credentials)
    ...     run = reach.watch(
    ...         client, folder, until="1h", wait=turn, group_seconds=600, progress=False
    ...     )
    ...     run.tenants, run.batches, run.failed_observations, run.neglected
    (3, 9, 0, 0)
    """
    run = begin("watch", client, store, run_id, group, group_seconds)
    ids = checked_ids(batch_ids)
    settings = Settings(
        policy=policy or PollingPolicy(),
        every=parse_duration(every, "every").to_pytimedelta(),
        until=_end(until, run.started_at),
        wait=wait or (lambda seconds: time.sleep(min(seconds, _STEP_S))),
        is_turned=wait is not None,
        keep_retrying=keep_retrying,
        compact=compact,
    )
    targets = given_targets(client, ids, tenants)
    budget = Budget(requests_per_day, run.started_at, _spent(run, requests_per_day))
    if targets is not None and budget.left(run.started_at) > _FOR_NAMES:
        learn_names(client, targets, run.buffer)
        budget.spend(client.requests_sent - run.sent_before)
    states = ask(run.buffer.store, remembered, BatchStates())
    loop = WatchLoop(run, states, budget, settings, ids, targets)
    with Progress(progress) as bar:
        loop.show = lambda: bar.show(loop, client.now())
        loop.run()
    summary = run.summary(
        tenants=len(loop.schedule.tenants),
        problems=tuple(loop.schedule.problems.values()),
        changes=loop.changes,
        neglected=loop.neglect.most,
        outages=loop.pause.breaker.count,
    )
    logger.info("ended: %s", summary, extra={"event": "ended", "summary": summary.as_dict()})
    return summary


def _end(until: str | datetime | timedelta | None, now: datetime) -> datetime | None:
    """``until`` as a time: as given, or a duration from now."""
    if until is None:
        return None
    if isinstance(until, datetime) or (isinstance(until, str) and until[4:5] == "-"):
        end: datetime = parse_timestamp(until, "until").to_pydatetime()
        return end
    return now + parse_duration(until, "until").to_pytimedelta()


def _spent(run: Run, per_day: int | None) -> int:
    """How much of the daily budget earlier runs have used."""
    if per_day is None:
        return 0
    since = run.started_at - _DAY
    return ask(run.buffer.store, lambda tables: requests_since(tables, since), 0)
