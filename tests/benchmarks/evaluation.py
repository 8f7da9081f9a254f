"""eval.text: a test set classified with the text encoded once and the weights merged."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.data.split import Images
from harness.evaluate import predict
from harness.model.classifier import Classifier
from methods.lora import LoRA
from tests.benchmarks import peers
from tests.benchmarks.measure import Case
from tests.benchmarks.ours import TEMPLATE, attached, backbone, names, pixels, tokens
from tests.benchmarks.registry import row

IMAGES, PEER_BATCH = 256, 100


@row("eval.text", "256 test images with LoRA in both towers of the embedded backbone, rank 4")
def cases(quick: bool) -> Iterator[Case]:
    model, method = backbone("embedded"), LoRA(rank=4)
    for classes in (10, 100):
        adapter = attached(method, model, classes)
        split: Any = peers.split_lora(model.model, 4, method.scale)
        peers.give_split(adapter, split)
        net = Classifier(model, adapter, model.prompts(TEMPLATE, names(classes)))
        labels = torch.arange(IMAGES) % classes
        images = Images("x", names(classes), pixels(model, IMAGES), labels, tuple(range(IMAGES)))
        x, ids = model.transform.normalise(images.pixels), tokens(model, classes)  # type: ignore[arg-type]

        def ours(net: Classifier = net, images: Images = images) -> Tensor:
            return torch.from_numpy(predict.predict(net, images).p_predicted)

        @torch.no_grad()
        def unmerged(net: Classifier = net, x: Tensor = x) -> Tensor:
            bound = net.adapter.bind(trials=None)
            bound._merging_pays = lambda *_: False  # type: ignore[method-assign]
            text = net.text(bound)
            size = model.image.shape.batch_size(x.device)
            parts = [net(b, bound, text).logits for b in x.split(size)]
            return torch.cat(parts).softmax(-1).max(-1).values.cpu()

        @torch.no_grad()
        def each(split: Any = split, x: Tensor = x, ids: Tensor = ids) -> Tensor:
            parts = []
            for batch in x.split(PEER_BATCH):
                text = split.encode_text(ids, normalize=True)
                image = F.normalize(split.encode_image(batch), dim=-1)
                parts.append(split.logit_scale.exp() * image @ text.T)
            return torch.cat(parts).softmax(-1).max(-1).values.cpu()

        arms = {"ours": ours, "not merged": unmerged, "text in each batch of 100": each}

        def check(arms: dict[str, Any] = arms) -> None:
            found = [arm() for arm in arms.values()]
            for other in found[1:]:
                torch.testing.assert_close(found[0], other, atol=1e-4, rtol=1e-3)

        goals = {"not merged": 1.05}
        yield Case(f"{classes} classes", arms, check, goals)
