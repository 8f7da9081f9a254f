"""The inside of a trained ring: how alike the layers' slices are, cores, and the use of ranks.

The similarity of two layers is the cosine of their slices, read as vectors. It depends on the
basis that training ended in (a ring allows any), so it says which layers went the same way in this
run, and is not to be compared between runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.kit.core.errors import UsageError
from methods.kit.ring.initialise import ERRORS

SLICES = ".slices"


@dataclass(frozen=True)
class CoreNorms:
    """One core (or slices) of a ring: its Frobenius norm, and that of a typical entry."""

    name: str
    shape: tuple[int, ...]
    norm: float
    rms: float


@dataclass(frozen=True)
class Anatomy:
    """``alike`` maps a ring to (layers, layers) cosines; ``usage`` has a row a layer and rank."""

    alike: Mapping[str, Tensor]
    cores: Sequence[CoreNorms]
    usage: pd.DataFrame


def read_anatomy(state: Mapping[str, Tensor], usage: pd.DataFrame, method: str) -> Anatomy:
    """The anatomy in a saved state. Raises UsageError for one without rings."""
    rings = {n.removesuffix(SLICES): t for n, t in state.items() if n.endswith(SLICES)}
    if not rings:
        raise UsageError(f"method {method!r} has no rings to look into; adaring has")
    alike = {}
    for name, slices in sorted(rings.items()):
        rows = F.normalize(slices.double().movedim(1, 0).flatten(1), dim=-1)
        alike[name] = rows @ rows.mT
    cores = [
        CoreNorms(
            n, tuple(t.shape), float(t.double().norm()), float(t.double().square().mean().sqrt())
        )
        for n, t in sorted(state.items())
        if t.dim() == 3
    ]
    return Anatomy(alike, cores, usage)


def rank_usage(artifacts: Path) -> pd.DataFrame:
    """Which share of its work each layer gives to each rank, where the run has several."""
    path = artifacts / "tables.parquet"
    table = pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=["table"])
    found = table[table["table"] == "rank_usage"].drop(columns="table")
    if not len(found):
        return found
    row = found["row"].str.rpartition(" ")[2]  # task by task in multi_task: their mean
    return found.assign(row=row).groupby(["row", "column"], as_index=False)["value"].mean()


def start_table(tags: Mapping[str, str]) -> dict[str, str]:
    """The run that this one started from; empty for one that started at the frozen model."""
    if "start" not in tags:
        return {}
    return {"run": tags["start"], **{k: tags[f"start_{k}"] for k in ("method", "dataset", "seed")}}


def start_errors(metrics: Mapping[str, float]) -> dict[str, float]:
    """By matrix the share of its norm that the rings left out of what they started from."""
    head = f"{ERRORS}/"
    return {k.removeprefix(head): v for k, v in sorted(metrics.items()) if k.startswith(head)}


def anatomy_tables(parts: Anatomy) -> Mapping[str, pd.DataFrame]:
    """The numbers of the picture, tidy: one table a file."""
    rows = [
        {"ring": name, "layer": i + 1, "other": j + 1, "cosine": float(cosines[i, j])}
        for name, cosines in parts.alike.items()
        for i in range(len(cosines))
        for j in range(len(cosines))
    ]
    cores = [{**vars(c), "shape": "x".join(map(str, c.shape))} for c in parts.cores]
    found = {"anatomy-slices": pd.DataFrame(rows), "anatomy-cores": pd.DataFrame(cores)}
    return found | ({"anatomy-ranks": parts.usage} if len(parts.usage) else {})


def usage_by_layer(parts: Anatomy, tower: str) -> pd.DataFrame:
    """Layers by ranks: the share of each rank in each layer of a tower, from input to output."""
    rows = parts.usage[parts.usage["row"].str.startswith(f"{tower}.")]
    table = rows.pivot(index="row", columns="column", values="value")
    return table.loc[sorted(table.index, key=lambda r: int(str(r).rpartition(".")[2]))]


def towers_with_usage(parts: Anatomy) -> list[str]:
    """The towers whose ranks' use is known."""
    if not len(parts.usage):
        return []
    return sorted(set(parts.usage["row"].str.partition(".")[0]))


def clamp_cosines(cosines: Tensor) -> Tensor:
    """Cosines within [-1, 1] for the colour scale; a slice of zeros is like nothing."""
    return torch.nan_to_num(cosines).clamp(-1, 1)
