"""The command: python -m tests.benchmarks [ROW ...] [--quick] [--scaling] [--json FILE] [--page]"""

import argparse
import gc
import os
import random
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import registry, report, scaling
from tests.benchmarks.measure import measure
from tests.benchmarks.reference_loop import folder
from tests.benchmarks.step_counts import COUNTS


def main(words: list[str]) -> int:
    given = arguments().parse_args(words)
    os.environ["RINGBENCH_HOME"] = str(folder())  # what is recorded on the way is thrown away
    warnings.filterwarnings("ignore")  # of libraries; results are checked
    random.seed(0)
    torch.set_num_threads(1)
    path = given.json or report.place()
    if given.scaling:
        found = {"scaling": [vars(curve) for curve in scaling.measured(given.quick)]}
    else:
        found = suite(given.rows, given.quick)
    record = report.write(path, **found)
    print(f"written: {path}")
    if given.page:
        scaling.draw(record.get("scaling", []), report.ROOT / "docs" / "scaling.png")
        report.page(record)
        print(f"written: {report.PAGE}")
    return int(bool(found.get("failed")))  # results can; times never: machines differ


def suite(words: list[str], quick: bool) -> dict[str, list[Any]]:
    """Counts (without words, or by their names) and timings; printed as they come."""
    counts = [word for word in words if word in COUNTS or word == "work"]
    wanted = [name for name in COUNTS if not words or name in counts or "work" in counts]
    found: dict[str, list[Any]] = {}
    if wanted:
        found["counts"] = [report.counted(c) for name in wanted for c in COUNTS[name]()]
        for c in found["counts"]:
            print(
                f"{c['row']:14} {c['case']}: {c['ours']:,.0f}, {c['peer'] or 'alone'}", flush=True
            )
    timed = [word for word in words if word not in counts]
    if words and not timed:
        return found
    found |= {"timings": [], "failed": []}
    for row in registry.find(timed):
        at = row.name
        try:
            for case in row.cases(quick):
                at = f"{row.name}, {case.name}"
                for timing in measure(row.name, case, quick):
                    found["timings"].append(report.timing(timing, row.about, case.facts))
                    print(report.sentence(found["timings"][-1]), flush=True)
                del case
                gc.collect()
        except Exception as error:  # the other rows are worth having
            traceback.print_exc()
            found["failed"].append({"what": at, "error": f"{type(error).__name__}: {error}"})
            print(f"{at}: failed", flush=True)
    return found


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", help="step.vision, step, work, ...; all without any")
    parser.add_argument("--quick", action="store_true", help="few rounds: whether it runs at all")
    parser.add_argument("--scaling", action="store_true", help="curves of time and memory instead")
    parser.add_argument("--json", type=Path, help="instead of reports/measured/<machine>.json")
    parser.add_argument("--page", action="store_true", help="write docs/speed.md from it")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
