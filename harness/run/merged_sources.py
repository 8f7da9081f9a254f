"""Runs of the ledger that another one is made of, several at once (``method.sources``).

Named in full as the run that one starts from is (harness/run/warm_start.py), found by
harness/tracking/source_lookup.py.
"""

import json
from collections.abc import Mapping

from harness.data import leakage
from harness.model.backbone import Backbone
from harness.run import warm_start
from harness.run.warm_start import Source
from harness.spec.spec import Spec
from methods.kit.core.errors import UsageError

KEY = "method.sources"


def of(spec: Spec) -> dict[str, Source]:
    """The sources that a spec names, by their words. Raises UsageError."""
    return {word: warm_start.named(word, KEY) for word in spec.method.runs}


def check(spec: Spec, sources: Mapping[str, Source]) -> dict[str, str]:
    """Tags that say what a run is made of. Raises UsageError for a source that does not fit or has
    seen too much."""
    for source in sources.values():
        _fits(spec, source)
        leakage.check_leakage(spec, source.spec, dict(source.tags), KEY)
    return {"sources": json.dumps([_told(s) for s in sources.values()])} if sources else {}


def check_weights(sources: Mapping[str, Source], backbone: Backbone) -> None:
    """Raises UsageError for a source that was trained on other weights of the backbone."""
    for source in sources.values():
        warm_start.check_weights(source, backbone, KEY)


def costs(sources: Mapping[str, Source]) -> dict[str, float]:
    """What the training of the sources took, together."""
    if not sources:
        return {}
    return {"time/source_seconds": sum(source.seconds for source in sources.values())}


def _fits(spec: Spec, source: Source) -> None:
    warm_start.check_source(spec, source, KEY)
    there = source.spec
    if there.method_name != spec.method_name:
        raise UsageError(
            f"{KEY}: run {source.digest} is of {there.method_name}; what {spec.method_name} is made"
            f" of are its own runs, with {KEY}=[]"
        )
    for name in spec.method.shape:
        mine, its = getattr(spec.method, name), getattr(there.method, name)
        if mine != its:
            shown = ",".join(its) if isinstance(its, tuple) else its
            raise UsageError(
                f"{KEY}: run {source.digest} has method.{name}={shown}; say the same here"
            )


def _told(source: Source) -> dict[str, str | int]:
    spec = source.spec
    return {
        "digest": source.digest,
        "run": source.run_id,
        "dataset": spec.data.name,
        "shots": spec.data.shots,
        "seed": spec.seed,
    }
