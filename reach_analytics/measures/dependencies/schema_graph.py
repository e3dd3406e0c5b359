"""Which schemas wait for which, beside what their definitions declare."""

from __future__ import annotations

import pandas as pd

from reach_analytics.tables import DECLARED, DEPENDENCIES, SCHEMA_GRAPH, Frame

__all__ = ["schema_graph"]

_PAIR = ["schema_name", "missing_schema_name"]


def schema_graph(dependencies: Frame, declared: pd.DataFrame | None = None) -> pd.DataFrame:
    """The observed dependencies between schemas, and those that are declared.

    What is seen and not declared (``declared`` false) points at data that refers to the wrong kind
    of thing, or at a definition that changed since; what is declared and not seen has ``resources``
    0.

    Parameters
    ----------
    dependencies : pandas.DataFrame
        As from ``history.dependencies()``.
    declared : pandas.DataFrame, optional
        With the columns of ``tables.DECLARED``: which schema refers to which, by name or id.
        ``history.schema_graph(definitions)`` makes it from the API's definitions.

    Returns
    -------
    pandas.DataFrame
        tenant_id (null where it only is declared), schema_name, missing_schema_name (the id where
        a schema has no name; names as they are declared, if they are), resources and keys (counts)
        and declared (null without ``declared``). The most resources first.

    Raises
    ------
    FrameError
        If a frame lacks a needed column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import schema_graph
    >>> declared = pd.DataFrame({"schema_definition_id": ["1", "2"],
    ...                          "schema_name": ["sale", "shop"],
    ...                          "references_schema": ["Shop", "3"]})
    >>> print(schema_graph(tables.DEPENDENCIES.empty(), declared)
    ...       [["schema_name", "missing_schema_name", "declared"]].to_string(index=False))
    schema_name missing_schema_name  declared
           sale                shop      True
           shop                   3      True
    """
    key = ["tenant_id", "batch_id", "pending_id", "external_id"]
    names = ["schema_definition_id", "schema_name"]
    names += ["missing_schema_definition_id", "missing_schema_name", "missing_external_id"]
    dependencies = DEPENDENCIES.normalize(dependencies, [*key, *names], "schema_graph")
    named: dict[str, str] = {}
    if declared is not None:
        declared = DECLARED.normalize(declared, DECLARED.names, "schema_graph")
        named = _names(declared)
    seen = _seen(dependencies, key, named)
    if declared is None:
        return _ordered(seen)
    pairs = seen.merge(_said(declared, named), on=_PAIR, how="outer", indicator=True)
    pairs["declared"] = pairs["_merge"] != "left_only"
    return _ordered(pairs)


def _seen(dependencies: pd.DataFrame, key: list[str], named: dict[str, str]) -> pd.DataFrame:
    """Each pair of schemas with its resources and keys."""
    rows = dependencies.assign(
        **{
            f"{side}schema_name": _shown(
                dependencies[f"{side}schema_definition_id"],
                dependencies[f"{side}schema_name"],
                named,
            )
            for side in ("", "missing_")
        }
    )
    pair = ["tenant_id", *_PAIR]
    grouped = rows.drop_duplicates([*key, *_PAIR]).groupby(pair, dropna=False).size()
    missing = ["missing_schema_definition_id", "missing_external_id"]
    keys = rows.drop_duplicates([*pair, *missing]).groupby(pair, dropna=False).size()
    return pd.DataFrame({"resources": grouped, "keys": keys}).reset_index()


def _shown(ids: pd.Series, names: pd.Series, named: dict[str, str]) -> pd.Series:
    """The name of each schema: as declared for its id, or its own, or the first of its id."""
    known = ids.str.casefold().map(named, na_action="ignore").astype("object")
    by_name = names.str.casefold().map(named, na_action="ignore").astype("object")
    first = names.groupby(ids).transform("first").astype("object")
    return known.fillna(by_name).fillna(names).fillna(first).fillna(ids).astype("str")


def _names(declared: pd.DataFrame) -> dict[str, str]:
    """The name of each declared schema, by its name in small letters and by its id."""
    shown = declared["schema_name"].fillna(declared["schema_definition_id"])
    by_name = dict(zip(shown.str.casefold(), shown, strict=True))
    return by_name | dict(zip(declared["schema_definition_id"].str.casefold(), shown, strict=True))


def _said(declared: pd.DataFrame, named: dict[str, str]) -> pd.DataFrame:
    """The declared pairs, by name; a reference to an unknown schema as it is written."""
    target = declared["references_schema"]
    pairs = pd.DataFrame(
        {
            "schema_name": declared["schema_name"].fillna(declared["schema_definition_id"]),
            "missing_schema_name": target.str.casefold()
            .map(named, na_action="ignore")
            .astype("object")
            .fillna(target),
        }
    )
    return pairs.dropna().drop_duplicates().astype("str")


def _ordered(pairs: pd.DataFrame) -> pd.DataFrame:
    counts = pairs.assign(**{name: pairs[name].fillna(0) for name in ("resources", "keys")})
    return SCHEMA_GRAPH.conform(SCHEMA_GRAPH.in_order(counts))
