"""What the tenants of a scenario upload, generated from its seed."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Protocol

from reach_analytics.sandbox._specs import SchemaSpec, Stream, Tenant, Upload
from reach_analytics.sandbox._world.state import Record

Planned = tuple[datetime, str, dict[str, Any]]  # when, which tenant, what `Write` is to hold


class Plan(Protocol):
    """What traffic is made from: a `Scenario`."""

    @property
    def name(self) -> str: ...

    @property
    def start(self) -> datetime: ...

    @property
    def duration(self) -> timedelta: ...

    @property
    def tenants(self) -> list[Tenant]: ...

    @property
    def schemas(self) -> dict[str, SchemaSpec]: ...

    @property
    def streams(self) -> list[Stream]: ...

    @property
    def uploads(self) -> list[Upload]: ...

    @property
    def wave_every(self) -> timedelta: ...

    @property
    def wave_spread(self) -> timedelta: ...


class Traffic:
    """All uploads of a scenario; the same seed gives the same."""

    def __init__(self, scenario: Plan, seed: int) -> None:
        self._scenario = scenario
        self._seed = seed

    def uploads(self) -> Iterator[Planned]:
        """Each upload: when it arrives, whose it is, and what it contains."""
        ledgers = {
            t.external_id: _Ledger(self._scenario, t, self._seed) for t in self._scenario.tenants
        }
        for ledger in ledgers.values():
            yield from ledger.waves()
        for upload in self._scenario.uploads:
            yield ledgers[upload.tenant].single(upload)


class _Ledger:
    """What was generated for one tenant so far: every external id, uploaded or lost."""

    def __init__(self, scenario: Plan, tenant: Tenant, seed: int) -> None:
        self._scenario = scenario
        self._tenant = tenant
        self._random = random.Random(f"{scenario.name}/{tenant.external_id}/{seed}")
        self._ids: dict[str, list[str]] = defaultdict(list)

    def waves(self) -> Iterator[Planned]:
        scenario, me = self._scenario, self._tenant.external_id
        streams = [s for s in scenario.streams if s.tenants is None or me in s.tenants]
        for number in range(-(-scenario.duration // scenario.wave_every)):
            spread = scenario.wave_spread * self._random.random()
            begin = scenario.start + scenario.wave_every * number + spread
            for stream in streams:
                yield from self._wave(stream, begin, is_first=number == 0)

    def _wave(self, stream: Stream, begin: datetime, *, is_first: bool) -> Iterator[Planned]:
        rng = self._random
        records = self._new(stream.schema, stream.records * self._tenant.size)
        late = timedelta(0)
        if not is_first:
            late = rng.choice(stream.delays or [late])
            records = [record for record in records if rng.random() >= stream.lost]
        records = [r | stream.broken if rng.random() < stream.broken_share else r for r in records]
        rng.shuffle(records)
        for start in range(0, len(records), stream.batch_size):
            batch = records[start : start + stream.batch_size]
            yield self._planned(begin + stream.after + late, stream, batch)

    def single(self, upload: Upload) -> Planned:
        made = [record | upload.values for record in self._new(upload.schema, upload.records)]
        return self._planned(self._scenario.start + upload.at, upload, [*upload.given, *made])

    def _planned(self, at: datetime, part: Stream | Upload, records: list[Record]) -> Planned:
        write: dict[str, Any] = {
            "schema": part.schema,
            "items": records,
            "wait_s": int(part.wait.total_seconds()),
            "message": getattr(part, "message", None),
        }
        return at, self._tenant.external_id, write

    def _new(self, schema: str, count: int) -> list[Record]:
        spec = self._scenario.schemas[schema]
        return [self._record(schema, spec) for _ in range(count)]

    def _record(self, schema: str, spec: SchemaSpec) -> Record:
        rng, ids = self._random, self._ids
        external_id = f"{spec.prefix}{len(ids[schema]) + 1:0{spec.digits}d}"
        record: Record = {"externalId": external_id}
        for name, text in spec.texts.items():
            record[name] = text.replace("{id}", external_id)
        for name, (low, high) in spec.numbers.items():
            record[name] = round(math.exp(rng.uniform(math.log(low), math.log(high))), 2)
        for name, link in spec.links.items():
            known = ids[link.schema]
            if known and rng.random() < link.share:
                record[name] = known[-rng.randint(1, min(link.among, len(known)))]
        ids[schema].append(external_id)
        return record
