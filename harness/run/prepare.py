"""A run before its training: what it trains on, and its method attached to the backbone."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.data.split import Split, load_split
from harness.evaluate import parameters
from harness.evaluate.parameters import Counts
from harness.model.backbone import Backbone, load_backbone
from harness.model.classifier import Classifier
from harness.run import source_checks
from harness.run.source_runs import SourceRun, recorded_sources, source_costs, source_key
from harness.run.warm_start import load_weights, ring_errors
from harness.spec.spec import Spec
from harness.train import multi_task
from harness.train.task_affinity import GradientAffinity
from methods.kit.contract.source_weights import SourceWeights


@dataclass(frozen=True)
class PreparedRun:
    """A run before its training: its data, its classifiers, and what is known of its sources."""

    spec: Spec
    started: float  # seconds since 1970
    split: Split
    net: Classifier
    train_nets: Sequence[Classifier]  # one for each data set that is trained on
    test_nets: Mapping[str, Classifier]  # one for each label space that is tested
    affinity: GradientAffinity | None  # of several data sets
    counts: Counts
    tags: dict[str, str]
    costs: dict[str, float]  # of its sources

    @property
    def backbone(self) -> Backbone:
        return self.net.backbone


def prepare(
    spec: Spec, device: torch.device, stages: Mapping[str, SourceRun], started: float
) -> PreparedRun:
    """Load what a run needs and attach its method to the backbone.

    Raises UsageError for what cannot be run.
    """
    backbone = load_backbone(spec.backbone, device)
    split = load_split(spec, backbone.transform)
    tags = source_checks.check_sources(spec)
    recorded = recorded_sources(spec)
    source_checks.check_weights(recorded.values(), backbone, source_key(spec))
    costs = source_costs(stages.values(), recorded.values())
    began = time.perf_counter()
    start = recorded.pop(spec.method.start, None)
    earlier = {name: run.state for name, run in {**stages, **recorded}.items()}
    net = attach(spec, backbone, split, earlier, load_weights(start, backbone) if start else None)
    if start:
        costs |= {"time/start_seconds": time.perf_counter() - began} | ring_errors(net.adapter)
    tasks = multi_task.task_classifiers(net, split) if spec.tasks else {}
    return PreparedRun(
        spec,
        started,
        split,
        net,
        train_nets=list(tasks.values()) or [net],
        test_nets=tasks or _test_classifiers(net, split),
        affinity=GradientAffinity(net.adapter, len(tasks), backbone.device) if tasks else None,
        counts=parameters.count_parameters(net.adapter),
        tags=tags,
        costs=costs,
    )


def attach(
    spec: Spec,
    backbone: Backbone,
    split: Split,
    earlier: Mapping[str, Mapping[str, Tensor]] | None = None,
    start: SourceWeights | None = None,
) -> Classifier:
    """Attach the method to the backbone, with initial values drawn from the run's seed alone.

    ``earlier`` are the states of stages and merged runs by name, ``start`` the weights of the run
    that this one is initialized from.
    """
    prompts = multi_task.training_prompts(backbone, split)
    task = replace(multi_task.training_task(split, prompts), earlier=earlier or {}, start=start)
    device = backbone.device
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.device(device):
        torch.manual_seed(spec.seed)
        adapter = spec.method.attach(backbone.clip, task)
    return Classifier(backbone, adapter, prompts[0])


def _test_classifiers(net: Classifier, split: Split) -> dict[str, Classifier]:
    """Return a classifier for each label space that is tested."""
    nets = {}
    for part in split.held_out.parts:
        known = part.classnames == split.train.classnames
        nets[part.name] = net
        if not known or part.templates != split.templates:
            prompts = net.backbone.prompts(part.templates, part.classnames)
            nets[part.name] = Classifier(net.backbone, net.adapter, prompts, known)
    return nets
