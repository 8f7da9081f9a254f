"""Checks of the earlier runs of a run: whether they fit, and what data they have seen."""

import json
from collections.abc import Iterable
from functools import lru_cache

from harness.data import leakage
from harness.model.backbone import Backbone
from harness.run.source_runs import SOURCES, START, SourceRun, recorded_sources, source_key
from harness.run.stages import stage_specs
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError


def check_sources(spec: Spec) -> dict[str, str]:
    """Return the tags that name the recorded sources of a run.

    Raises UsageError for a stage or a source that does not fit, or that has seen held-out data.
    """
    for name, stage in stage_specs(spec).items():
        _check_stage(spec, stage, name)
    sources, key = list(recorded_sources(spec).values()), source_key(spec)
    seen: dict[str, str] = {}
    for source in sources:
        _check_source(spec, source, key)
        seen = _check_leakage(spec, source.spec, tuple(source.tags.items()), key)
    if not sources:
        return {}
    if key == SOURCES:
        return {"sources": json.dumps([_summary(source) for source in sources])}
    facts = {f"start_{name}": str(value) for name, value in _summary(sources[0]).items()}
    method = sources[0].spec.method_name
    return {"start": facts.pop("start_digest"), "start_method": method} | facts | seen


@lru_cache(maxsize=1024)  # asked before a run and by the run itself; it reads every image
def _check_leakage(
    spec: Spec, source: Spec, tags: tuple[tuple[str, str], ...], key: str
) -> dict[str, str]:
    return leakage.check_leakage(spec, source, dict(tags), key)


_check_stage = lru_cache(maxsize=1024)(leakage.check_stage)


def _check_source(spec: Spec, source: SourceRun, key: str) -> None:
    theirs, run = source.spec, f"{key}: run {source.digest}"
    if theirs.backbone.name != spec.backbone.name:
        raise UsageError(
            f"{run} is on backbone {theirs.backbone.name!r}, this one on {spec.backbone.name!r}"
        )
    if theirs.method.stages() or theirs.method.runs:
        raise UsageError(f"{run} was trained in stages; take another")
    if key == START:
        return
    if theirs.method_name != spec.method_name:
        raise UsageError(
            f"{run} is of {theirs.method_name}; what {spec.method_name} merges are its own runs,"
            f" with {key}=[]"
        )
    for name in spec.method.shape:
        mine, its = getattr(spec.method, name), getattr(theirs.method, name)
        if mine != its:
            shown = ",".join(its) if isinstance(its, tuple) else its
            raise UsageError(f"{run} has method.{name}={shown}; say the same here")


def check_weights(sources: Iterable[SourceRun], backbone: Backbone, key: str) -> None:
    """Raise UsageError for a source that was trained on other weights of the backbone."""
    for source in sources:
        if source.tags.get("backbone_hash") != backbone.digest:
            raise UsageError(
                f"{key}: run {source.digest} was trained on other weights of {backbone.name}"
            )


def _summary(source: SourceRun) -> dict[str, str | int]:
    spec = source.spec
    return {
        "digest": source.digest,
        "run": source.run_id,
        "dataset": spec.data.name,
        "shots": spec.data.shots,
        "seed": spec.seed,
    }
