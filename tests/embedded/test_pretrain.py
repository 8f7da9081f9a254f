"""Pretraining on a corpus of a few icons: the same loop that made the shipped weights."""

import csv
import hashlib
import json
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from harness.embedded.build import losses, pairs, pretrain
from harness.embedded.build.__main__ import call
from harness.embedded.build.augment import augment
from harness.embedded.build.pretrain import Trainer
from harness.embedded.build.recipe import Recipe
from harness.model import backbone
from harness.spec.spec import BackboneSpec
from methods.kit.binding.randomness import generator
from methods.kit.core.errors import UsageError

CONFIG = Path(__file__).parent.parent / "tiny" / "flat.json"
SHORT = Recipe(samples=64, batch=16, first_batch=8, grow=0.5, lr=3e-3)


def trainer(corpus: Path, recipe: Recipe = SHORT) -> Trainer:
    return Trainer(pairs.load(corpus), CONFIG, recipe, "cpu")


def train(corpus: Path, out: Path, recipe: Recipe = SHORT, steps: int = 0) -> Trainer:
    """Train to the end, or for some steps, as one slice."""
    made = trainer(corpus, recipe)
    if steps:
        out.mkdir(parents=True, exist_ok=True)
        made.resume(out)
        for _ in range(steps):
            made.train_step()
        made.save(out)
    else:
        pretrain.run(made, out, False, 0.0, every=100, log_every=2)
    return made


def test_a_recipe_counts_its_steps() -> None:
    assert SHORT.steps() == (4, 2)
    assert [SHORT.at(step) for step in range(6)] == [
        (0, 8), (8, 8), (16, 8), (24, 8), (32, 16), (48, 16)
    ]  # fmt: skip
    assert SHORT.rate(0.0) == 0.0
    assert SHORT.rate(1.0) == pytest.approx(SHORT.lr * SHORT.final_lr)


