"""What an SQL query names, and whether it does no more than read that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from reach_analytics.errors import QueryError

__all__ = ["ALLOWED", "Named", "named_in"]

ALLOWED = "sql takes one query that reads: SELECT, WITH, FROM, VALUES, DESCRIBE or SUMMARIZE"

_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS = {"generate_series", "json_each", "json_tree", "range", "unnest"}
# None of them leads out of the engine that runs the query: what they tell is how that was set up.
_FUNCTIONS = {
    "current_setting",
    "currval",
    "getenv",
    "getvariable",
    "in_search_path",
    "nextval",
    "setval",
    "sleep_ms",
    "write_log",
}
# What reads all columns of a table without naming them.
_WHOLE = {"STAR", "SHOW_REF", "PIVOT", "POSITIONAL_REFERENCE"}


@dataclass
class Named:
    """What a query names.

    Attributes
    ----------
    tables : list of str
        The tables, each once, as they are written here.
    """

    tables: list[str] = field(default_factory=list)
    _strings: set[str] = field(default_factory=set)
    _aliases: set[str] = field(default_factory=set)
    _ends: set[str] = field(default_factory=set)
    _is_whole: bool = False

    def columns(self, names: Sequence[str]) -> list[str]:
        """Those of a table's columns that the query may read; the last if it merely counts."""
        if self._is_whole or self._ends & self._aliases:  # a table's name stands for a whole row
            return list(names)
        return [name for name in names if name in self._strings] or list(names[-1:])


def named_in(serialized: str, tables: Iterable[str]) -> Named:
    """What a query names, as DuckDB's ``json_serialize_sql`` writes it.

    Parameters
    ----------
    serialized : str
        The query's syntax tree.
    tables : iterable of str
        The tables that there are, in lower case.

    Raises
    ------
    QueryError
        If it does anything but read these tables.
    """
    walk = _Walk(list(tables))
    try:
        tree = json.loads(serialized)
        if tree["error"]:
            raise QueryError(f"{ALLOWED}; found something else")
        for node in walk.inside(tree["statements"], frozenset()):
            walk.note(node)
    except RecursionError:
        raise QueryError("the query is nested too deeply; name its parts by WITH") from None
    return walk.named


class _Walk:
    """A walk over a syntax tree, all of which is looked at."""

    def __init__(self, tables: list[str]) -> None:
        self.named = Named()
        self._tables = tables

    def inside(self, tree: Any, scope: frozenset[str]) -> Iterator[dict[str, Any]]:
        """Every object of the tree, its tables checked; ``scope`` are the names that WITH gives."""
        if isinstance(tree, list):
            for item in tree:
                yield from self.inside(item, scope)
        elif isinstance(tree, dict):
            yield tree
            if tree.get("type") == "BASE_TABLE":
                self._refer(tree, scope)
            for part, own in _parts(tree, scope):
                yield from self.inside(part, own)
        elif isinstance(tree, str):
            self.named._strings.add(tree.lower())

    def note(self, node: Mapping[str, Any]) -> None:
        """Refuse what does not merely read, and note what reads all columns."""
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in _NODES:
            what = kind.removesuffix("_NODE").removesuffix("_QUERY")
            raise QueryError(f"{ALLOWED}; found {what} in it")
        if kind == "SHOW_REF" and not node.get("query"):
            raise QueryError(f"{ALLOWED}; found SHOW. There are: {', '.join(self._tables)}")
        if kind == "TABLE_FUNCTION":
            _check_table_function(node["function"])
        elif str(node.get("function_name", "")).lower() in _FUNCTIONS:
            raise QueryError(f"sql reaches no setting: it has no {node['function_name'].lower()}()")
        named = self.named
        named._is_whole |= kind in _WHOLE or node.get("ref_type") == "NATURAL"
        named._is_whole |= bool(node.get("column_name_alias"))
        if "class" not in node:  # no expression
            named._aliases.update(str(node.get(key, "")).lower() for key in ("alias", "table_name"))
        if kind == "COLUMN_REF":
            named._ends.add(node["column_names"][-1].lower())

    def _refer(self, node: Mapping[str, Any], scope: frozenset[str]) -> None:
        path = [node.get(key, "") for key in ("catalog_name", "schema_name", "table_name")]
        path = (node.get("qualified_name") or {}).get("path") or [name for name in path if name]
        name = path[-1].lower()
        if len(path) == 1 and name in scope:
            return
        if len(path) > 1 or name not in self._tables:
            raise QueryError(self._unknown(".".join(path)))
        if name not in self.named.tables:
            self.named.tables.append(name)

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name.lower(), self._tables, n=2)
        meant = f"; did you mean {' or '.join(near)}?" if near else ";"
        return f"the query names a table {name!r}{meant} There are: {', '.join(self._tables)}"


def _parts(tree: Mapping[str, Any], scope: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """The parts of an object, each with the names that WITH gives to it.

    A name is not known in its own query, unless that is recursive, nor in those before it.
    """
    inner = scope
    for entry in (tree.get("cte_map") or {}).get("map", []):
        yield entry["value"], inner
        inner |= {entry["key"].lower()}
    for key, part in tree.items():
        if key == "cte_map":
            continue
        is_recursive = key == "right" and tree.get("type") == "RECURSIVE_CTE_NODE"
        yield part, inner | {tree["cte_name"].lower()} if is_recursive else inner


def _check_table_function(function: Mapping[str, Any]) -> None:
    name = str(function.get("function_name", "")).lower()
    if name not in _TABLE_FUNCTIONS:
        there = ", ".join(f"{known}()" for known in sorted(_TABLE_FUNCTIONS))
        raise QueryError(
            f"sql reads the tables of the history and nothing else: FROM {name}() is none of "
            f"{there}"
        )
