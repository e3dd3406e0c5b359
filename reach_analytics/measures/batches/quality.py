"""What the API reported, checked: rates against counts, counts against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from reach_analytics._plausible import MENDED
from reach_analytics.tables import BATCH_KEY, OBSERVATIONS, QUALITY, Frame, as_utc

__all__ = ["Part", "quality"]

_COUNTS = ["total", "processed", "successful", "pending", "failed"]
_CUMULATIVE = ["processed", "successful", "failed"]
_TIMES = ["created_at", "started_at", "completed_at"]
_KEY = BATCH_KEY
_FITS = 0.99  # share of batches that a definition of the rate has to explain


def quality(observations: Frame) -> pd.DataFrame:
    """Findings about the reported numbers: one row each, with the evidence.

    ``success_rate_definition`` says which of successful / total, successful / processed and
    successful / (successful + failed), as a fraction or a percentage, explains at least 99 % of
    the batches to within half a unit of the last digit that they report. It is ``unknown`` if none
    does, and names several if the batches seen cannot tell them apart. The other findings are
    about one batch:

    - ``success_rate_misfit``: its rate is not what that definition gives;
    - ``unusable_value``: an implausible time or count (a zero time, a negative count) or a number
      that is none, which counts as absent; of a list's members, how many and one of them;
    - ``mended_json``: its answer was not strictly JSON (half a surrogate pair, a ``NaN``);
    - ``negative_count``, in frames from elsewhere; ``sum_above_total``: successful + failed +
      pending > total;
    - ``count_went_back``: processed, successful or failed fell from one observation to the next;
    - ``times_out_of_order``: created, started and completed in another order;
    - ``near_miss_schema``: its schema's name has another id elsewhere, or a name that differs in
      case or surrounding space only.

    Parameters
    ----------
    observations : pandas.DataFrame
        As from ``history.observations()``; failed ones are left out.

    Returns
    -------
    pandas.DataFrame
        tenant_id, batch_id (null where a finding is about all), observed_at (UTC, of the
        observation that shows it first), finding and evidence. The definition comes first, if any
        rate was reported, then the findings by name, tenant, batch and time. No rows without
        observations.

    Raises
    ------
    FrameError
        If the frame lacks a documented column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import quality
    >>> observations = tables.OBSERVATIONS.conform(pd.DataFrame({
    ...     "tenant_id": ["t"], "batch_id": ["b"], "scope": ["detail"], "ok": [True],
    ...     "total_records": [10], "processed_records": [10], "successful_records": [6],
    ...     "failed_records": [2], "pending_records": [2], "success_rate": [75.0],
    ... }).assign(run_id="r", complete=True, sent_at=pd.Timestamp(0), received_at=pd.Timestamp(0)))
    >>> quality(observations)["evidence"][0]
    '100 * successful / (successful + failed) fits 1 of 1 batches'
    """
    needed = [*_KEY, "observed_at", "sent_at", "ok", "success_rate", *_TIMES]
    needed += [
        "schema_name",
        "schema_definition_id",
        "extra",
        *(f"{name}_records" for name in _COUNTS),
    ]
    observations = OBSERVATIONS.normalize(observations, needed, "quality")
    good = observations[observations["ok"].astype("boolean").fillna(False).to_numpy(bool)]
    seen = good[needed].sort_values([*_KEY, "sent_at"], ignore_index=True)
    seen = seen.rename(columns={f"{name}_records": name for name in _COUNTS})
    seen[_COUNTS] = seen[_COUNTS].astype("Float64").astype("float64")
    last = seen.drop_duplicates(_KEY, keep="last")
    definition, misfits = _rates(last)
    parts = [
        misfits,
        *_counts(seen),
        *_backwards(seen),
        *_orders(seen),
        *_set_apart(seen),
        _schemas(last),
    ]
    found = pd.concat([_rows(*part) for part in parts], ignore_index=True)
    found = found.drop_duplicates([*_KEY, "finding", "evidence"])
    return QUALITY.conform(pd.concat([definition, QUALITY.in_order(found)], ignore_index=True))


Part = tuple[str, pd.DataFrame, "pd.Series | list[str]"]


def _rows(finding: str, rows: pd.DataFrame, evidence: pd.Series | list[str]) -> pd.DataFrame:
    chosen = rows[[*_KEY, "observed_at"]].reset_index(drop=True)
    texts = pd.Series(list(evidence), index=chosen.index, dtype="str")
    return chosen.assign(finding=finding, evidence=texts).astype({"finding": "str"})


def _rates(last: pd.DataFrame) -> tuple[pd.DataFrame, Part]:
    """The definition of the reported rate, and the batches that it does not explain."""
    rated = last[last["success_rate"].notna()]
    decided = rated["successful"] + rated["failed"]
    bases = {
        "total": rated["total"],
        "processed": rated["processed"],
        "(successful + failed)": decided,
    }
    expected = {
        f"{scale}successful / {name}": factor * rated["successful"] / base.where(base > 0)
        for name, base in bases.items()
        for scale, factor in (("", 1), ("100 * ", 100))
    }
    table = pd.DataFrame(expected, index=rated.index)
    told = table.notna().all(axis=1)
    table, rates = table[told], rated.loc[told, "success_rate"]
    fits = table.sub(rates, axis=0).abs().le(_half_a_unit(rates), axis=0)
    share = fits.mean()
    best = share[share >= _FITS].index.tolist()
    if not len(rates):
        return _rows("", last.iloc[:0], []), ("success_rate_misfit", last.iloc[:0], [])
    count = len(rates)
    if best:
        text = f"{' or '.join(best)} fits {int(fits[best[0]].sum())} of {count} batches"
    else:
        closest = str(share.idxmax())
        text = f"unknown: {closest} comes closest, and fits {int(fits[closest].sum())} of {count}"
    head = pd.DataFrame({"finding": ["success_rate_definition"], "evidence": [text]})
    wrong = rates.index[~fits[best].any(axis=1)] if best else rates.index[:0]
    named = table.loc[wrong, best[0]] if best else table.iloc[:0, 0]
    texts = [
        f"success_rate {rate:g}, expected {value:g}"
        for rate, value in zip(rates[wrong], named, strict=True)
    ]
    return head, ("success_rate_misfit", rated.loc[wrong], texts)


def _half_a_unit(rates: pd.Series) -> pd.Series:
    """Half a unit of each number's last printed digit, and what doubles lose."""
    digits = [len(f"{rate!r}".partition(".")[2]) if rate % 1 else 0 for rate in rates.tolist()]
    return 0.5 * 10.0 ** -pd.Series(digits, index=rates.index) + 1e-9


