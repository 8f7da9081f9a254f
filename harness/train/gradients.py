"""One optimizer step: the loss, its gradients, and the update."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.model.classifier import Classifier
from harness.train.batches import Batch
from harness.train.teacher import FrozenTeacher
from harness.train.trial_group import TrialGroup
from methods.kit.contract.step import Step

Outcome = tuple[Tensor, Tensor]  # (trials,) loss and number of correct answers


def train_step(
    net: Classifier,
    group: TrialGroup,
    batch: Batch,
    step: int = 0,
    progress: float = 0.0,
    teacher: FrozenTeacher | None = None,
    micro_batches: int = 1,
) -> Outcome:
    """Take one optimizer step of all trials; the outcome stays on the device.

    With several ``micro_batches`` their gradients are summed. The step is the same, as penalties
    are means over images or independent of them; it takes less memory and encodes the text once
    per micro-batch.
    """
    group.zero_grad()
    outcomes = [
        _accumulate(net, group, batch, cut, step, progress, teacher)
        for cut in _micro_batches(len(batch), micro_batches)
    ]
    group.update()
    if len(outcomes) == 1:
        return outcomes[0]
    losses, correct = zip(*outcomes, strict=True)
    return torch.stack(losses).sum(0), torch.stack(correct).sum(0)


def _micro_batches(size: int, count: int) -> Iterator[slice]:
    """Cut a batch into parts whose sizes differ by one at most."""
    count = min(count, size)
    edges = [size * k // count for k in range(count + 1)]
    return (slice(a, b) for a, b in pairwise(edges))


def _accumulate(
    net: Classifier,
    group: TrialGroup,
    batch: Batch,
    cut: slice,
    step: int,
    progress: float,
    teacher: FrozenTeacher | None,
) -> Outcome:
    """Add the gradients of some images of a batch to the buffers."""
    share, images = 1.0, None
    if cut.stop - cut.start < len(batch):
        share, images = (cut.stop - cut.start) / len(batch), (cut.start, cut.stop, len(batch))
        batch = batch.part(cut.start, cut.stop)
    bound = group.bind(step, progress, net.backbone.device, images)
    own = batch.streams is not None
    answer = net(batch.x, bound, own=own)
    loss = cross_entropy(answer.logits, batch.labels)
    frozen = teacher(batch, answer) if teacher else None
    second = None
    if net.wiring.needs_second_pass:
        second = net(batch.x, bound.next_pass(), own=own).logits
    seen = Step(batch.labels, answer.image, answer.text, answer.logits, progress, frozen, second)
    penalty = bound.penalty(seen)
    if penalty is not None:
        loss = loss + penalty
    alone = bound.exclusive_penalties(seen)
    if images is not None:
        loss = share * loss
        alone = [(trials, names, share * term) for trials, names, term in alone]
    total = backward(group, loss, alone)
    group.inactive = bound.inactive
    correct = (answer.logits.detach().argmax(-1) == batch.labels).sum(-1)
    return total.detach().reshape(-1), correct.reshape(-1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over images: a number, or (trials,) of logits (trials, n, classes)."""
    if logits.dim() == 2:
        return F.cross_entropy(logits, labels)
    labels = labels.expand(logits.shape[:2])
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def backward(
    group: TrialGroup, loss: Tensor, alone: Sequence[tuple[slice, tuple[str, ...], Tensor]]
) -> Tensor:
    """Add the gradients of ``loss``, and of each term that alone trains its parameters.

    Returns the sum of all terms. Each term takes one backward pass through the model. Trials do not
    mix, so the gradient of their sum holds each one's own.
    """
    if not alone:
        loss.sum().backward()
        return loss
    terms = [(group.tensors(trials, names), term) for trials, names, term in alone]
    taken = [tensor for tensors, _ in terms for tensor in tensors]
    rest = [b.tensor for b in group.buffers if not any(b.tensor is t for t in taken)]
    for tensors, term in [*terms, (rest, loss)]:
        if tensors and term.requires_grad:
            grads = torch.autograd.grad(term.sum(), tensors, retain_graph=True, allow_unused=True)
            for tensor, grad in zip(tensors, grads, strict=True):
                if grad is not None:
                    tensor.grad = grad if tensor.grad is None else tensor.grad + grad
    total = loss.reshape(-1).clone()
    for trials, _, term in alone:
        total[trials] += term
    return total
