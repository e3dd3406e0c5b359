"""How it stands, in one or two sentences, and how severe that is."""

from __future__ import annotations

import pandas as pd

from reach_analytics._time import in_words
from reach_analytics.measures.overview.glance import Glance
from reach_analytics.measures.stories.phrases import listed, many, short

__all__ = ["sentences", "severity"]

_ENOUGH = 0.9  # of what waits: further uploads are not counted in the sentence
_UPLOADS = 20  # so many at most
_SCHEMAS = 3


def severity(glance: Glance, actions: pd.DataFrame) -> str:
    """``unknown``, ``critical``, ``warning`` or ``good``.

    Unknown where there are no batches, where nobody looked for so long that what waited may be
    over, or where nothing is to be done but counts leave open what became of records.
    """
    if glance.health.empty or glance.too_old:
        return "unknown"
    found = set(actions["severity"])
    if "critical" in found:
        return "critical"
    if found or glance.waiting:
        return "warning"
    return "unknown" if glance.unreconciled or glance.outdated else "good"


def sentences(glance: Glance, degree: str) -> list[str]:
    """The verdict: whether it landed, what waits and what frees it, what was lost."""
    if glance.health.empty:
        return ["Cannot tell: no batch was ever observed."]
    told = [f"Cannot tell how it stands: {_how_old(glance)}."] if glance.too_old else []
    if degree == "good":
        unclouded = not (glance.count("failed_batches") or glance.count("processing_batches"))
        well = unclouded and not glance.count("lost_records")
        told.append("All is well." if well else "There is nothing to do now.")
    told.append(_landed(glance))
    waits = _waits(glance)
    every = (*told, waits, _lost(glance), _unreconciled(glance), _outdated(glance))
    return [sentence for sentence in every if sentence]


def _how_old(glance: Glance) -> str:
    waiting = glance.waiting
    waited = f", and {many(waiting, 'record')} waited then" if waiting else ""
    return f"the last observation was {in_words(glance.age)} before{waited}"


def _landed(glance: Glance) -> str:
    batches, failed = glance.count("batches"), glance.count("failed_batches")
    if batches == 1:
        return f"The one batch {'failed' if failed else 'did not fail'}."
    return f"{f'{failed:,} of' if failed else 'None of the'} {batches:,} batches failed."


def _waits(glance: Glance) -> str:
    waiting, listing, soon = glance.waiting, glance.listed, glance.expiring_soon
    if not waiting:
        return "Nothing waits."
    told = f"{many(waiting, 'record')} {'waits' if waiting == 1 else 'wait'}"
    if listing < waiting:
        told += f", {f'{listing:,} of them' if listing else 'none of them'} listed"
    if soon:
        whole = "all of them die" if soon > 1 else "which dies"
        part = f"{soon:,} of them {'dies' if soon == 1 else 'die'}"
        told += f", {whole if soon == waiting else part} within the hour"
    freed = _freed(glance.plan, listing) if glance.of_tenants else ""
    return f"{told}; {freed}." if freed else f"{told}."


def _freed(plan: pd.DataFrame, waiting: int) -> str:
    """What the first uploads of the plan free."""
    useful = plan[plan["reason"].isna()] if len(plan) else plan
    if useful.empty or not waiting:
        return ""
    enough = (useful["running_total"] >= _ENOUGH * waiting).to_numpy()
    count = min(int(enough.argmax()) + 1 if enough.any() else len(useful), _UPLOADS)
    first = useful.iloc[:count]
    return f"uploading {_uploads(first)} frees {_part(int(first['running_total'].max()), waiting)}"


def _part(freed: int, waiting: int) -> str:
    if freed >= waiting:
        return "all of them" if waiting > 1 else "it"
    share = round(100 * freed / waiting)
    told = "less than 1" if share == 0 else "over 99" if share == 100 else str(share)
    return f"{told}\N{NO-BREAK SPACE}%"


def _uploads(plan: pd.DataFrame) -> str:
    """How many of which schemas; one that stands alone by its id."""
    schemas = plan["schema_name"].fillna("records without a schema")
    firsts = plan["external_id"].groupby(schemas, sort=False).first().to_dict()
    counts = schemas.value_counts(sort=False)
    shown = [
        f"{count:,} {short(name)}" if count > 1 else f"{short(firsts[name])} ({short(name)})"
        for name, count in counts.items()
    ]
    if len(shown) > _SCHEMAS:
        rest = int(counts.iloc[_SCHEMAS - 1 :].sum())
        shown = [*shown[: _SCHEMAS - 1], f"{rest:,} others"]
    return listed(shown, 0)


def _lost(glance: Glance) -> str:
    lost, least, most = (
        int(glance.health[name].sum()) for name in ("lost_records", "expired_min", "expired_max")
    )
    if not lost:
        return ""
    were = "was" if lost == 1 else "were"
    of = f"{lost:,} of {many(glance.count('total_records'), 'record')} {were} lost"
    if least == most:
        expired = "all of them" if lost == most else f"{least:,} of them"
    else:
        expired = f"{least:,} to {most:,} of them"
    return f"{of}, {expired} expired." if most else f"{of}."


def _unreconciled(glance: Glance) -> str:
    """That nobody can tell what became of some records, if so."""
    if not glance.unreconciled:
        return ""
    of = many(glance.unreconciled, "record")
    return f"What became of {of} is unknown: their batches count too little, or contradict it."


def _outdated(glance: Glance) -> str:
    """That what is told may be over by now, if so."""
    if not glance.outdated:
        return ""
    return f"That was {in_words(glance.silence)} ago: what waited or ran then may be over."
