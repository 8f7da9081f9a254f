"""One optimiser step: the loss, its gradients, and the move."""

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

Outcome = tuple[Tensor, Tensor]  # (trials,) loss, right answers


def train_step(
    net: Classifier,
    crew: TrialGroup,
    batch: Batch,
    step: int = 0,
    progress: float = 0.0,
    teacher: FrozenTeacher | None = None,
    parts: int = 1,
) -> Outcome:
    """One optimiser step of all trials; losses and numbers of right answers, on the device.

    With ``parts`` the batch passes in so many pieces one after another, of which the gradients are
    summed: the same step, as penalties are means over images or know nothing of them, with less
    memory and the text encoded once a piece.
    """
    crew.clear()
    found = [
        _accumulate(net, crew, batch, cut, step, progress, teacher)
        for cut in _micro_batches(batch, parts)
    ]
    crew.move()
    if len(found) == 1:
        return found[0]
    losses, rights = zip(*found, strict=True)
    return torch.stack(losses).sum(0), torch.stack(rights).sum(0)


def _micro_batches(batch: Batch, parts: int) -> Iterator[slice]:
    """Pieces of a batch, of sizes that differ by one at most."""
    size = len(batch)
    count = min(parts, size)
    edges = [size * k // count for k in range(count + 1)]
    return (slice(a, b) for a, b in pairwise(edges))


def _accumulate(
    net: Classifier,
    crew: TrialGroup,
    batch: Batch,
    cut: slice,
    step: int,
    progress: float,
    teacher: FrozenTeacher | None,
) -> Outcome:
    """Add the gradients of some images of a batch to those of others."""
    share, part = 1.0, None
    if cut.stop - cut.start < len(batch):
        share, part = (cut.stop - cut.start) / len(batch), (cut.start, cut.stop, len(batch))
        batch = batch.part(cut.start, cut.stop)
    bound = crew.bind(step, progress, net.backbone.device, part)
    own = batch.feeds is not None
    answer = net(batch.x, bound, own=own)
    loss = cross_entropy(answer.logits, batch.labels)
    frozen = teacher(batch, answer) if teacher else None
    second = (
        net(batch.x, bound.next_pass(), own=own).logits if net.wiring.needs_second_pass else None
    )
    seen = Step(batch.labels, answer.image, answer.text, answer.logits, progress, frozen, second)
    extra = bound.penalty(seen)
    if extra is not None:
        loss = loss + extra
    alone = bound.exclusive_penalties(seen)
    if part is not None:
        loss, alone = share * loss, [(where, names, share * term) for where, names, term in alone]
    total = backward(crew, loss, alone)
    crew.inactive = bound.inactive
    right = (answer.logits.detach().argmax(-1) == batch.labels).sum(-1)
    return total.detach().reshape(-1), right.reshape(-1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over images: a number, or (trials,) of logits (trials, n, classes)."""
    if logits.dim() == 2:
        return F.cross_entropy(logits, labels)
    labels = labels.expand(logits.shape[:2])
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def backward(
    crew: TrialGroup, loss: Tensor, alone: Sequence[tuple[slice, tuple[str, ...], Tensor]]
) -> Tensor:
    """Gradients of ``loss``, and of each term that stands alone for its own parameters, are added
    to what is there.

    Returns the sum of all terms. One backward pass through the model for each; trials do not mix,
    so that the gradient of their sum is each one's own.
    """
    if not alone:
        loss.sum().backward()
        return loss
    taken: list[Tensor] = []
    terms = []
    for where, names, term in alone:
        mine = crew.buffers(where, names)
        taken += mine
        terms.append((mine, term))
    rest = [leaf.buffer for leaf in crew.leaves if not any(leaf.buffer is t for t in taken)]
    for buffers, term in [*terms, (rest, loss)]:
        if buffers and term.requires_grad:
            grads = torch.autograd.grad(term.sum(), buffers, retain_graph=True, allow_unused=True)
            for buffer, grad in zip(buffers, grads, strict=True):
                if grad is not None:
                    buffer.grad = grad if buffer.grad is None else buffer.grad + grad
    total = loss.reshape(-1).clone()
    for where, _, term in alone:
        total[where] += term
    return total
