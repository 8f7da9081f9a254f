"""A trained ring: similarity of the layers' slices, norms of cores, use of ranks.

The similarity of two layers is the cosine of their slices as vectors. It depends on the basis in
which training ended (a ring allows any), so it must not be compared between runs.
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
    """One core (or slices) of a ring: Frobenius norm and root mean square of its entries."""

    name: str
    shape: tuple[int, ...]
    norm: float
    rms: float


@dataclass(frozen=True)
class Anatomy:
    """``alike`` maps a ring to (layers, layers) cosines; ``usage`` has a row per layer and rank."""

    alike: Mapping[str, Tensor]
    cores: Sequence[CoreNorms]
    usage: pd.DataFrame


def read_anatomy(state: Mapping[str, Tensor], usage: pd.DataFrame, method: str) -> Anatomy:
    """Return the anatomy of a saved state. Raises UsageError for one without rings."""
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
    """Return the share of each rank in each layer; empty for a run with one rank."""
    path = artifacts / "tables.parquet"
    table = pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=["table"])
    found = table[table["table"] == "rank_usage"].drop(columns="table")
    if not len(found):
        return found
    row = found["row"].str.rpartition(" ")[2]  # task by task in multi_task: their mean
    return found.assign(row=row).groupby(["row", "column"], as_index=False)["value"].mean()


def start_table(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the run that this one was initialized from; empty for none."""
    if "start" not in tags:
        return {}
    return {"run": tags["start"], **{k: tags[f"start_{k}"] for k in ("method", "dataset", "seed")}}


def start_errors(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return for each matrix the share of its norm that the initial rings left out."""
    head = f"{ERRORS}/"
    return {k.removeprefix(head): v for k, v in sorted(metrics.items()) if k.startswith(head)}


def anatomy_tables(parts: Anatomy) -> Mapping[str, pd.DataFrame]:
    """Return the numbers of the figure, a tidy table per file."""
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
    """Return the share of each rank (columns) in each layer (rows) of a tower."""
    rows = parts.usage[parts.usage["row"].str.startswith(f"{tower}.")]
    table = rows.pivot(index="row", columns="column", values="value")
    return table.loc[sorted(table.index, key=lambda r: int(str(r).rpartition(".")[2]))]


def towers_with_usage(parts: Anatomy) -> list[str]:
    """Return the towers whose use of ranks is known."""
    if not len(parts.usage):
        return []
    return sorted(set(parts.usage["row"].str.partition(".")[0]))


def clamp_cosines(cosines: Tensor) -> Tensor:
    """Clamp cosines to [-1, 1] for the colour scale; a slice of zeros has cosine 0."""
    return torch.nan_to_num(cosines).clamp(-1, 1)
