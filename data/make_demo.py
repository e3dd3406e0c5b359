"""Makes ``data/demo``: what six looks at the sandbox's ``demo`` scenario leave in a store.

    python data/make_demo.py

The content is the same each time (the scenario is seeded); run ids, file names and the times in
the transaction log differ.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import reach_analytics as reach

PLACE = Path(__file__).parent / "demo"


def main() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    store = reach.Store(PLACE)
    with reach.sandbox.serve("demo") as sandbox, reach.Client(**sandbox.credentials) as client:
        for moment in sandbox.scenario.moments[3::4]:
            sandbox.advance(moment)
            print(reach.collect(client, store, run_id=f"{moment:%H:%M}", progress=False))


if __name__ == "__main__":
    main()
