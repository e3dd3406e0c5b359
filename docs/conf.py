"""How the documentation is built: `sphinx-build -W -b html docs build/docs`."""

from __future__ import annotations

from pathlib import Path

from reach_analytics import __version__, tables

project = "reach_analytics"
release = __version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["build"]
html_theme = "basic"
templates_path: list[str] = []

default_role = "code"  # `name` in a docstring is code
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository, as on its web page


def columns_page() -> str:
    """Every table with its columns, from the definitions themselves."""
    parts = [
        "# Tables\n\nGenerated from `reach.tables.describe`. Times are UTC. Rows are in the order "
        "that is stated, nulls last, whatever the order of the rows that a measure is given; where "
        "a frame is grouped, by its groups first.\n"
    ]
    frames = (*tables.FRAMES, *tables.MEASURES, *tables.OTHERS)
    named = [(f"stored {table.name}", table) for table in tables.STORED]
    for name, table in [*named, *((table.name, table) for table in frames)]:
        order = ", ".join(
            f"{column[1:]} (descending)" if column.startswith("-") else column
            for column in table.order
        )
        facts = {"One row": table.row, "Key": ", ".join(table.key), "Order": order}
        told = " ".join(f"{fact}: {value}." for fact, value in facts.items() if value)
        parts.append(f"## {name}\n\n{told}\n")
        rows = ["| column | type | null | meaning |", "| --- | --- | --- | --- |"]
        for column in tables.shown(table):
            null = "yes" if column.nullable else "no"
            doc = column.doc.replace("|", r"\|")
            rows.append(f"| `{column.name}` | {column.dtype} | {null} | {doc} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


(Path(__file__).parent / "reference" / "tables.md").write_text(columns_page(), encoding="utf-8")