def _counts(seen: pd.DataFrame) -> Iterator[Part]:
    for name in _COUNTS:
        odd = seen[seen[name] < 0]
        yield "negative_count", odd, [f"{name} {value:g}" for value in odd[name]]
    parts = seen[["successful", "failed", "pending"]].sum(axis=1, min_count=3)
    odd = seen[parts > seen["total"]]
    yield (
        "sum_above_total",
        odd,
        [
            f"successful {s:g} + failed {f:g} + pending {p:g} > total {t:g}"
            for s, f, p, t in odd[["successful", "failed", "pending", "total"]].to_numpy()
        ],
    )


def _backwards(seen: pd.DataFrame) -> Iterator[Part]:
    for name in _CUMULATIVE:
        known = seen[seen[name].notna()]
        before = known.groupby(_KEY, dropna=False)[name].shift()
        fell = known[name] < before
        odd = known[fell]
        texts = [f"{name} {b:g}, then {n:g}" for b, n in zip(before[fell], odd[name], strict=True)]
        yield "count_went_back", odd, texts


def _orders(seen: pd.DataFrame) -> Iterator[Part]:
    times = {name: as_utc(seen[name]) for name in _TIMES}
    for i, earlier in enumerate(_TIMES):
        for later in _TIMES[i + 1 :]:
            swapped = times[earlier] > times[later]
            texts = [
                f"{earlier} {a.isoformat()} after {later} {b.isoformat()}"
                for a, b in zip(times[earlier][swapped], times[later][swapped], strict=True)
            ]
            yield "times_out_of_order", seen[swapped], texts


# Where a document holds times and numbers; what stands in ``extra`` there was set apart.
_PLACES = [
    *("createdAt", "startedAt", "completedAt"),
    *(f"progress.{name}Records" for name in _COUNTS),
    "progress.successRate",
]
_OF_RESOURCES = ["createdAt", "expiresAt"]


def _set_apart(seen: pd.DataFrame) -> Iterator[Part]:
    """What was set apart when the observations were read."""
    told = seen[seen["extra"].notna()].drop_duplicates([*_KEY, "extra"])
    values: list[tuple[int, str]] = []
    mended: list[tuple[int, str]] = []
    for place, text in zip(told.index, told["extra"], strict=True):
        extra = _object(text)
        values += [(place, found) for found in _unusable(extra)]
        counts = extra.get(MENDED)
        if isinstance(counts, dict) and counts:
            mended.append((place, ", ".join(f"{name}: {n}" for name, n in counts.items())))
    for finding, found in (("unusable_value", values), ("mended_json", mended)):
        yield finding, seen.loc[[place for place, _ in found]], [text for _, text in found]


def _object(text: Any) -> dict[str, Any]:
    """The JSON object in a text; an empty one if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _unusable(extra: dict[str, Any]) -> Iterator[str]:
    """What stands in the place of a time or number and is not used, in words."""
    progress = extra.get("progress")
    for place in _PLACES:
        group, _, name = place.rpartition(".")
        own = progress if group else extra
        if isinstance(own, dict) and name in own:
            yield f"{place} {_short(own[name])}"
    resources = extra.get("pendingResources")
    members = list(resources.values()) if isinstance(resources, dict) else []
    for name in _OF_RESOURCES:
        odd = [own[name] for own in members if isinstance(own, dict) and name in own]
        if odd:
            shown = min(map(_short, odd))
            yield f"{name} of {len(odd)} pending resources, as {shown}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]} …"


def _schemas(last: pd.DataFrame) -> Part:
    """Batches whose schema's name, apart from case and space, stands for another schema too."""
    named = last[last["schema_name"].notna()]
    plain = named["schema_name"].str.strip().str.casefold()
    pair = named["schema_name"] + " " + named["schema_definition_id"].fillna("without id")
    groups = [named["tenant_id"], plain]
    several = pair.groupby(groups).transform("nunique") > 1
    usual = pair.groupby(groups).transform(lambda pairs: pairs.value_counts().sort_index().idxmax())
    odd = several & (pair != usual)
    texts = [
        f"schema {own}, elsewhere {other}" for own, other in zip(pair[odd], usual[odd], strict=True)
    ]
    return "near_miss_schema", named[odd], texts
