"""What a scenario is made of: tenants, schemas, and what they upload when."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import msgspec

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._world.world import BEGIN_OF_TIME, END_OF_TIME, RATES

_DAY, _LONG = timedelta(days=1), timedelta(days=36_500)
RANGES: dict[str, tuple[Any, Any]] = {
    "size": (1, 1_000_000),
    "share": (0, 1),
    "among": (1, 1_000_000_000),
    "digits": (1, 30),
    "records": (0, 1_000_000),
    "lost": (0, 1),
    "broken_share": (0, 1),
    "batch_size": (1, assumptions.MAX_RECORDS),
    "wait": (timedelta(0), _DAY),
    "after": (timedelta(0), _LONG),
    "at": (timedelta(0), _LONG),
    "duration": (timedelta(seconds=1), _LONG),
    "observe_every": (timedelta(seconds=1), _LONG),
    "wave_every": (timedelta(seconds=1), _LONG),
    "wave_spread": (timedelta(0), _LONG),
    "start": (BEGIN_OF_TIME, END_OF_TIME - 4 * _LONG),
    "records_per_second": RATES,
}


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a scenario; an unknown name is an error."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name, None)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, found {value}")


class Tenant(Part, frozen=True):
    """A tenant; its streams upload ``size`` times as many records."""

    name: str
    external_id: str
    size: int = 1


class ReferenceSpec(Part, frozen=True):
    """How records refer to another schema.

    A ``share`` of the records (0 to 1) refers to one of the ``among`` newest resources of
    ``schema``.
    """

    schema: str
    share: float = 1.0
    among: int = 50


class SchemaSpec(Part, frozen=True):
    """A schema, and what its generated records contain.

    Attributes
    ----------
    prefix : str
        External ids are this and a sequential number of ``digits`` digits.
    fields : dict
        Field name to its JSON Schema.
    texts : dict
        Field name to a text; ``{id}`` stands for the external id.
    numbers : dict
        Field name to the lowest and the highest value, drawn uniformly on a logarithmic scale.
    links : dict
        Field name to what it refers to.
    """

    prefix: str
    category: str = "custom_schema"
    digits: int = 4
    fields: dict[str, dict[str, Any]] = {}
    texts: dict[str, str] = {}
    numbers: dict[str, tuple[float, float]] = {}
    links: dict[str, ReferenceSpec] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.category not in assumptions.CATEGORIES:
            known = ", ".join(assumptions.CATEGORIES)
            raise ValueError(f"no category {self.category!r}; there are: {known}")
        for name, (low, high) in self.numbers.items():
            if not 0 < low <= high < math.inf:
                raise ValueError(f"numbers.{name} must be two numbers above 0, the lower first")


class Stream(Part, frozen=True):
    """Uploads of new records in recurring waves.

    Attributes
    ----------
    records : int
        New resources per wave and unit of the tenant's size; batches hold ``batch_size`` of them.
    after : timedelta
        How long after the start of the wave they arrive.
    delays : list of timedelta
        An extra delay, drawn from these for each wave but the first.
    lost : float
        Share of the resources that are referred to but never uploaded; from the second wave on.
    broken : dict
        Values that a share ``broken_share`` of the records gets, so that they fail.
    tenants : list of str, optional
        External ids of the tenants that have this stream; all by default.
    """

    schema: str
    records: int
    wait: timedelta = timedelta(0)
    after: timedelta = timedelta(0)
    delays: list[timedelta] = []
    lost: float = 0.0
    broken_share: float = 0.0
    broken: dict[str, Any] = {}
    batch_size: int = assumptions.MAX_RECORDS
    tenants: list[str] | None = None


class Upload(Part, frozen=True):
    """A single write, at ``at``: the records given, and ``records`` generated ones.

    ``values`` override those of the generated ones. A ``message`` fails the whole batch.
    """

    at: timedelta
    tenant: str
    schema: str
    given: list[dict[str, Any]] = []
    records: int = 0
    values: dict[str, Any] = {}
    wait: timedelta = timedelta(0)
    message: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        plain = [self.given, self.values]
        if msgspec.json.decode(msgspec.json.encode(plain)) != plain:
            raise ValueError(f"the upload of {self.schema!r} has a value that JSON cannot hold")
