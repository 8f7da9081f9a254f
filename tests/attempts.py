"""One run as suites and sweeps run it: what goes wrong becomes a result that says so."""

from typing import Any

from harness.run.execute import execute_all
from harness.run.result import Result
from harness.spec.spec import Spec


def attempt(spec: Spec, **options: Any) -> Result:
    (result,) = execute_all([spec], **options)
    return result
