"""A recorded step compiled by torch.compile: for long runs, as compiling takes a minute a shape.

The step is traced as it is taken, with its backward pass and all that it reads in place, so that
nothing of a method has to be understood. The optimiser's kernel is called as it is.
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
    """Records steps by compiling them."""

    keeps_gradients = False

    def record(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        step = _compiled(make_fx(run)())
        with torch.no_grad():
            loss, right = (t.clone() for t in step())

        def again() -> None:
            with torch.no_grad():
                for kept, new in zip((loss, right), step(), strict=True):
                    kept.copy_(new)

        return (loss, right), again

    def warm(self, run: Callable[[], Outcome]) -> Outcome:
        return run()


def _compiled(traced: GraphModule) -> Callable[[], Outcome]:
    """The graph with all before the optimiser's first kernel compiled."""
    for node in reversed(traced.graph.nodes):
        if "record_function" in str(node.target):  # marks for torch's profiler
            traced.graph.erase_node(node)
    traced.recompile()
    order = {node.name: i for i, node in enumerate(traced.graph.nodes)}
    moves = [
        n
        for n in traced.graph.nodes
        if getattr(n.target, "overloadpacket", None) in OPTIMIZER_KERNELS
    ]
    first = order[moves[0].name]
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # no GPU: no matter
    parts: Any = split_module(traced, torch.nn.Module(), lambda n: int(order[n.name] >= first))
    parts.submod_0 = torch.compile(parts.submod_0, fullgraph=True)
    found: Callable[[], Outcome] = parts
    return found
