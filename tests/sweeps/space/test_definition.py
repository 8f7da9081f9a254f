"""Spaces: what is read, what is refused, and that a trial is words that can be pasted."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import methods
from harness.run import config
from harness.run.execute import check_spec
from harness.spec import quantities
from methods.kit.core.errors import UsageError
from sweeps.space import objectives, points
from sweeps.space.definition import FIELDS, GENERATED, key_of, space_names
from sweeps.space.dimension import Choice, Dimension, Range
from sweeps.space.generated import generate_space
from sweeps.study.request import SweepRequest, build_plan
from sweeps.study.sweep_plan import SweepOptions, SweepPlan

SHIPPED = [name for name in space_names() if name not in GENERATED]
FAST = ["data=digits", "data.shots=1"]
TUNABLE = [name for name in methods.names() if name != "zero_shot"]


def planned(name: str, *words: str, **options: Any) -> SweepPlan:
    return build_plan(name, [*FAST, *words], SweepRequest(options=SweepOptions(**options)))


def anything(found: SweepPlan, rng: random.Random) -> dict[str, Any]:
    """Some settings of a space."""

    def value(name: str, dim: Dimension) -> Any:
        if isinstance(dim, Choice):
            return rng.choice(dim.extremes())
        if not dim.whole:
            return rng.uniform(dim.low, dim.high)
        if dim.log:
            return round(dim.low * (dim.high / dim.low) ** rng.random())
        return rng.randint(int(dim.low), int(dim.high))

    return found.searched_values(value)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_space_holds_the_settings_it_starts_from(name: str) -> None:
    found = planned(name)
    usual = config.build("base_to_novel", found.run_words({}, "digits", 1)).flat()
    for values in found.initial_trials():
        there = points.by_dimension(found.space, found.default_values, values)
        assert {key_of(name) for name in there} == set(values)
        assert all(found.space.dims[name].nearest(v) == v for name, v in there.items())
    last = found.initial_trials()[-1]
    assert last == {key: usual[key] for key in last}


@pytest.mark.parametrize("name", TUNABLE)
def test_the_fields_of_a_method_make_a_space(name: str) -> None:
    found = planned(FIELDS, f"method={name}")
    assert found.space.method == name
    assert "train.lr" in found.space.dims
    assert found.initial_trials()


def test_the_space_of_a_method_follows_its_types() -> None:
    dims = generate_space(FIELDS, "lora", 1e-3).dims
    assert dims["method.rank"] == Range(1, 16, log=True)
    assert dims["method.dropout"] == Range(0.0, 0.5)
    assert dims["method.rslora"] == Choice(("true", "false"))
    assert dims["method.towers"].extremes() == [["image", "text"], ["image"], ["text"]]
    assert "method.layers" not in dims
    assert dims["train.lr"] == Range(1e-4, 1e-2, log=True)


@pytest.mark.parametrize("name", [*SHIPPED, *(f"fields method={m}" for m in TUNABLE)])
def test_any_trial_can_be_pasted(name: str) -> None:
    first, *words = name.split()
    found = planned(first, *words, "seeds=1,2")
    rng = random.Random(0)
    for _ in range(5):
        values = anything(found, rng)
        specs = found.specs(values)
        for (data, seed), spec in zip(found.cells, specs, strict=True):
            pasted = config.build("base_to_novel", found.run_words(values, data, seed))
            assert pasted.digest() == spec.digest()
            assert {key: pasted.flat()[key] for key in values} == values


def test_what_is_typed_is_fixed_and_leaves_the_space() -> None:
    found = planned("ring_rank", "method.ring_rank=4")
    assert list(found.space.dims) == ["method.slice_size"]
    assert found.specs(found.initial_trials()[0])[0].flat()["method.ring_rank"] == 4
    with pytest.raises(UsageError, match="nothing to search"):
        planned("ring_rank", "method.ring_rank=4", "method.slice_size=4")


def test_the_papers_settings_come_before_those_tuned_for_the_backbone() -> None:
    paper, usual = planned("lora_rank").initial_trials()
    assert (paper["train.lr"], usual["train.lr"]) == (2e-4, 6e-3)


TREE = """
method = "lora"
[space]
"method.rslora" = { choices = [false, true] }
"method.rank" = { choices = [1, 2], when = { "method.rslora" = [true] } }
"method.rank@other" = { low = 4, high = 8, step = 4, when = { "method.rslora" = [false] } }
"method.alpha" = { choices = [1.0, 2.0], unless = [{ "method.rank" = [2, 4] }] }
"method.dropout" = { choices = [0.0, 0.5], when = { "method.alpha" = [2] } }
"""


def test_keys_are_searched_where_their_condition_holds(tmp_path: Path) -> None:
    (tmp_path / "tree.toml").write_text(TREE)
    found = planned(str(tmp_path / "tree.toml"), "method.alpha=1", sampler="grid")
    rank = "method.rank"
    assert {(p["method.rslora"], p[rank]) for p in found.grid()} == {
        (True, 1), (True, 2), (False, 4), (False, 8)
    }  # fmt: skip
    assert found.space.keys == ["method.rslora", "method.rank"]  # alpha=1: no dropout, ever
    whole = planned(str(tmp_path / "tree.toml"), sampler="grid")
    grid = whole.grid()
    assert len(grid) == 2 + 2 * 3  # ranks 2 and 4 alone; 1 and 8 with alpha 1, 2, 2 + dropout
    for point in grid:
        assert ("method.alpha" in point) == (point[rank] not in (2, 4))
        assert ("method.dropout" in point) == (point.get("method.alpha") == 2.0)
        assert len(whole.unit_cube(point)) == len(whole.unit_cube(grid[0]))
        assert whole.decode(whole.encode(point)) == point
    assert len({whole.unit_cube(point) for point in grid}) == len(grid)


@pytest.mark.parametrize("words", [(), ("method.form=delta",)])
def test_what_the_space_of_adaring_holds_can_be_built(words: tuple[str, ...]) -> None:
    found = planned("adaring", *words)
    rng = random.Random(0)
    refused, seen = [], set()
    for _ in range(150):
        values = anything(found, rng)
        seen |= {(k, json.dumps(v)) for k, v in values.items() if k != "train.lr"}
        try:
            counts = check_spec(found.specs(values)[0])
            assert counts.trainable > 0
        except UsageError as error:
            refused.append(str(error))
    assert all(reason.startswith("method.") for reason in refused)
    assert len(refused) <= 1, refused
    choices = [(key_of(n), t) for n, d in found.space.dims.items() if isinstance(d, Choice)
               for t in d.texts]  # fmt: skip
    assert seen >= set(choices)


def test_the_space_of_adaring_has_every_field_of_it() -> None:
    unsearched = {"method.start"}
    fields_of = {f"method.{name}" for name in vars(methods.find("adaring")())}
    assert fields_of - unsearched <= set(planned("adaring").space.keys)


def test_a_grid_has_the_ends_of_every_range() -> None:
    assert Range(1, 16, log=True).grid() == [1, 2, 4, 8, 16]
    assert Range(3, 20, log=True).grid() == [3, 4, 8, 16, 20]
    assert Range(2, 8, step=3).grid() == [2, 5, 8]
    assert Range(1e-4, 1e-2, log=True).grid() == pytest.approx(
        [1e-4, 3.162e-4, 1e-3, 3.162e-3, 1e-2]
    )
    assert len(planned("ring_rank", sampler="grid").grid()) == 20


def test_the_digest_tells_sweeps_apart() -> None:
    digests = [
        planned("ring_rank").digest(),
        planned("ring_rank", "train.epochs=3").digest(),
        planned("ring_rank", "seeds=1,2").digest(),
        planned("ring_rank", "method.ring_rank=2").digest(),
        planned("ring_rank", sampler="random").digest(),
        planned("slice_size").digest(),
    ]
    assert len(set(digests)) == len(digests)
    assert planned("ring_rank").digest() == digests[0]


HEAD = 'method = "lora"\n[space]\n'


def ruled(condition: str) -> str:
    return HEAD + f'"method.rank" = {{ choices = [1, 2], {condition} }}'


WRONG = {
    "x = [": "not TOML",
    "[space]\na = {low = 1, high = 2}": "say method",
    'method = "lora"': r"table \[space\] is missing",
    'method = "lora"\nrange = 1\n[space]\na = {low=1, high=2}': "'range': unknown",
    HEAD + '"method.rank" = 4': "expected { low, high } or { choices }",
    HEAD + '"method.rank" = { low = 4, high = 1 }': "method.rank: low 4 is above high 1",
    HEAD + '"method.rank" = { low = 4, high = 4 }': "the range from 4 to 4 is empty",
    HEAD + '"method.rank" = { low = 0, high = 4, log = true }': "a log range starts above 0",
    HEAD + '"method.rank" = { low = 1, high = 4, log = true, step = 1 }': "log range has no step",
    HEAD + '"method.rank" = { low = 1, high = 4, step = 9 }': "step 9 does not fit",
    HEAD + '"method.rank" = { low = 1, hihg = 4 }': "'hihg': unknown, did you mean 'high'",
    HEAD + '"method.rank" = { low = "a", high = 4 }': "low: expected a number, got 'a'",
    HEAD + '"method.rank" = { low = 1, high = inf }': "high: expected a number",
    HEAD + '"method.rank" = { choices = [] }': "choices must be a list with something in it",
    HEAD + '"method.rank" = { choices = [1, 1] }': "a choice is given twice",
    HEAD + '"method.rnk" = { low = 1, high = 4 }': "method.rnk: unknown, did you mean 'rank'",
    HEAD + '"method.rank" = { low = 0, high = 4 }': "method.rank: must be greater than 0, got 0",
    HEAD + '"method.rank" = { low = 0.5, high = 4 }': "expected a whole number",
    ruled("when = 4"): r"when: expected { KEY = \[VALUES\] }, got 4",
    ruled('when = { "method.alpha" = 4 }'): "method.alpha: expected a list of values, got 4",
    ruled('unless = [{ "method.alhpa" = [4] }]'): "unknown, did you mean 'method.alpha'",
    ruled('when = { "method.rslora" = [4] }'): "method.rslora: expected true or false",
    ruled('when = { "method.alpha" = [123.0] }'): "nothing to search",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_space_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=WRONG[text]) as raised:
        planned(str(path))
    assert "\n" not in str(raised.value)


def test_objectives_have_the_direction_that_is_better() -> None:
    assert objectives.read_objectives([], "base_to_novel") == ("acc/val_hmean",)
    assert objectives.read_objectives([], "few_shot") == ("acc/val",)
    names = [*quantities.VALIDATION, *objectives.KNOWN_BEFORE, *objectives.MEASURED]
    up = [n for n in names if objectives.direction(n) == "maximize"]
    assert up == list(quantities.VALIDATION)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["acc/test"], "a sweep sees validation data only"),
        (["acc/hmean"], "a sweep sees validation data only"),
        (["params/trainabel"], "did you mean 'params/trainable'"),
        (["acc/val,acc/val_hmean,params/stored"], "one quantity or two"),
        (["acc/val,acc/val"], "two different ones"),
    ],
)
def test_a_wrong_objective_is_told(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        objectives.read_objectives(words, "base_to_novel")
