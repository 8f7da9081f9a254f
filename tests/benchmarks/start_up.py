"""start: the time until a command has answered, beside a bare interpreter and importing torch."""

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.benchmarks.measure import Case
from tests.benchmarks.registry import row

COMMAND = "from harness.cli.main import main; main()"
INSTANT = (
    "--help", "--version", "run --help", "rum", "run --fast", "ls methods", "ls backbones",
    "run few_shot method=lora method.rnk=4 data=digits",
)  # fmt: skip
OF_A_LEDGER = ("ls runs", "leaderboard")
LEDGER = "suite few_shot methods=zero_shot,linear_probe data=digits shots=1 seeds=1-3 --quiet"
BARE, TORCH = "python -c pass", 'python -c "import torch"'


@row("start", "a command from the shell until it has answered; beside starting Python alone")
def cases(quick: bool) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as home:
        python(home, COMMAND, *shlex.split(LEDGER))
        for words in (INSTANT + OF_A_LEDGER)[:: 5 if quick else 1]:
            yield _case(words, home)


def _case(words: str, home: str) -> Case:
    seconds: dict[str, list[float]] = {"ours": [], BARE: []}
    facts: dict[str, Any] = {}

    def timed(name: str, program: str, *arguments: str) -> None:
        began = time.perf_counter()
        python(home, program, *arguments)
        seconds[name].append(time.perf_counter() - began)

    def conclude() -> None:
        ours, bare = (statistics.median(times[1:]) for times in seconds.values())
        facts["seconds above a bare interpreter"] = ours - bare

    arms = {
        f"ringbench {words}": partial(timed, "ours", COMMAND, *shlex.split(words)),
        TORCH: partial(python, home, "import torch"),
        BARE: partial(timed, BARE, "pass"),
    }
    return Case(
        f"ringbench {words}", arms, lambda: None, {TORCH: 1.0}, rounds=7, warm=1, clock="wall",
        facts=facts, after=conclude,
    )  # fmt: skip


def python(home: str, program: str, *arguments: str) -> None:
    """Run a program in a new interpreter to its end."""
    words = [sys.executable, "-c", program, *arguments]
    subprocess.run(words, env=os.environ | {"RINGBENCH_HOME": home}, capture_output=True)
