"""``ringbench ls spaces`` and ``ringbench ls sweeps``."""

from typing import Any

from harness.cli.listing import Listing
from harness.tracking.sweep_record import read_sweep, sweep_names
from sweeps.space.definition import GENERATED, load_space, space_names


def spaces() -> Listing:
    rows: list[list[Any]] = []
    for name in space_names():
        if name in GENERATED:
            rows.append([name, "any", *GENERATED[name]])
            continue
        space = load_space(name)
        rows.append([name, space.method, ", ".join(space.keys), space.about])
    return ["space", "method", "keys", "what"], rows


def sweeps() -> Listing:
    rows: list[list[Any]] = []
    for record in map(read_sweep, sweep_names()):
        facts = record.facts
        if record.is_comparison:
            labels = ", ".join(candidate["label"] for candidate in facts["methods"])
            rows.append([record.name, "equal budget", labels, facts["objective"], facts["goal"]])
            continue
        objectives, so_far = ", ".join(facts["objectives"]), f"{record.trial_count()} trials"
        rows.append([record.name, facts["space"], facts["method"], objectives, so_far])
    return ["sweep", "space", "method", "objective", "so far"], rows
