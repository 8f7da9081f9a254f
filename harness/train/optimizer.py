"""AdamW or SGD over flat rows, each with the rate, decay and schedule of its trial."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.spec.spec import TrainSpec
from harness.train.execution_mode import step_mode
from harness.train.flat_parameters import OptimizerGroup, ParameterBuffer

OptimizerRow = tuple[nn.Parameter, OptimizerGroup, TrainSpec]


class Optimizer:
    """torch's fused optimisers; rows that are moved alike share a group, hence a launch.

    The rates lie on the device where steps are recorded: those find them anew
    (harness/train/replay.py).
    """

    def __init__(self, rows: Sequence[OptimizerRow]) -> None:
        live = lr_on_device(rows)
        groups: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        for row, kind, cfg in rows:
            key = (cfg.lr, cfg.weight_decay, cfg.momentum, cfg.warmup, cfg.final_lr, kind)
            rate = cfg.lr * kind.rate
            fresh: dict[str, Any] = {
                "params": [],
                "lr": torch.tensor(rate, device=row.device) if live else rate,
                "base": rate,
                "weight_decay": cfg.weight_decay if kind.decays else 0.0,
                "cfg": cfg,
            }
            groups.setdefault(cfg.optimizer, {}).setdefault(key, fresh)["params"].append(row)
        self.parts: list[torch.optim.Optimizer] = []
        for name, mine in groups.items():
            listed = list(mine.values())
            if name == "adamw":
                self.parts.append(torch.optim.AdamW(listed, fused=True, capturable=live))
            else:
                for group in listed:
                    group["momentum"] = group["cfg"].momentum
                sgd = torch.optim.SGD(listed, lr=0.0, fused=True)
                for row in (row for group in listed for row in group["params"]):
                    # as torch begins; rows that sleep in the first step would begin without
                    sgd.state[row]["momentum_buffer"] = torch.zeros_like(row)
                self.parts.append(sgd)

    @property
    def groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def schedule(self, step: int, total: int) -> None:
        """Set the rates of a step."""
        for group in self.groups:
            rate = group["base"] * lr_factor(step, total, group["cfg"])
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def follow(self, moved: Mapping[Tensor, Tensor]) -> None:
        """Go on with the new rows of those that stay; what was learnt of the others is dropped."""
        for part in self.parts:
            for group in part.param_groups:
                group["params"] = [moved[p] for p in group["params"] if p in moved]
            state = {moved[p]: s for p, s in part.state.items() if p in moved}
            part.state.clear()
            part.state.update(state)
            part.param_groups = [g for g in part.param_groups if g["params"]]
        self.parts = [part for part in self.parts if part.param_groups]


def lr_on_device(rows: Sequence[OptimizerRow]) -> bool:
    """Whether the rates are tensors beside the rows."""
    return any(step_mode.records(row.device) for row, _, _ in rows[:1])


def lr_factor(step: int, total: int, cfg: TrainSpec) -> float:
    """The factor on the learning rate: linear warm-up, then half a cosine to ``final_lr``."""
    warm = round(cfg.warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1, total - warm)
    return cfg.final_lr + (1 - cfg.final_lr) * 0.5 * (1 + math.cos(math.pi * done))


def optimizer_rows(leaf: ParameterBuffer, cfgs: Sequence[TrainSpec]) -> list[OptimizerRow]:
    """The rows of a leaf with what their trials say."""
    return [(row, leaf.kind, cfg) for row, cfg in zip(leaf.rows, cfgs, strict=True)]
