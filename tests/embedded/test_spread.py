"""The spread between methods against the spread between seeds."""

import numpy as np
import pytest

from harness.embedded.build.spread import METRICS, spreads
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError


def run(method: str, seed: int, value: float, started: float = 0.0, **tags: str) -> Run:
    known = {"protocol": "base_to_novel", "dataset": "d", "configuration": "c"}
    known |= {"method": method, "seed": str(seed)} | tags
    metrics = dict.fromkeys(METRICS, value)
    return Run(f"{method}{seed}{started}", "finished", {}, metrics, known, started)


def test_spreads_are_those_of_an_analysis_of_variance() -> None:
    values = {"a": [50.0, 52.0, 51.0], "b": [60.0, 63.0, 60.0], "c": [55.0, 54.0, 59.0]}
    runs = [run(m, i, v) for m, row in values.items() for i, v in enumerate(row)]
    runs += [run("a", 0, 1.0, started=-1.0)]  # an older repeat
    runs += [run("zero_shot", i, 10.0) for i in range(3)]
    runs += [run("d", 0, 99.0)]  # a single seed says nothing of seeds
    found = {s.metric: s for s in spreads(runs)}["acc/base"]
    table = np.array(list(values.values()))
    assert found.methods == 3
    assert found.between == pytest.approx(table.mean(1).std(ddof=1))
    assert found.within == pytest.approx(np.sqrt(table.var(1, ddof=1).mean()))
    assert found.tells


def test_without_seeds_nothing_is_said() -> None:
    with pytest.raises(UsageError, match="two trained methods"):
        spreads([run("a", 0, 1.0), run("b", 0, 2.0)])
