"""``ringbench ls spaces`` and ``ringbench ls sweeps``."""

import json
from typing import Any

from harness.cli.listing import Listing
from harness.spec.paths import home
from sweeps.space import definition


def spaces() -> Listing:
    rows: list[list[Any]] = []
    for name in definition.names():
        if name in definition.MADE:
            rows.append([name, "any", *definition.MADE[name]])
            continue
        found = definition.load(name)
        rows.append([name, found.method, ", ".join(found.keys), found.about])
    return ["space", "method", "keys", "what"], rows


def sweeps() -> Listing:
    rows: list[list[Any]] = []
    for path in sorted((home() / "sweeps").glob("*/sweep.json")):
        facts = json.loads(path.read_text())
        if facts["kind"] == "contest":
            aims, what = facts["objective"], ", ".join(m["label"] for m in facts["methods"])
            rows.append([facts["name"], "equal budget", what, aims, facts["goal"]])
            continue
        trials = len((path.parent / "trials.csv").read_text().splitlines()) - 1
        aims = ", ".join(facts["objectives"])
        rows.append([facts["name"], facts["space"], facts["method"], aims, f"{trials} trials"])
    return ["sweep", "space", "method", "objective", "so far"], rows
