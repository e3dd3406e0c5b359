"""``python -m tests.coverage [name …]``: run the studies, and put their tables into the page
docs/coverage.md between the marks that name them."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pandas as pd

from tests.coverage.study import STUDIES

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


def markdown(table: pd.DataFrame) -> str:
    rows = [
        table.columns.tolist(),
        ["---"] * table.shape[1],
        *table.astype(str).to_numpy().tolist(),
    ]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main(names: list[str]) -> None:
    for name in names or STUDIES:
        study, rounds, _ = STUDIES[name]
        began = time.monotonic()
        text = markdown(study(rounds))
        print(f"{name}: {rounds} rounds, {time.monotonic() - began:.0f} s\n{text}\n", flush=True)
        page = PAGE.read_text(encoding="utf-8")
        marks = f"<!-- {name} -->", f"<!-- /{name} -->"
        between = re.compile(f"{marks[0]}.*?{marks[1]}", re.DOTALL)
        fresh = f"{marks[0]}\n{text}\n{marks[1]}"
        PAGE.write_text(between.sub(lambda _, new=fresh: new, page), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
