"""Scenarios: which tenants there are, who uploads what and when, and what never arrives.

A scenario is a small file (TOML) or the same values built in Python. Durations are written as in
ISO 8601: ``PT20M`` is twenty minutes, ``P365D`` a year. Those that ship with the package are in
the folder ``scenarios``; each says at the top what it shows.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

import msgspec

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._specs import (
    Part,
    SchemaSpec,
    Stream,
    Tenant,
    Upload,
)
from reach_analytics.sandbox._traffic import Traffic
from reach_analytics.sandbox._world.state import Write
from reach_analytics.sandbox._world.world import World

__all__ = ["Scenario", "find", "read", "shipped"]

_FOLDER = resources.files("reach_analytics.sandbox") / "scenarios"


class Scenario(Part, frozen=True):
    """Traffic for a world to play.

    Attributes
    ----------
    name, description : str
    start : datetime
        Where the world's clock starts, aware.
    duration : timedelta
        How long uploads arrive.
    observe_every : timedelta
        How often to observe: a collecting pass at each of `moments` shows what happens.
    wave_every : timedelta
        How often the streams' waves start for each tenant.
    wave_spread : timedelta
        How much later than that they start at most, at random.
    tenants, schemas, streams, uploads
        What there is, and what happens.
    records_per_second : float
        How fast a batch is processed.

    Examples
    --------
    >>> from datetime import datetime, timedelta, timezone
    >>> from reach_analytics.sandbox import SchemaSpec, Scenario, Stream, Tenant
    >>> shop = Scenario(
    ...     name="shop",
    ...     start=datetime(2026, 3, 2, tzinfo=timezone.utc),
    ...     duration=timedelta(hours=2),
    ...     tenants=[Tenant(name="Shop", external_id="SHOP")],
    ...     schemas={"orders": SchemaSpec(prefix="O-")},
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
    schemas: dict[str, SchemaSpec]
    streams: list[Stream] = msgspec.field(default_factory=list)
    uploads: list[Upload] = msgspec.field(default_factory=list)
    description: str = ""
    observe_every: timedelta = timedelta(minutes=20)
    wave_every: timedelta = timedelta(hours=1)
    wave_spread: timedelta = timedelta(0)
    records_per_second: float = assumptions.RECORDS_PER_SECOND

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise ValueError(f"start must have an offset, found {self.start}")
        super().__post_init__()
        if self.observe_every > self.duration:
            raise ValueError(f"observe_every is longer than duration: {self.observe_every}")
        _unlike("schema", (name.casefold() for name in self.schemas))
        _unlike("tenant", (tenant.external_id for tenant in self.tenants))
        used = {stream.schema for stream in self.streams} | {u.schema for u in self.uploads}
        used |= {link.schema for spec in self.schemas.values() for link in spec.links.values()}
        _known("schema", used, set(self.schemas))
        used = {upload.tenant for upload in self.uploads}
        used |= {name for stream in self.streams for name in stream.tenants or ()}
        _known("tenant", used, {tenant.external_id for tenant in self.tenants})

    @property
    def moments(self) -> list[datetime]:
        """When to observe."""
        return [
            self.start + self.observe_every * (i + 1)
            for i in range(self.duration // self.observe_every)
        ]

    def world(self, seed: int = 0) -> World:
        """A world with this traffic ahead of it; the same seed gives the same world."""
        world = World(self.start, seed=seed, records_per_second=self.records_per_second)
        for name, spec in self.schemas.items():
            links = {f: {"$ref": f"reach:schemas/{link.schema}"} for f, link in spec.links.items()}
            world.add_schema(name, spec.category, {**spec.fields, **links})
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
