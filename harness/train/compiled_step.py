"""Steps compiled by torch.compile, for long runs: compiling takes a minute per shape.

The executed step is traced with its backward pass and all that it reads in place, so nothing of a
method has to be understood. The optimizer's kernel is called as it is.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.split_module import split_module

from harness.train.gradients import Outcome

OPTIMIZER_KERNELS = (torch.ops.aten._fused_adamw_, torch.ops.aten._fused_sgd_)


class CompiledStepRecorder:
    """Captures steps by compiling them (harness/train/replay.py)."""

    keeps_gradients = False

    def capture(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        step = _compile(make_fx(run)())
        with torch.no_grad():
            loss, correct = (t.clone() for t in step())

        def repeat() -> None:
            with torch.no_grad():
                for old, new in zip((loss, correct), step(), strict=True):
                    old.copy_(new)

        return (loss, correct), repeat

    def warm_up(self, run: Callable[[], Outcome]) -> Outcome:
        return run()


def _compile(traced: GraphModule) -> Callable[[], Outcome]:
    """Compile the graph up to the optimizer's first kernel."""
    for node in reversed(traced.graph.nodes):
        if "record_function" in str(node.target):  # marks for torch's profiler
            traced.graph.erase_node(node)
    traced.recompile()
    nodes = list(traced.graph.nodes)
    updates = [getattr(n.target, "overloadpacket", None) in OPTIMIZER_KERNELS for n in nodes]
    before = set(nodes[: updates.index(True)])
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # no GPU: no matter
    parts: Any = split_module(traced, torch.nn.Module(), lambda node: int(node not in before))
    parts.submod_0 = torch.compile(parts.submod_0, fullgraph=True)
    compiled: Callable[[], Outcome] = parts
    return compiled
