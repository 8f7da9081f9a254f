"""The end of a run: selection closes, the test split is read once, and everything is recorded."""

import json
import time
from collections.abc import Mapping, Sequence

from harness.evaluate import predict, scores
from harness.evaluate.predict import Table
from harness.run import result
from harness.run.adapter_files import adapter_bytes
from harness.run.cotrain import RunTraining
from harness.run.prepare import PreparedRun
from harness.run.result import Result
from harness.train.cache_plan import CachePlan, cache_record

AFFINITY = "task_affinity"  # the table of the cosines between gradients


def conclude(
    training: RunTraining, costs: Mapping[str, float], plans: Sequence[CachePlan], test: bool
) -> Result:
    """Validate, test unless ``test`` is false or the run was pruned, and return the result.

    ``costs`` are those of the training, ``plans`` what it cached for each task.
    """
    run, finished = training.run, not training.pruned
    spec, held_out, counts = run.spec, run.split.held_out, run.counts
    test = test and finished
    metrics = training.validate() if finished else {}
    predictions = []
    if test:
        held_out.close_selection()
        predictions = predict.predict_test(run.test_nets, held_out)
        metrics |= scores.scores(predictions, [p.name for p in held_out.parts if p.main])
    state = run.net.adapter.state()
    parameters = ("trainable", "stored", "inference", "head")
    metrics |= {f"params/{name}": getattr(counts, name) for name in parameters}
    cache_metrics, cache_sentence = cache_record(plans)
    metrics |= {"bytes/adapter": adapter_bytes(state), **costs, **cache_metrics, **run.costs}
    tags = result.tags(spec, run.backbone.device, test) | run.split.hashes | run.tags
    tags |= training.tags | {
        "backbone_hash": run.backbone.digest,
        "test_reads": str(held_out.reads),
        "test_parts": json.dumps(
            {p.name: {"classes": len(p.classnames), "images": len(p)} for p in held_out.parts}
        ),
        "cache": cache_sentence,
    }
    last = training.checkpoints[-1].epoch if training.pruned else spec.train.epochs
    return Result(
        spec=spec,
        status="finished" if finished else "pruned",
        started=run.started,
        ended=time.time(),
        metrics=metrics,
        tags=tags,
        losses=training.losses,
        counts=counts,
        predictions=predictions,
        classnames={part.name: part.classnames for part in held_out.parts},
        state=state if finished else {},
        tables=_tables(run) if test else {},
        checkpoints=training.checkpoints,
        error="" if finished else f"ended after epoch {last} of {spec.train.epochs}",
    )


def _tables(run: PreparedRun) -> dict[str, Table]:
    """Return what the method reports; of several tasks also the affinity of their gradients.

    A table of values that pass a site then has the rows of each task.
    """
    if run.affinity is None:
        return predict.method_tables(run.net, run.split.train)
    by_site = {r.table for r in run.net.adapter.wiring.reports if r.key is not None}
    tables: dict[str, Table] = {}
    names = [images.name for images in run.split.trains]
    for name, images in zip(names, run.split.trains, strict=True):
        for table, rows in predict.method_tables(run.test_nets[name], images).items():
            own = {f"{name} {row}": v for row, v in rows.items()} if table in by_site else rows
            tables.setdefault(table, {}).update(own)
    if run.affinity.shared:
        cosines = zip(names, run.affinity.matrix().tolist(), strict=True)
        tables[AFFINITY] = {a: dict(zip(names, row, strict=True)) for a, row in cosines}
    return tables
