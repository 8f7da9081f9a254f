"""A run before and after its training: what it trains on, and what is written of it at the end."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from harness.data.split import Split, load_split
from harness.evaluate import cost, parameters, predict, scores
from harness.evaluate.parameters import Counts
from harness.evaluate.predict import Table
from harness.model.backbone import Backbone, load_backbone
from harness.model.classifier import Classifier
from harness.run import result, source_checks
from harness.run.adapter_files import adapter_bytes
from harness.run.pruning import Checkpoint, PruningRule
from harness.run.result import Result
from harness.run.source_runs import SourceRun, recorded_sources, source_costs, source_key
from harness.run.warm_start import load_weights, ring_errors
from harness.spec.spec import Spec
from harness.train import cache_plan, multi_task
from harness.train.cache_plan import CachePlan
from harness.train.fit import EpochRow, fit_trial
from harness.train.step import StepHook
from harness.train.task_affinity import GradientAffinity
from harness.train.trial_group import Trial
from methods.kit.contract.source_weights import SourceWeights


@dataclass
class Prepared:
    """Everything of a run but its training; ``losses`` and ``checkpoints`` fill up on the way."""

    spec: Spec
    started: float
    backbone: Backbone
    split: Split
    net: Classifier
    nets: Mapping[str, Classifier]  # one for each label space that is tested
    train_nets: Sequence[Classifier]  # one for each data set that is trained on
    affinity: GradientAffinity | None  # of several data sets
    counts: Counts
    tags: dict[str, str]
    metrics: dict[str, float]  # what stages and the start took
    losses: list[float] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def training(self, step_hook: StepHook) -> tuple[list[CachePlan], Iterator[EpochRow]]:
        """What is cached for each data set, and the epochs to come."""
        spec, nets, data = self.spec, self.train_nets, self.split.trains
        cfg, seed, views = spec.train, spec.seed, spec.data.views
        plans = [
            cache_plan.make_plan(net, images, cfg, seed, views, share=len(nets))
            for net, images in zip(nets, data, strict=True)
        ]
        trial = Trial(self.net.adapter, cfg, seed, tuple(data))
        after_step = self.affinity.after_step if self.affinity else None
        return plans, fit_trial(nets, plans, trial, step_hook, after_step)

    def tables(self) -> dict[str, Table]:
        """What the method reports of itself."""
        if self.affinity is not None:
            return _multi_task_tables(self.nets, self.split, self.affinity)
        return predict.method_tables(self.net, self.split.train)

    def looked(self, row: EpochRow, pruning: PruningRule | None, meter: cost.Meter) -> bool:
        """Whether the run goes on after an epoch, looking at validation images if it is time."""
        epoch = row.epoch + 1
        if pruning is None or epoch not in pruning.epochs or epoch >= row.epochs:
            return True
        with meter.paused(), _untrained(self.net):
            self.checkpoints.append(Checkpoint(epoch, self.validated()))
            return pruning.goes_on(self.checkpoints[-1])

    def validated(self) -> dict[str, float]:
        """Scores on the validation images, each part by the classifier of its label space."""
        found = [predict.predict(self.nets[part.name], part, again=True) for part in self.split.val]
        return scores.val_scores(found)

    def conclude(
        self,
        took: dict[str, float],
        plans: Sequence[CachePlan],
        test: bool = True,
        goes_on: bool = True,
    ) -> Result:
        """Close selection, test, and say all that is recorded. ``took``: the cost of training."""
        spec, held_out = self.spec, self.split.held_out
        metrics = self.validated() if goes_on else {}
        predictions = []
        test = test and goes_on
        if test:
            held_out.close_selection()
            predictions = predict.predict_test(self.nets, held_out)
            main = [part.name for part in held_out.parts if part.main]
            metrics |= scores.scores(predictions, main)
        state = self.net.adapter.state()
        metrics |= _costs(self.counts, state) | took
        cache_metrics, cache_sentence = cache_plan.cache_record(plans)
        metrics |= cache_metrics
        parts = {
            part.name: {"classes": len(part.classnames), "images": len(part)}
            for part in held_out.parts
        }
        return Result(
            spec=spec,
            status="finished" if goes_on else "pruned",
            started=self.started,
            ended=time.time(),
            metrics=metrics | self.metrics,
            tags=result.tags(spec, self.backbone.device, test)
            | self.split.hashes
            | self.tags
            | {
                "backbone_hash": self.backbone.digest,
                "test_reads": str(held_out.reads),
                "test_parts": json.dumps(parts),
                "cache": cache_sentence,
            },
            losses=self.losses,
            counts=self.counts,
            predictions=predictions,
            classnames={part.name: part.classnames for part in held_out.parts},
            state=state if goes_on else {},
            tables=self.tables() if test else {},
            checkpoints=self.checkpoints,
            error=""
            if goes_on
            else f"ended after epoch {self.checkpoints[-1].epoch} of {spec.train.epochs}",
        )


def prepare(
    spec: Spec, device: torch.device, stages: Mapping[str, SourceRun], started: float
) -> Prepared:
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
    tasks = multi_task.task_classifiers(net, split) if spec.tasks else None
    affinity = tasks and GradientAffinity(net.adapter, len(tasks), backbone.device)
    return Prepared(
        spec,
        started,
        backbone,
        split,
        net,
        tasks or testers(net, split, backbone),
        list(tasks.values()) if tasks else [net],
        affinity or None,
        parameters.count_parameters(net.adapter),
        tags,
        costs,
    )


def attach(
    spec: Spec,
    backbone: Backbone,
    split: Split,
    earlier: Mapping[str, Mapping[str, Tensor]] | None = None,
    start: SourceWeights | None = None,
) -> Classifier:
    """The method on the backbone, with initial values drawn from the run's seed alone.

    ``earlier``: what the method's stages trained; ``start``: what the run learnt that it begins
    with.
    """
    prompts = multi_task.prompts_of(backbone, split)
    task = replace(multi_task.task_of(split, prompts), earlier=earlier or {}, start=start)
    with torch.random.fork_rng(devices=_cuda(backbone.device)), torch.device(backbone.device):
        torch.manual_seed(spec.seed)
        adapter = spec.method.attach(backbone.clip, task)
    return Classifier(backbone, adapter, prompts[0])


def testers(net: Classifier, split: Split, backbone: Backbone) -> dict[str, Classifier]:
    """A classifier for each label space that is tested."""
    testers = {}
    for part in split.held_out.parts:
        known = part.classnames == split.train.classnames
        testers[part.name] = net
        if not known or part.templates != split.templates:
            prompts = backbone.prompts(part.templates, part.classnames)
            testers[part.name] = Classifier(backbone, net.adapter, prompts, known)
    return testers


@contextmanager
def _untrained(net: Classifier) -> Iterator[None]:
    """The adapter as it is after training, for a look in between."""
    net.adapter.eval()
    try:
        yield
    finally:
        net.adapter.train()


def _costs(counts: Counts, state: dict[str, Tensor]) -> dict[str, float]:
    return {
        "params/trainable": counts.trainable,
        "params/stored": counts.stored,
        "params/inference": counts.inference,
        "params/head": counts.head,
        "bytes/adapter": adapter_bytes(state),
    }


def _cuda(device: torch.device) -> list[Any]:
    return [device] if device.type == "cuda" else []


AFFINITY = "task_affinity"  # the table of the cosines between gradients


def _multi_task_tables(
    nets: Mapping[str, Classifier], split: Split, affinity: GradientAffinity
) -> dict[str, Table]:
    """What the method reports of itself, and the affinity of the tasks.

    A table of values that pass a site has the rows of each task.
    """
    by_site = {r.table for r in affinity.adapter.wiring.reports if r.key is not None}
    found: dict[str, Table] = {}
    for images in split.trains:
        name = images.name
        for table, rows in predict.method_tables(nets[name], images).items():
            own = {f"{name} {row}": v for row, v in rows.items()} if table in by_site else rows
            found.setdefault(table, {}).update(own)
    if affinity.shared:
        cosines = zip(nets, affinity.matrix().tolist(), strict=True)
        found[AFFINITY] = {a: dict(zip(nets, row, strict=True)) for a, row in cosines}
    return found