def test_a_stopped_run_goes_on_exactly(small_corpus: Path, tmp_path: Path) -> None:
    whole = train(small_corpus, tmp_path / "whole")
    train(small_corpus, tmp_path / "parts", steps=3)
    rest = train(small_corpus, tmp_path / "parts")
    assert rest.step == whole.step == 6
    for name, value in whole.model.named_parameters():
        assert torch.equal(value, dict(rest.model.named_parameters())[name]), name
    first = load_file(tmp_path / "whole" / "checkpoint.safetensors")
    second = load_file(tmp_path / "parts" / "checkpoint.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_another_recipe_is_refused(small_corpus: Path, tmp_path: Path) -> None:
    train(small_corpus, tmp_path, steps=1)
    with pytest.raises(UsageError, match="made by another recipe"):
        trainer(small_corpus, Recipe(samples=128)).resume(tmp_path)


def test_it_learns_the_pairs_by_heart(small_corpus: Path, tmp_path: Path) -> None:
    recipe = Recipe(samples=1600, batch=32, first_batch=16, lr=2e-3, ramp=0.0, weight_decay=0.0)
    made = trainer(small_corpus, recipe)
    losses = [float(made.train_step()["loss"]) for _ in range(sum(recipe.steps()))]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_what_is_exported_is_an_ordinary_backbone(small_corpus: Path, tmp_path: Path) -> None:
    made = train(small_corpus, tmp_path)
    spec = BackboneSpec(str(tmp_path / "tiny_clip.json"), str(tmp_path / "model.safetensors"))
    loaded = backbone.load_backbone(spec)
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    prompts = loaded.prompts("an icon of a {}.", ["heart", "star"])
    tokens = F.pad(prompts.ids, (0, loaded.context - prompts.ids.shape[1]))
    with torch.no_grad():
        image, text = made.features(pixels, tokens)
        assert F.cosine_similarity(loaded.image(pixels), image).min() > 0.999  # fp16, bf16
        assert F.cosine_similarity(loaded.text(prompts), text).min() > 0.999
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [2, 4, 6]
    assert json.loads((tmp_path / "recipe.json").read_text())["samples"] == 64


def test_the_loss_is_open_clips_where_no_caption_repeats() -> None:
    rng = torch.Generator().manual_seed(1)
    image, text = (F.normalize(torch.randn(6, 8, generator=rng), dim=-1) for _ in range(2))
    scale = torch.tensor(14.3)
    mine = losses.pair_loss(scale, image, text, torch.arange(6))
    torch.testing.assert_close(mine, open_clip.ClipLoss()(image, text, scale))


def test_pairs_of_one_caption_are_no_negatives() -> None:
    rng = torch.Generator().manual_seed(2)
    image, text = (F.normalize(torch.randn(4, 8, generator=rng), dim=-1) for _ in range(2))
    scale, caption = torch.tensor(10.0), torch.tensor([0, 1, 0, 2])
    total = 0.0
    logits = (scale * image @ text.T).tolist()
    for i in range(4):
        allowed = [j for j in range(4) if j == i or caption[j] != caption[i]]
        row = torch.tensor([logits[i][j] for j in allowed]).logsumexp(0) - logits[i][i]
        column = torch.tensor([logits[j][i] for j in allowed]).logsumexp(0) - logits[i][i]
        total += float(row + column) / 8
    assert float(losses.pair_loss(scale, image, text, caption)) == pytest.approx(total, rel=1e-5)


def test_a_batch_depends_on_seed_and_step_alone(small_corpus: Path) -> None:
    sampler, other = trainer(small_corpus).sampler, trainer(small_corpus).sampler
    sampler.batch(3, 8)  # drawing another batch first changes nothing
    first, second = sampler.batch(5, 8), other.batch(5, 8)
    for name in ("mono", "colour", "tokens", "caption", "words"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not torch.equal(first.tokens, sampler.batch(6, 8).tokens)


def test_texts_are_what_open_clips_tokenizer_gives(small_corpus: Path) -> None:
    made = trainer(small_corpus)
    tokens = made.sampler.batch(0, 256).tokens
    captions = {text for names in pairs.load(small_corpus).captions for text in names}
    tokenizer = open_clip.SimpleTokenizer(context_length=made.text.length)
    said = [t.replace("{}", c) for c in captions for t in pairs.TEMPLATES]
    possible = {tuple(row) for row in tokenizer(said).tolist()}
    assert all(tuple(row) in possible for row in tokens.tolist())


def test_without_strength_a_drawing_is_black_on_white() -> None:
    mono = torch.zeros(2, 48, 48, dtype=torch.uint8)
    mono[:, 12:36, 12:36] = 255
    inside = torch.zeros_like(mono)
    colour = torch.zeros(1, 48, 48, 4, dtype=torch.uint8)
    mirrors = torch.ones(3, dtype=torch.bool)
    x = augment(mono, inside, colour, mirrors, 32, 0.0, generator(0))
    assert x.shape == (3, 3, 32, 32)
    assert float(x[0, :, 16, 16].max()) < 1e-6
    assert float(x[0, :, 0, 0].min()) > 1 - 1e-6
    assert float((x[2] - 1).abs().max()) < 1e-6  # nothing drawn: the white behind it
    loud = augment(mono, inside, colour, mirrors, 32, 1.0, generator(0))
    again = augment(mono, inside, colour, mirrors, 32, 1.0, generator(0))
    assert torch.equal(loud, again)
    assert not torch.equal(loud, x)


def test_what_lines_enclose_may_be_filled() -> None:
    ink = torch.zeros(400, 48, 48, dtype=torch.uint8)
    ink[:, 8:40, 8:40] = 255
    ink[:, 12:36, 12:36] = 0
    inside = torch.from_numpy(pairs._enclosed(ink.numpy()))
    hole = torch.zeros_like(ink)
    hole[:, 12:36, 12:36] = 255
    assert torch.equal(inside, hole)
    open_ink = ink.clone()
    open_ink[:, 20:28, :12] = 0
    assert not pairs._enclosed(open_ink.numpy()).any()
    none = torch.zeros(0, 48, 48, 4, dtype=torch.uint8)
    mirrors = torch.ones(400, dtype=torch.bool)
    x = augment(ink, inside, none, mirrors, 32, 1.0, generator(0))
    apart = (x[:, :, 16, 16] - x[:, :, 0, 0]).abs().mean(1) > 0.2
    assert 0.15 < apart.float().mean() < 0.6
    quiet = augment(ink, inside, none, mirrors, 32, 0.0, generator(0))
    assert float((quiet[:, :, 16, 16] - 1).abs().max()) < 1e-5


def test_a_second_stage_goes_on_from_weights(small_corpus: Path, tmp_path: Path) -> None:
    first = train(small_corpus, tmp_path / "first")
    weights = tmp_path / "first" / "model.safetensors"
    corpus = pairs.load(small_corpus)
    second = Trainer(corpus, CONFIG, Recipe(samples=32, batch=8, seed=1), "cpu", weights)
    for name, value in first.model.named_parameters():
        assert torch.equal(value.half(), dict(second.model.named_parameters())[name].half()), name
    pretrain.run(second, tmp_path / "second", False, 0.0, every=100, log_every=2)
    said = json.loads((tmp_path / "second" / "recipe.json").read_text())
    assert said["start"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    with pytest.raises(UsageError, match="another recipe"):
        Trainer(corpus, CONFIG, second.recipe, "cpu").resume(tmp_path / "second")
    save_file({"logit_scale": torch.zeros(())}, tmp_path / "odd.safetensors")
    with pytest.raises(UsageError, match="no weights of"):
        Trainer(corpus, CONFIG, SHORT, "cpu", tmp_path / "odd.safetensors")
    (tmp_path / "odd.safetensors").write_bytes(b"no weights")
    with pytest.raises(UsageError, match="no safetensors file"):
        Trainer(corpus, CONFIG, SHORT, "cpu", tmp_path / "odd.safetensors")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["corpus", "--icons", "{none}", "--out", "{out}"], "no collections.json"),
        (["corpus", "--icons", "{icons}", "--out", "{out}", "--only", "tablr"], "'tabler'"),
        (["tasks", "--icons", "{icons}", "--out", "{out}", "--only", "flag"], "'flags'"),
        (["pretrain", "--corpus", "{none}", "--out", "{out}", "--config", "{config}"], "no corpus"),
        (
            ["pretrain", "--corpus", "{corpus}", "--out", "{out}", "--config", "x.json"],
            "no such file",
        ),
        (
            ["pretrain", "--corpus", "{corpus}", "--out", "{out}", "--config", "{config}",
             "sample=3"],
            "did you mean 'samples'",
        ),
        (
            ["pretrain", "--corpus", "{corpus}", "--out", "{out}", "--config", "{config}",
             "batch=0"],
            "recipe.batch: must be greater than 0",
        ),
    ],
)  # fmt: skip
def test_wrong_words_are_told_in_one_line(
    arguments: list[str],
    told: str,
    small_corpus: Path,
    package: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "none": tmp_path / "none",
        "icons": package,
        "out": tmp_path / "out",
        "config": CONFIG,
        "corpus": small_corpus,
    }
    words = [word.format(**places) for word in arguments]
    assert call(words) == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()
