"""Scenarios: which tenants there are, who uploads what and when, and what never comes.

A scenario is a small file (TOML) or the same values built in Python. Durations are written as in
ISO 8601: ``PT20M`` is twenty minutes, ``P365D`` a year. Those that ship with the package lie in
the folder ``scenarios``; each says on top what it shows.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox.state import Write
from reach_analytics.sandbox.traffic import Traffic
from reach_analytics.sandbox.world import BEGIN_OF_TIME, END_OF_TIME, RATES, World

_DAY, _LONG = timedelta(days=1), timedelta(days=36_500)
_RANGES: dict[str, tuple[Any, Any]] = {
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
    "look_every": (timedelta(seconds=1), _LONG),
    "wave_every": (timedelta(seconds=1), _LONG),
    "wave_spread": (timedelta(0), _LONG),
    "start": (BEGIN_OF_TIME, END_OF_TIME - 4 * _LONG),
    "records_per_second": RATES,
}
_FOLDER = resources.files("reach_analytics.sandbox") / "scenarios"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a scenario; a name that it does not know is an error."""

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name, None)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, found {value}")


class Tenant(_Part, frozen=True):
    """A tenant; its streams bring ``size`` times as many records."""

    name: str
    external_id: str
    size: int = 1


class Link(_Part, frozen=True):
    """How records refer to another schema.

    A share of the records (0 to 1) refers to one of the ``among`` newest resources of the schema,
    or without ``schema`` to none unless an upload says so.
    """

    schema: str
    share: float = 1.0
    among: int = 50


class Kind(_Part, frozen=True):
    """A schema, and what its made-up records hold.

    Attributes
    ----------
    prefix : str
        External ids are this and a running number of ``digits`` digits.
    fields : dict
        Field name to its JSON Schema.
    texts : dict
        Field name to a text; ``{id}`` stands for the external id.
    numbers : dict
        Field name to the lowest and the highest value, drawn evenly on a logarithmic scale.
    links : dict
        Field name to what it refers to.
    """

    prefix: str
    category: str = "custom_schema"
    digits: int = 4
    fields: dict[str, dict[str, Any]] = {}
    texts: dict[str, str] = {}
    numbers: dict[str, tuple[float, float]] = {}
    links: dict[str, Link] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.category not in assumptions.CATEGORIES:
            known = ", ".join(assumptions.CATEGORIES)
            raise ValueError(f"no category {self.category!r}; there are: {known}")
        for name, (low, high) in self.numbers.items():
            if not 0 < low <= high < math.inf:
                raise ValueError(f"numbers.{name} must be two numbers above 0, the lower first")


class Stream(_Part, frozen=True):
    """Uploads of new records that come back in waves.

    Attributes
    ----------
    records : int
        New resources a wave and unit of the tenant's size; batches hold ``batch_size`` of them.
    after : timedelta
        How long after the wave's beginning they arrive,
    delays : list of timedelta
        and one of these, drawn for each wave but the first, on top of it.
    lost : float
        Share of the resources that exist, and are referred to, and are never uploaded; from the
        second wave on.
    broken : dict
        Values that a share ``broken_share`` of the records gets, so that it fails.
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


class Upload(_Part, frozen=True):
    """One write of its own, after ``at``: the records given, and ``records`` made up ones.

    ``values`` are laid over the made-up ones. A ``message`` fails the whole batch.
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
            raise ValueError(f"the upload of {self.schema!r} has a value that JSON does not know")


