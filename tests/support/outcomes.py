"""Waits whose outcome is known."""

from __future__ import annotations

from tests.support.observations import batch, counts, observation

NONE = batch(waits={})


def waits(missing: str = "x", **others: str) -> dict:
    """A document in which A waits until minute 60."""
    return batch(waits={"A": missing, **others}, created=0, expires=60)


def summed(document: dict, good: int, bad: int, **codes: int) -> dict:
    """The document with these counts, and a summary of the errors."""
    waiting = {"pendingRecords": len(document["pendingResources"])}
    return document | {
        "progress": counts(30, good, bad) | waiting,
        "errors": {"summary": codes},
    }


def learned(code: str = "WAIT_EXPIRED", rises: tuple[int, ...] = (2, 2)) -> list:
    """Batches of two waits each that expired for certain (rule 4), with what a code counted."""
    observations = []
    for n, rise in enumerate(rises):
        own = batch(f"l{n}", waits={f"L{n}": "z", f"M{n}": "z"}, created=0, expires=60)
        observations += [
            observation(summed(own, 4, 5, OTHER=5), 65),
            observation(summed(batch(f"l{n}", waits={}), 4, 7, OTHER=5, **{code: rise}), 80),
        ]
    return observations


def one_of_two(code: str = "WAIT_EXPIRED", rise: int = 0) -> list:
    """A leaves across its expiry, while its batch counts one failure."""
    return [
        observation(summed(waits(), 4, 5, OTHER=5), 50),
        observation(summed(NONE, 4, 6, OTHER=6 - rise, **{code: rise}), 70),
    ]
