"""Protocols are defined once, for everything that lists, ranks, selects or sweeps them."""

import subprocess
import sys

from harness.spec.protocols import DEFINITIONS, SHIFTS
from harness.spec.quantities import HARMONIC_MEANS, QUANTITIES, VALIDATION
from harness.spec.spec import PROTOCOLS


def test_every_protocol_has_one_definition() -> None:
    assert sorted(DEFINITIONS) == sorted(PROTOCOLS)
    assert set(SHIFTS) < set(PROTOCOLS)
    for known in DEFINITIONS.values():
        assert set(known.tested) <= set(QUANTITIES)
        assert set(known.validated) <= set(VALIDATION) <= set(QUANTITIES)
    for whole, parts in HARMONIC_MEANS.items():
        assert {whole, *parts} <= set(QUANTITIES)


def test_what_checks_settings_needs_no_torch() -> None:
    modules = "harness.spec.protocols, harness.spec.environment, harness.data.templates"
    modules += ", harness.data.registry, harness.data.multi_task_sets, harness.spec.number_list"
    heavy = "{'torch', 'pandas', 'pyarrow', 'mlflow', 'optuna', 'open_clip'}"
    code = f"import sys, {modules}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
