"""Runs on the CPU and elsewhere, their numbers as JSON: python -m tests.other_device_runs

In a process of its own, as torch wants to know its devices before the first backward pass.
"""

import json
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

import methods
from harness.data import registry
from harness.run import config, cotrain, execute
from harness.run.result import Result
from harness.spec.paths import home_path
from harness.spec.spec import Spec
from harness.train import optimizer, replay
from harness.train.gradients import Outcome
from tests import other_device
from tests.harness.train.tape import Tape

TINY = Path(__file__).parent / "tiny" / "flat.json"
FEW = ("few_shot", "data=OWN", "shots=2", "train.epochs=2", "train.batch_size=4")
UPPER = ("method.layers=top:1", "data.views=2")
TASKS = (
    "multi_task",
    "data=digits+fashion-mnist",
    "shots=1",
    "train.batch_size=4",
    "train.epochs=2",
)
CLASSES, EACH = 4, 8  # of the digits, cut small
TEACHER = ("consistency_image=1", "consistency_text=1", "consistency_logits=0.3")

RUNS: dict[str, tuple[str, ...]] = {
    **{name: (*FEW, f"method={name}") for name in methods.names()},
    "novel classes": ("base_to_novel", *FEW[1:3], "train.epochs=4", "train.batch_size=4",
                      "method=adaring", "train.augment=none"),
    "cached images": (*FEW, "method=lora", "method.towers=image", *UPPER),
    "cached text": (*FEW, "method=lora", "method.towers=text", "method.layers=top:1"),
    "a teacher": (*FEW, "method=adaring", *(f"method.{word}" for word in TEACHER)),
    "form adapter": (*FEW, "method=adaring", "method.form=adapter", "method.ranks=[[1,4],[2,2]]"),
    "a gate": (*FEW, "method=adaring", "method.form=adapter", "method.combine=input_gate",
               "method.ranks=[[1,4],[2,2]]"),
    "merged by activations": (*FEW, "method=mera", "method.merge=ot_activations"),
    "several tasks": (*TASKS, "method=lora"),
    "several tasks, vtagml": (*TASKS, "method=vtagml"),
    "sgd": (*FEW, "method=lora", "train.optimizer=sgd", "train.clip_grad=1"),
}  # fmt: skip
REPLAYABLE = (
    "method=lora", "method=lora method.rank=2 train.lr=1e-4", "method=adaring",
    "method=clip_adapter", "method=mosa seed=2",
)  # fmt: skip
COTRAINED = (*REPLAYABLE, "method=coto")

CAPTURABLE = "the step could be captured"


class Recording:
    """Tries each step that would be recorded on a GPU, and goes on as ever."""

    keeps_gradients = True

    def capture(self, run: Callable[[], Outcome]) -> tuple[Outcome, Callable[[], None]]:
        with other_device.no_crossings(), Tape():
            run()
        raise RuntimeError(CAPTURABLE)

    def warm_up(self, run: Callable[[], Outcome]) -> Outcome:
        return run()


def recorder(device: torch.device) -> Recording | None:
    return Recording() if device.type == other_device.NAME else None


def numbers(result: Result) -> dict[str, Any]:
    assert result.status == "finished", (result.status, result.error)
    scores = {key: value for key, value in result.metrics.items() if key.startswith("acc/")}
    learnt = {name: float(value.double().norm()) for name, value in result.state.items()}
    graph = result.tags.get(replay.GRAPH_TAG)
    return {"losses": result.losses, "scores": scores, "learnt": learnt, "graph": graph}


@cache
def own() -> str:
    """A small data set in a file."""
    table = registry.read_dataset("digits")
    rows, taken = [], Counter[Any]()
    for i, kind in enumerate(zip(table.labels.tolist(), table.split, strict=True)):
        if kind[0] < CLASSES and taken[kind] < EACH:
            taken[kind] += 1
            rows.append(i)
    columns = {
        "image": [table.images[i] for i in rows],
        "label": [table.classnames[int(table.labels[i])] for i in rows],
        "split": [str(table.split[i]) for i in rows],
    }
    home_path().mkdir(parents=True, exist_ok=True)
    path = home_path() / "cut.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def spec_of(words: Sequence[str]) -> Spec:
    preset, *rest = (word.replace("OWN", own()) for word in words)
    return config.build(preset, [*rest, f"backbone.name={TINY}", "backbone.pretrained=random"])


def alone(words: Sequence[str]) -> Callable[[str], object]:
    return lambda device: numbers(execute.execute(spec_of(words), device))


def cotrained(device: str, several: Sequence[str] = COTRAINED) -> object:
    specs = [spec_of((*FEW, *words.split())) for words in several]
    found = {r.spec.digest(): r for r in execute.execute_all(specs, device)}
    assert {r.tags[cotrain.GROUP_SIZE_TAG] for r in found.values()} == {str(len(specs))}
    each = [numbers(found[s.digest()]) for s in specs]
    return {
        "graph": each[0]["graph"],
        "losses": [loss for one in each for loss in one["losses"]],
        **{what: {f"{i} {name}": value for i, one in enumerate(each) for name, value in
                  one[what].items()} for what in ("scores", "learnt")},
    }  # fmt: skip


def misplaced(device: str) -> object:
    """What must not pass: a constant of the CPU beside what is elsewhere."""
    return float((torch.ones(3, device=device) + torch.ones(3)).sum())


def waits(device: str) -> object:
    """What must not pass in a step that is recorded: a number that is asked for."""
    with other_device.no_crossings():
        return float(torch.ones(3, device=device).sum())


def in_micro_batches(device: str) -> object:
    """With memory for two images at a time."""
    from harness.train import gradients

    whole = gradients._accumulate

    def small(net, group, batch, cut, *rest):  # type: ignore[no-untyped-def]
        if cut.stop - cut.start > 2:
            raise torch.OutOfMemoryError("no more")
        return whole(net, group, batch, cut, *rest)

    gradients._accumulate = small
    try:
        return alone((*FEW, "method=lora"))(device)
    finally:
        gradients._accumulate = whole


def main() -> None:
    torch.set_num_threads(1)
    with other_device.device() as there:
        name = str(there)
    replay.step_recorder = recorder
    optimizer.lr_on_device = lambda rows: rows[0][0].device.type == other_device.NAME
    for module in (execute, cotrain):
        module.pick_device = torch.device  # type: ignore[attr-defined]
    cases = {title: alone(words) for title, words in RUNS.items()}
    cases |= {
        "co-trained": cotrained,
        "micro-batches": in_micro_batches,
        "replayable, co-trained": partial(cotrained, several=REPLAYABLE),
        "misplaced": misplaced,
        "waits": waits,
    }
    for title, case in cases.items():
        found: dict[str, object] = {"title": title, "cpu": case("cpu")}
        try:
            with other_device.device():
                found["there"] = case(name)
        except Exception:
            found["error"] = traceback.format_exc()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
