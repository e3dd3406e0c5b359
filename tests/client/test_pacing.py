"""Retry delays and the rate limit, as values and with a fake clock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach_analytics.client._pacing import Gate, RateLimiter, RetryPolicy


def largest(low: float, high: float) -> float:
    return high


def test_waits_double_up_to_the_cap():
    policy = RetryPolicy(attempts=9, base_s=0.5, cap_s=10)
    assert [policy.wait(n, None, largest) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 10, 10, 10]
    assert policy.wait(9, None, largest) is None


@given(
    attempt=st.integers(1, 10**6),
    retry_after=st.none() | st.floats(allow_nan=True),
    share=st.floats(0, 1),
)
def test_every_wait_is_bounded(attempt, retry_after, share):
    policy = RetryPolicy(attempts=10**7)
    wait = policy.wait(attempt, retry_after, lambda low, high: low + share * (high - low))
    assert wait is None or 0 <= wait <= 120


def test_at_least_one_attempt():
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=0)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_calls_are_spaced_evenly():
    clock = Clock()
    limiter = RateLimiter(4, clock=clock.now, sleep=clock.sleep)
    starts = []
    for _ in range(5):
        limiter.wait()
        starts.append(clock.time)
    assert starts == [0, 0.25, 0.5, 0.75, 1.0]


def test_idle_time_is_not_saved_up_for_a_burst():
    clock = Clock()
    limiter = RateLimiter(1, clock=clock.now, sleep=clock.sleep)
    limiter.wait()
    clock.time = 100
    limiter.wait()
    limiter.wait()
    assert clock.time == 101


def test_threads_share_the_limit():
    slept: list[float] = []
    limiter = RateLimiter(10, clock=lambda: 0.0, sleep=slept.append)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: limiter.wait(), range(9)))
    assert sorted(round(s, 6) for s in slept) == [0.1 * n for n in range(1, 3)] + [
        round(0.1 * n, 6) for n in range(3, 9)
    ]


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_an_invalid_rate_is_refused(rate):
    with pytest.raises(ValueError, match="requests_per_second"):
        RateLimiter(rate)


def test_a_closed_gate_holds_until_it_opens_and_is_never_opened_early():
    clock = Clock()
    gate = Gate(clock=clock.now, sleep=clock.sleep)
    gate.wait()
    gate.close(20)
    gate.close(5)
    gate.wait()
    assert clock.time == 20
    gate.wait()
    assert clock.time == 20


def test_a_gate_closed_again_while_a_thread_waits_stays_closed():
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.time == 10:
            gate.close(7)

    gate = Gate(clock=clock.now, sleep=sleep)
    gate.close(10)
    gate.wait()
    assert clock.time == 17


def test_a_gate_does_not_spin_if_sleep_does_not_wait():
    slept: list[float] = []
    gate = Gate(clock=lambda: 0.0, sleep=slept.append)
    gate.close(9)
    passed = gate.wait()
    gate.wait(passed)
    assert slept == [9]
