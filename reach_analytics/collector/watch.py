"""`watch`: looks at batches for as long as it is left running."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.client import Client
from reach_analytics.collector.knowledge import Knowledge, remembered, requests_since
from reach_analytics.collector.limits import Budget
from reach_analytics.collector.progress import Progress
from reach_analytics.collector.remembering import ask
from reach_analytics.collector.running import Run, begin
from reach_analytics.collector.schedule import Policy
from reach_analytics.collector.summary import RunSummary
from reach_analytics.collector.targets import checked_ids, given_targets
from reach_analytics.collector.watching import Settings, Watching
from reach_analytics.store import Store

logger = logging.getLogger("reach_analytics.collector")

_DAY = timedelta(days=1)
_STEP_S = 1.0  # a wait is cut into these, since a sandbox's clock may run faster than ours


def watch(
    client: Client,
    store: Store | str | os.PathLike[str],
    every: str | timedelta = "60s",
    until: str | datetime | timedelta | None = None,
    *,
    batch_ids: Iterable[str] | None = None,
    tenants: Iterable[str] | None = None,
    policy: Policy | None = None,
    requests_per_day: int | None = None,
    keep_retrying: bool = False,
    run_id: str | None = None,
    group: int = 2000,
    group_seconds: float = 10.0,
    compact: bool = True,
    progress: bool = True,
    wait: Callable[[float], object] | None = None,
) -> RunSummary:
    """Look at batches over time, each as often as it pays, and write what is seen to the store.

    What changed a minute ago is looked at in seconds, what has been quiet for hours in minutes, and
    around each expiry there are two looks more. New batches are found in the listings, which are
    read back to what is known, and once a day to their end. All that is known is read from the
    store at the start, so a watch that was stopped, or killed, goes on where it was; several may
    share a store.

    Ctrl-C ends it: what was seen is written, and the summary returned. Then, and when ``until`` has
    come, answers that are on their way have five seconds to arrive before they are broken off.

    Parameters
    ----------
    client : Client
        Its ``requests_per_second`` holds for the watch too.
    store : Store, str or path
        Created if it is not there yet.
    every : str or timedelta
        How soon at the earliest a tenant's listing is asked for again. Where nothing new comes, the
        distance grows to ``policy.ceiling``.
    until : str, datetime or timedelta, optional
        When to end, or after how long: ``"8h"``. By default never, or, with ``batch_ids``, when all
        of them have ended. Where the client's clock stands, as a sandbox's does that nobody turns,
        the real time that has passed counts.
    batch_ids : iterable of str, optional
        Watch these batches of the client's tenant only.
    tenants : iterable of str, optional
        Ids of the tenants to go through. By default the client's own tenant, or all tenants of a
        partner token, those that are yet to come included.
    policy : Policy, optional
        How often to look.
    requests_per_day : int, optional
        The most requests in any 24 hours, retries included. Where that does not suffice, looks
        around expiries go first, then the most overdue, and the summary tells what was neglected.
    keep_retrying : bool
        Try again every 15 minutes where a token is no longer accepted or the store cannot be
        written, rather than end with the error.
    run_id : str, optional
        Names the watch; a new random one by default.
    group, group_seconds : int, float
        What was seen is written in groups of so many looks, and after so many seconds.
    compact : bool
        Compact the store, in the background, when it has come to many small files.
    progress : bool
        Show a progress bar, on a terminal or in a notebook.
    wait : callable, optional
        How to wait so many seconds; with a sandbox whose clock stands, turn it.

    Returns
    -------
    RunSummary

    Raises
    ------
    AuthError
        If the token is not accepted any more; what was seen before is written.
    StoreError
        If the store cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import timedelta
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as place:
    ...     turn = lambda seconds: sb.advance(sb.now() + timedelta(seconds=seconds))
    ...     client = reach.Client(**sb.credentials)
    ...     run = reach.watch(
    ...         client, place, until="1h", wait=turn, group_seconds=600, progress=False
    ...     )
    ...     run.tenants, run.batches, run.failed_looks, run.neglected
    (3, 9, 0, 0)
    """
    run = begin("watch", client, store, run_id, group, group_seconds)
    ids = checked_ids(batch_ids)
    settings = Settings(
        policy=policy or Policy(),
        every=parse_duration(every, "every").to_pytimedelta(),
        until=_end(until, run.started_at),
        wait=wait or (lambda seconds: time.sleep(min(seconds, _STEP_S))),
        is_turned=wait is not None,
        keep_retrying=keep_retrying,
        compact=compact,
    )
    targets = given_targets(client, ids, tenants)
    budget = Budget(requests_per_day, run.started_at, _spent(run, requests_per_day))
    known = ask(run.hand.store, remembered, Knowledge())
    watching = Watching(run, known, budget, settings, ids, targets)
    with Progress(progress) as bar:
        watching.show = lambda: bar.show(watching, client.now())
        watching.run()
    summary = run.summary(
        tenants=len(watching.rounds.tenants),
        problems=tuple(watching.rounds.problems.values()),
        changes=watching.changes,
        neglected=watching.neglected,
        outages=watching.outage.count,
    )
    logger.info("ended: %s", summary, extra={"event": "ended", "summary": summary.as_dict()})
    return summary


def _end(until: str | datetime | timedelta | None, now: datetime) -> datetime | None:
    """``until`` as a moment: one itself, or a length of time from now."""
    if until is None:
        return None
    if isinstance(until, datetime) or (isinstance(until, str) and until[4:5] == "-"):
        end: datetime = parse_timestamp(until, "until").to_pydatetime()
        return end
    return now + parse_duration(until, "until").to_pytimedelta()


def _spent(run: Run, per_day: int | None) -> int:
    """What is used up of a day's budget by runs before this one."""
    if per_day is None:
        return 0
    since = run.started_at - _DAY
    return ask(run.hand.store, lambda tables: requests_since(tables, since), 0)
