"""AdamW or SGD over flat rows, each with its trial's learning rate, weight decay and schedule."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.model import run_options
from harness.spec.spec import TrainSpec
from harness.train.flat_parameters import OptimizerGroup

OptimizerRow = tuple[nn.Parameter, OptimizerGroup, TrainSpec]


class Optimizer:
    """torch's fused optimizers; rows with equal settings share a parameter group, hence a launch.

    Where steps are captured, learning rates are tensors on the device: a replay reads them there
    (harness/train/replay.py).
    """

    def __init__(self, rows: Sequence[OptimizerRow]) -> None:
        capturable = lr_on_device(rows)
        groups: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        for row, group, cfg in rows:
            key = (cfg.lr, cfg.weight_decay, cfg.momentum, cfg.warmup, cfg.final_lr, group)
            lr = cfg.lr * group.lr_factor
            settings: dict[str, Any] = {
                "params": [],
                "lr": torch.tensor(lr, device=row.device) if capturable else lr,
                "base_lr": lr,
                "weight_decay": cfg.weight_decay if group.decays else 0.0,
                "cfg": cfg,
            }
            groups.setdefault(cfg.optimizer, {}).setdefault(key, settings)["params"].append(row)
        self.optimizers: list[torch.optim.Optimizer] = []
        for name, by_key in groups.items():
            if name == "adamw":
                listed = list(by_key.values())
                self.optimizers.append(torch.optim.AdamW(listed, fused=True, capturable=capturable))
            else:
                self.optimizers.append(_sgd(list(by_key.values())))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def schedule(self, step: int, total: int) -> None:
        """Set the learning rates of a step."""
        for group in self.param_groups:
            lr = group["base_lr"] * lr_factor(step, total, group["cfg"])
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def retain(self, moved: Mapping[Tensor, Tensor]) -> None:
        """Continue with the new rows of the trials that stay; drop the state of the others."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["params"] = [moved[p] for p in group["params"] if p in moved]
            state = {moved[p]: s for p, s in optimizer.state.items() if p in moved}
            optimizer.state.clear()
            optimizer.state.update(state)
            optimizer.param_groups = [g for g in optimizer.param_groups if g["params"]]
        self.optimizers = [each for each in self.optimizers if each.param_groups]


def _sgd(groups: list[dict[str, Any]]) -> torch.optim.SGD:
    for group in groups:
        group["momentum"] = group["cfg"].momentum
    sgd = torch.optim.SGD(groups, lr=0.0, fused=True)
    for row in (row for group in groups for row in group["params"]):
        # as torch begins; a row that is inactive in the first step would begin without a buffer
        sgd.state[row]["momentum_buffer"] = torch.zeros_like(row)
    return sgd


def lr_on_device(rows: Sequence[OptimizerRow]) -> bool:
    """Return whether learning rates are tensors on the device of the rows."""
    return any(run_options.current().captures_steps(row.device) for row, _, _ in rows[:1])


def lr_factor(step: int, total: int, cfg: TrainSpec) -> float:
    """Return the learning rate's factor: linear warm-up, then half a cosine to ``final_lr``."""
    warm = round(cfg.warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1, total - warm)
    return cfg.final_lr + (1 - cfg.final_lr) * 0.5 * (1 + math.cos(math.pi * done))