class Scenario(_Part, frozen=True):
    """Traffic that a world is given to play.

    Attributes
    ----------
    name, description : str
    start : datetime
        Where the world's clock begins, aware.
    duration : timedelta
        How long uploads come in.
    look_every : timedelta
        How often it is worth looking: a collecting pass at each of `moments` tells the story.
    wave_every : timedelta
        How often the streams' waves begin for each tenant,
    wave_spread : timedelta
        and how much later than that at most, by chance.
    tenants, schemas, streams, uploads
        What there is, and what happens.
    records_per_second : float
        How fast a batch is processed.

    Examples
    --------
    >>> from datetime import datetime, timedelta, timezone
    >>> from reach_analytics.sandbox import Kind, Scenario, Stream, Tenant
    >>> shop = Scenario(
    ...     name="shop",
    ...     start=datetime(2026, 3, 2, tzinfo=timezone.utc),
    ...     duration=timedelta(hours=2),
    ...     tenants=[Tenant(name="Shop", external_id="SHOP")],
    ...     schemas={"orders": Kind(prefix="O-")},
    ...     streams=[Stream(schema="orders", records=5)],
    ... )
    >>> world = shop.world(seed=0)
    >>> world.advance(shop.moments[-1])
    >>> [batch.successful for batch in world.batches.values()]
    [5, 5]
    """

    name: str
    start: datetime
    duration: timedelta
    tenants: list[Tenant]
    schemas: dict[str, Kind]
    streams: list[Stream] = []
    uploads: list[Upload] = []
    description: str = ""
    look_every: timedelta = timedelta(minutes=20)
    wave_every: timedelta = timedelta(hours=1)
    wave_spread: timedelta = timedelta(0)
    records_per_second: float = assumptions.RECORDS_PER_SECOND

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise ValueError(f"start must have an offset, found {self.start}")
        super().__post_init__()
        if self.look_every > self.duration:
            raise ValueError(f"look_every is longer than duration: {self.look_every}")
        _unlike("schema", (name.casefold() for name in self.schemas))
        _unlike("tenant", (tenant.external_id for tenant in self.tenants))
        used = {stream.schema for stream in self.streams} | {u.schema for u in self.uploads}
        used |= {link.schema for kind in self.schemas.values() for link in kind.links.values()}
        _known("schema", used, set(self.schemas))
        used = {upload.tenant for upload in self.uploads}
        used |= {name for stream in self.streams for name in stream.tenants or ()}
        _known("tenant", used, {tenant.external_id for tenant in self.tenants})

    @property
    def moments(self) -> list[datetime]:
        """When it is worth looking."""
        return [
            self.start + self.look_every * (i + 1) for i in range(self.duration // self.look_every)
        ]

    def world(self, seed: int = 0) -> World:
        """A world with this traffic ahead of it; the same seed gives the same world."""
        world = World(self.start, seed=seed, records_per_second=self.records_per_second)
        for name, kind in self.schemas.items():
            links = {f: {"$ref": f"reach:schemas/{link.schema}"} for f, link in kind.links.items()}
            world.add_schema(name, kind.category, {**kind.fields, **links})
        ids = {t.external_id: world.add_tenant(t.name, t.external_id).id for t in self.tenants}
        for moment, external_id, planned in Traffic(self, seed).uploads():
            world.schedule(moment, Write(ids[external_id], **planned))
        return world


def shipped() -> list[str]:
    """The names of the scenarios that ship with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _FOLDER.iterdir()
        if entry.name.endswith(".toml")
    )


def find(name: str) -> Scenario:
    """The shipped scenario of this name, or the one in this file."""
    if name in shipped():
        return _parse((_FOLDER / f"{name}.toml").read_text("utf-8"), name)
    if not name.endswith(".toml"):
        raise ValueError(
            f"no scenario {name!r}; there are: {', '.join(shipped())}, or the path of a .toml file"
        )
    return read(Path(name))


def read(path: Path) -> Scenario:
    """The scenario in a file."""
    try:
        return _parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the scenario {path} cannot be read: {error}") from error


def _parse(text: str, origin: str) -> Scenario:
    try:
        return msgspec.convert(tomllib.loads(text), Scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"the scenario {origin} is not valid: {error}") from error


def _unlike(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"there are two of {what} {twice[0]!r}")


def _known(what: str, used: set[str], known: set[str]) -> None:
    if unknown := sorted(used - known):
        raise ValueError(f"no {what} {unknown[0]!r}; there are: {', '.join(sorted(known))}")
