"""Losses of pretraining: image-text contrast, and an auxiliary head that predicts words."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WordHead(nn.Module):
    """The auxiliary head: which words a feature's caption has."""

    def __init__(self, dim: int, words: int) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, words)
        nn.init.normal_(self.fc.weight, std=0.1)
        nn.init.zeros_(self.fc.bias)

    def forward(self, feature: Tensor, words: Tensor) -> Tensor:
        """Mean negative log-likelihood of the words (b, n), -1 where there is none."""
        chances = F.log_softmax(self.fc(feature * 10).float(), dim=-1)
        there = words >= 0
        picked = chances.gather(1, words.clamp(min=0)) * there
        return -picked.sum() / there.sum().clamp(min=1)


def pair_loss(scale: Tensor, image: Tensor, text: Tensor, caption: Tensor) -> Tensor:
    """Symmetric InfoNCE over normalised features; pairs of one caption are no negatives."""
    logits = scale * image @ text.T
    here = torch.arange(len(caption), device=caption.device)
    same = (caption[:, None] == caption[None]) & (here[:, None] != here[None])
    logits = logits.masked_fill(same, float("-inf"))
    return (F.cross_entropy(logits, here) + F.cross_entropy(logits.T, here)) / 2
