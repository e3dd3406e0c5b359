"""Seeded traffic to play in a world: who uploads what, when, and what never comes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from reach_analytics.sandbox.world import Tenant, World

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
Record = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """Traffic that a world is given to play.

    Attributes
    ----------
    name : str
    start : datetime
        Where the world's clock begins.
    moments : list of datetime
        When it is worth looking: a collecting pass at each tells the story.
    prepare : callable
        Puts tenants, schemas and all coming uploads into a world.
    """

    name: str
    start: datetime
    moments: list[datetime]
    prepare: Callable[[World, random.Random], None]

    def world(self, seed: int) -> World:
        """A world with this traffic ahead of it; the same seed gives the same world."""
        world = World(self.start, seed=seed)
        self.prepare(world, random.Random(f"{self.name}/{seed}"))
        return world


def find(name: str) -> Scenario:
    """The scenario of this name."""
    if name not in _SCENARIOS:
        raise ValueError(f"no scenario {name!r}; there are: {', '.join(sorted(_SCENARIOS))}")
    return _SCENARIOS[name]


@dataclass
class _Upload:
    """A tenant's growing books, from which its uploads are drawn."""

    world: World
    tenant: Tenant
    rng: random.Random
    contacts: list[str] = field(default_factory=list)
    locations: list[str] = field(default_factory=list)
    transactions: int = 0

    def send(self, at: datetime, schema: str, records: list[Record], wait: timedelta) -> None:
        """Have a batch arrive at ``at``, its records in an order of chance."""
        self.rng.shuffle(records)
        wait_s = int(wait.total_seconds())
        self.world.at(at, lambda: self.world.ingest(self.tenant.id, schema, records, wait_s=wait_s))

    def new_contacts(self, count: int) -> list[Record]:
        """Contacts, one in five referred by an earlier one."""
        records = []
        for _ in range(count):
            name = f"CON-{len(self.contacts) + 1:04d}"
            record = {"externalId": name, "email": f"{name.lower()}@example.com"}
            if self.contacts and self.rng.random() < 0.2:
                record["referredBy"] = self.rng.choice(self.contacts)
            self.contacts.append(name)
            records.append(record)
        return records

    def new_locations(self, count: int) -> list[Record]:
        """Locations, each owned by one of the newest contacts."""
        names = [f"LOC-{len(self.locations) + i + 1:03d}" for i in range(count)]
        self.locations += names
        newest = self.contacts[-30:]
        return [
            {"externalId": name, "name": f"Shop {name[4:]}", "owner": self.rng.choice(newest)}
            for name in names
        ]

    def new_transactions(self, count: int) -> list[Record]:
        """Transactions of known contacts at known locations; one in fifty has a bad amount."""
        records = []
        for _ in range(count):
            self.transactions += 1
            amount = round(self.rng.lognormvariate(3, 1), 2)
            records.append(
                {
                    "externalId": f"TX-{self.transactions:05d}",
                    "amount": -amount if self.rng.random() < 0.02 else amount,
                    "contact": self.rng.choice(self.contacts[-60:]),
                    "location": self.rng.choice(self.locations[-8:]),
                }
            )
        return records


def _schemas(world: World) -> None:
    def reference(schema: str) -> dict[str, str]:
        return {"$ref": f"reach:schemas/{schema}"}

    text = {"type": "string"}
    contacts = {"email": text, "referredBy": reference("contacts")}
    world.add_schema(
        "contacts", "contacts_schema", {**contacts, "homeLocation": reference("locations")}
    )
    world.add_schema(
        "locations", "locations_schema", {"name": text, "owner": reference("contacts")}
    )
    world.add_schema(
        "transactions",
        "transactions_schema",
        {
            "amount": {"type": "number", "minimum": 0},
            "contact": reference("contacts"),
            "location": reference("Locations"),  # names are matched ignoring case
        },
    )


def _demo(world: World, rng: random.Random) -> None:
    """Three tenants over eight hours; the third one runs into a deadlock."""
    _schemas(world)
    sizes = {"Harbour Books": 3, "Northside Dental": 2, "Pine & Co": 1}
    uploads = [
        _Upload(world, world.add_tenant(name, name.split()[0].upper()), rng) for name in sizes
    ]
    for upload, size in zip(uploads, sizes.values(), strict=True):
        for hour in range(8):
            _wave(upload, world.time + hour * HOUR + rng.random() * 20 * MINUTE, size)
    _failing_batch(uploads[1], world.time + 3 * HOUR)
    _deadlock(uploads[2], world.time + 5.5 * HOUR)


def _wave(upload: _Upload, at: datetime, size: int) -> None:
    """One hour's uploads: what is referred to often comes late, and some of it never."""
    rng = upload.rng
    first = not upload.contacts
    contacts, locations = upload.new_contacts(20 * size), upload.new_locations(1 + size)
    transactions = upload.new_transactions(60 * size)
    if not first:
        owners = {record["owner"] for record in locations}
        contacts = [r for r in contacts if rng.random() > _loss(r["externalId"], owners)]
    late = timedelta(0) if first else rng.choice([5, 20, 45, 100]) * MINUTE
    upload.send(at + late, "contacts", contacts, 3 * HOUR)
    upload.send(at + 2 * MINUTE, "locations", locations, 3 * HOUR)
    upload.send(
        at + (5 * MINUTE if first else timedelta(0)), "transactions", transactions, 2 * HOUR
    )


def _loss(name: str, owners: set[str]) -> float:
    return 0.2 if name in owners else 0.03


def _failing_batch(upload: _Upload, at: datetime) -> None:
    world, tenant_id = upload.world, upload.tenant.id
    records = upload.new_transactions(40)
    world.at(
        at,
        lambda: world.ingest(
            tenant_id, "transactions", records, message="The payload could not be decoded"
        ),
    )


def _deadlock(upload: _Upload, at: datetime) -> None:
    """A location owned by a contact whose home is that location, and sales at it."""
    owner = {"externalId": "CON-LOOP", "homeLocation": "LOC-LOOP"}
    shop = {"externalId": "LOC-LOOP", "name": "Shop Loop", "owner": "CON-LOOP"}
    sales = [{**sale, "location": "LOC-LOOP"} for sale in upload.new_transactions(12)]
    upload.send(at, "contacts", [owner], 4 * HOUR)
    upload.send(at + MINUTE, "locations", [shop], 4 * HOUR)
    upload.send(at + 2 * MINUTE, "transactions", sales, 4 * HOUR)


def _every(start: datetime, gap: timedelta, count: int) -> Iterator[datetime]:
    return (start + gap * (i + 1) for i in range(count))


_START = datetime(2026, 3, 2, 6, tzinfo=UTC)
_SCENARIOS = {
    "demo": Scenario("demo", _START, list(_every(_START, 20 * MINUTE, 24)), _demo),
}
