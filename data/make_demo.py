"""Make ``data/demo``: the store that six passes over the sandbox's ``demo`` scenario leave.

    python data/make_demo.py

The content is the same each time (the scenario is seeded); run ids, file names and the times in
the transaction log differ. The log does not say on which machine it was made.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import reach_analytics as reach

STORE = Path(__file__).parent / "demo"


def main() -> None:
    """Make the store anew."""
    shutil.rmtree(STORE, ignore_errors=True)
    store = reach.Store(STORE)
    with reach.sandbox.serve("demo") as sandbox, reach.Client(**sandbox.credentials) as client:
        for moment in sandbox.scenario.moments[3::4]:
            sandbox.advance(moment)
            print(reach.collect(client, store, run_id=f"{moment:%H:%M}", progress=False))
    for entry in STORE.glob("*/_delta_log/*.json"):
        entry.write_text(without_location(entry.read_text(encoding="utf-8")), encoding="utf-8")


def without_location(entry: str) -> str:
    """A log entry without the directory in which its table was created."""
    actions = [json.loads(line) for line in entry.splitlines()]
    for action in actions:
        action.get("commitInfo", {}).get("operationParameters", {}).pop("location", None)
    return "\n".join(json.dumps(action, separators=(",", ":")) for action in actions)


if __name__ == "__main__":
    main()
