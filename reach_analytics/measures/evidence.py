"""What the resources' lists show of the dependencies: when each was missing, when it was there."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.columns import as_utc

_SPELL = ["tenant_id", "batch_id", "pending_id", "resource_external_id", "schema_definition_id"]
_OWN = ["tenant_id", "schema_definition_id", "resource_external_id"]
_MISSING = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
_KEY = ["tenant_id", "schema_definition_id", "external_id"]


def links(spells: pd.DataFrame, spell_dependencies: pd.DataFrame) -> pd.DataFrame:
    """The dependencies of the spells, by number.

    Columns: spell (row of ``spells``), key (number in the order of names), _KEY and schema_name of
    it, named (whether it has a whole key; others name nothing), first_missing, last_missing,
    last_missing_by, there_by (UTC), at_last (whether the last look at the resource lists it).
    """
    numbered = spells[_SPELL].assign(spell=np.arange(len(spells)))
    numbered = numbered.assign(last_seen=spells["last_seen"].array)
    wide = spell_dependencies.merge(numbered, on=_SPELL, how="inner")
    unnamed = wide[_MISSING].isna().any(axis=1)
    names = wide[_MISSING].set_axis(_KEY, axis=1)
    return names.assign(
        key=names.groupby(_KEY, dropna=False).ngroup(),
        named=~unnamed,
        schema_name=wide["missing_schema_name"],
        spell=wide["spell"],
        first_missing=as_utc(wide["first_missing"]),
        last_missing=as_utc(wide["last_missing"]),
        last_missing_by=as_utc(wide["last_missing_by"]),
        there_by=as_utc(wide["there_by"]),
        at_last=as_utc(wide["last_missing"]) >= wide["last_seen"],
    )


def presence(links: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Per key, ``missing_until`` (the last look that lists it was sent then), ``there_by`` (first
    proof that it is there), and whether it is ``steady``: not missing again after that proof.

    A resource that was released had all that it missed at last by then.
    """
    times = links.groupby("key")[["last_missing", "last_missing_by"]].max()
    proof = proof_times(links, judged).groupby(links["key"]).min()
    steady = ~(proof <= times["last_missing_by"])
    steady &= links.groupby("key")["named"].all()  # one without a whole key is nobody's other
    return pd.DataFrame(
        {"missing_until": times["last_missing"], "there_by": proof, "steady": steady}
    )


def next_missing(links: pd.DataFrame, key: pd.Series, since: pd.Series) -> pd.Series:
    """For each key, when the answer to the first look from ``since`` on that ends a listing of it
    as missing had come; null if there is none."""
    keys = np.concatenate([key.to_numpy("int64"), links["key"].to_numpy("int64")])
    times = pd.concat([since, links["last_missing"]], ignore_index=True)
    listed = np.repeat([False, True], [len(key), len(links)])
    # In order of time within each key, a moment asked about before a look at that moment; then the
    # nearest look behind each.
    order = np.lexsort((listed, times.to_numpy("datetime64[us]"), keys))
    behind = np.where(listed[order], np.arange(len(order)), len(order))
    behind = np.minimum.accumulate(behind[::-1])[::-1]
    found = np.append(order, -1)[behind]
    same = (found >= 0) & (keys[found] == keys[order]) if len(order) else np.zeros(0, bool)
    answer = np.empty(len(order), np.int64)
    answer[order] = np.where(same, found, -1)
    asked = answer[: len(key)]
    came = pd.concat([since, links["last_missing_by"]], ignore_index=True)
    late = came.reindex(asked).reset_index(drop=True)
    return late.where((asked >= 0) & since.notna().to_numpy())


def proof_times(links: pd.DataFrame, judged: pd.DataFrame) -> pd.Series:
    """For each link, by when it proves its key to be there; null where it does not."""
    released = (judged["verdict"] == "released").fillna(False).to_numpy(bool)
    ended = judged["ended_by"] if "ended_by" in judged else judged["gone_by"]
    spell = links["spell"].to_numpy()
    proves = links["at_last"].to_numpy(bool) & released[spell]
    gone = pd.Series(ended.array[spell], index=links.index)
    return links["there_by"].where(~proves, gone)


def roots(spells: pd.DataFrame, links: pd.DataFrame) -> dict[str, pd.Series]:
    """What each spell hung on at last, followed up the chain of waiting resources.

    Of several dependencies the one that most spells hung on counts; ties go by name. What waits in
    a circle hangs on one of its members.
    """
    last = links[links["at_last"]]
    named = pd.concat([last[_KEY], spells[_OWN].set_axis(_KEY, axis=1)], ignore_index=True)
    number = named.groupby(_KEY, dropna=False).ngroup().to_numpy()
    missing, own = number[: len(last)], number[len(last) :]
    size = int(number.max(initial=-1)) + 1
    width = np.bincount(missing, minlength=size)
    order = np.lexsort((missing, -width[missing], last["spell"]))
    spell, first = np.unique(last["spell"].to_numpy()[order], return_index=True)
    choice = np.full(len(spells), -1)
    choice[spell] = missing[order][first]
    above = np.arange(size)
    waits = np.flatnonzero(choice >= 0)
    waits = waits[np.argsort(-choice[waits], kind="stable")]  # the first by name is set last
    above[own[waits]] = choice[waits]
    for _ in range(size.bit_length()):  # twice as far up each time
        above = above[above]
    root = np.where(choice >= 0, above[choice] if size else choice, -1)
    names = named.iloc[np.unique(number, return_index=True)[1]].reset_index(drop=True)
    found = names.reindex(root).reset_index(drop=True)
    return {
        "root_schema_definition_id": found["schema_definition_id"],
        "root_external_id": found["external_id"],
    }
