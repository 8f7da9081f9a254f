"""Zero-shot CLIP (Radford et al., 2021, arXiv 2103.00020): nothing trains."""

from dataclasses import dataclass

from methods.kit import Adapter, Clip, Method, Task


@dataclass(frozen=True)
class ZeroShot(Method):
    paper = "Radford et al., 2021"

    def attach(self, clip: Clip, task: Task) -> Adapter:
        return Adapter(clip)
