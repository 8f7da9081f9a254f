"""How a process computes the steps of its trainings; no way changes what is learnt."""

import torch

from methods.kit.core.errors import UsageError

STEP_MODES = {
    "auto": "recorded and replayed as CUDA graphs on a GPU, computed one by one on a CPU",
    "eager": "computed one by one",
    "compiled": "recorded, compiled by torch.compile, and replayed",
}


class StepMode:
    """``word`` is what the command line takes for ``--steps``."""

    def __init__(self) -> None:
        self.word = "auto"

    def use(self, word: str) -> None:
        """Raises UsageError for a word that is none of ``WAYS``."""
        if word not in STEP_MODES:
            raise UsageError(f"--steps {word!r}: expected {', '.join(STEP_MODES)}")
        self.word = word

    def records(self, device: torch.device) -> bool:
        """Whether steps are recorded on a device."""
        return self.word == "compiled" or (self.word == "auto" and device.type == "cuda")


step_mode = StepMode()
