"""Ledger rows to a tidy table: one row a way to train and data set, and one for the average."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.run.source_runs import SOURCE_ID
from harness.spec.protocols import DEFINITIONS, harmonic_mean
from harness.spec.quantities import COSTS, VALIDATION
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.results import annotations
from reports.results.selection import best_by_validation
from reports.statistics.intervals import t_interval

AVERAGE = "average"
MEAN_OF_H = "acc/hmean_of_sets"  # the mean of the data sets' harmonic means, in average rows
ACCURACY: dict[str, tuple[str, ...]] = {name: p.tested for name, p in DEFINITIONS.items()}
OTHERS = (*VALIDATION, "ece/test")
KEYS = ["protocol", "backbone", "method", "settings", "configuration", "shots", "dataset"]
DATA_HASHES = ("data_hash", "template_hash", "transform_hash", "names_hash")
PAIRING_HASHES = (
    *DATA_HASHES,
    "subset_hash",
    "backbone_hash",
)  # equal in runs that are set side by side


@dataclass(frozen=True)
class Board:
    """The table of one protocol on one backbone.

    ``rows`` has a row a (method, configuration, data set) and one for the average over data sets,
    best first; ``seeds`` and ``datasets`` span the grid that missing cells are counted in;
    ``notes`` say what was left out; ``cells`` are the finished runs behind the rows, with the
    ``group`` of their row; ``read`` are the ids of all runs that were looked at.
    """

    protocol: str
    backbone: str
    rows: pd.DataFrame
    seeds: tuple[int, ...]
    datasets: tuple[str, ...]
    notes: tuple[str, ...]
    cells: pd.DataFrame
    read: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The metric that ranks: H, or accuracy."""
        return ACCURACY[self.protocol][-1]

    def averages(self) -> pd.DataFrame:
        return self.rows[self.rows["dataset"] == AVERAGE]


def runs_frame(runs: Iterable[Run], tested: bool = True) -> pd.DataFrame:
    """One row a recorded run: its keys, seed, status, hashes and metrics; a repeat wins.

    Runs that only served to choose settings are not among them unless ``tested`` is False.
    """
    rows = []
    for run in (r for r in runs if r.tested or not tested):
        params = run.params
        rows.append(
            {
                "run_id": run.id,
                "digest": run.digest,
                "status": run.status,
                "started": run.started,
                "protocol": run.tags["protocol"],
                "backbone": run.tags["backbone"],
                "method": run.tags["method"],
                "configuration": run.tags["configuration"],
                "dataset": run.tags["dataset"],
                "shots": int(run.tags["shots"]),
                "seed": int(run.tags["seed"]),
                "params": params,
                **{h: run.tags.get(h, "") for h in (*PAIRING_HASHES, *annotations.ORIGIN_TAGS)},
                **run.metrics,
            }
        )
    table = pd.DataFrame(rows)
    if table.empty:
        raise UsageError("nothing is recorded yet; run `ringbench suite` or `ringbench run` first")
    table["finished"] = table["status"] == "finished"
    table = table.sort_values(["finished", "started"]).drop_duplicates("digest", keep="last")
    return table.sort_values(["method", "configuration", "dataset", "seed"], ignore_index=True)


def boards(runs: Iterable[Run], best: bool = False) -> list[Board]:
    """A board for each protocol and backbone that has finished runs.

    With ``best`` a row a method, its best configuration by validation.
    """
    table = runs_frame(runs)
    return [
        _board(str(protocol), str(backbone), part.copy(), best)
        for (protocol, backbone), part in table.groupby(["protocol", "backbone"])
        if part["finished"].any()
    ]


def select_boards(
    found: Sequence[Board], protocol: str | None, backbone: str | None
) -> list[Board]:
    """The boards asked for. Raises UsageError when there is none."""
    kept = [
        b
        for b in found
        if (protocol is None or b.protocol == protocol)
        and (backbone is None or b.backbone == backbone)
    ]
    if not kept:
        there = ", ".join(sorted({f"{b.protocol} on {b.backbone}" for b in found}))
        raise UsageError(f"no finished runs of that kind; recorded: {there or 'none'}")
    return kept


def _board(protocol: str, backbone: str, part: pd.DataFrame, best: bool) -> Board:
    read = tuple(sorted(part["run_id"]))
    part, notes = _same_data(part)
    part["settings"] = varying_settings(part)
    if best:
        part, chosen = _best(part)
        notes += chosen
    several = part.groupby(["configuration", "dataset"])["shots"].nunique().max() > 1
    apart = part["shots"].astype(str) if several else ""
    part["group"] = part["configuration"] + apart
    datasets = tuple(sorted(part["dataset"].unique()))
    beside = _beside(protocol, part)
    seeds = tuple(sorted(int(s) for s in part["seed"].unique()))
    rows = []
    metrics = {*ACCURACY[protocol], *beside, *OTHERS, *COSTS} & {*part.columns}
    texts = dict.fromkeys((k for k in (*KEYS, "group") if k != "shots"), object)
    slim = part[[*texts, "shots", "seed", "finished", *sorted(metrics)]].astype(texts)
    for _, group in slim.groupby(["method", "group"], sort=True):  # picked from many times
        for dataset in datasets:
            cell = group[group["dataset"] == dataset]
            rows.append(_row(protocol, group, cell, dataset, len(seeds), beside))
        if len(datasets) > 1:
            rows.append(_average(protocol, group, datasets, len(seeds), beside))
    table = pd.DataFrame(rows)
    headline = f"{ACCURACY[protocol][-1]}_mean"
    ranked = AVERAGE if len(datasets) > 1 else datasets[0]
    order = table[table["dataset"] == ranked].sort_values(
        [headline, "method", "settings"], ascending=[False, True, True], na_position="last"
    )
    place = {group: i for i, group in enumerate(order["group"])}
    table["rank"] = table["group"].map(place)
    table["average"] = table["dataset"] == AVERAGE
    table = table.sort_values(["rank", "average", "dataset"], ignore_index=True)
    cells = part[part["finished"]]
    table = annotations.annotate_rows(table, cells, ACCURACY[protocol])
    table = table.drop(columns="average")
    return Board(protocol, backbone, table, seeds, datasets, notes, cells, read)


def _best(part: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Of each method only the configuration that validation chooses; notes say which."""
    notes, dropped = [], []
    for method, runs in part[part["finished"]].groupby("method"):
        count = runs["configuration"].nunique()
        if count == 1:
            continue
        chosen = best_by_validation(runs)
        if chosen is None:
            notes.append(
                f"{method}: all {count} configurations are shown, as they share no data set and"
                " seed with validation accuracies to choose by"
            )
            continue
        mine = part["method"] == method
        name = part[mine & (part["configuration"] == chosen)]["settings"].iloc[0]
        notes.append(f"{method}: best of {count} configurations by validation ({name})")
        dropped += part[mine & (part["configuration"] != chosen)].index.tolist()
    return part.drop(dropped), tuple(notes)


def _same_data(part: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Only runs that saw the same data; older ones with other hashes are left out, and said so."""
    notes = []
    for dataset, runs in part[part["finished"]].groupby("dataset"):
        prints = runs[DATA_HASHES[0]].str.cat(runs[list(DATA_HASHES[1:])], sep="|")
        newest = prints[runs["started"].idxmax()]
        odd = prints[prints != newest].index
        if len(odd):
            notes.append(
                f"{dataset}: {len(odd)} older runs left out, their images, names, template or"
                " transform differ"
            )
            part = part.drop(odd)
    return part, tuple(notes)


def varying_settings(part: pd.DataFrame) -> list[str]:
    """For each run the method's settings that differ among the runs of that method."""
    shown = []
    varying: dict[str, list[str]] = {}
    for method, runs in part.groupby("method"):
        keys = sorted({k for params in runs["params"] for k in params})
        varying[str(method)] = [
            k
            for k in keys
            if k.startswith(("method.", "train.", "data.template", "backbone.p"))
            and len({_way(k, params) for params in runs["params"]}) > 1
        ]
    for method, params in zip(part["method"], part["params"], strict=True):
        words = (f"{k.removeprefix('method.')}={_way(k, params)}" for k in varying[method])
        shown.append(" ".join(words))
    return shown


def _beside(protocol: str, part: pd.DataFrame) -> tuple[str, ...]:
    """Accuracies beside the protocol's own: of each target, of halves among all names."""
    usual = {*ACCURACY[protocol], *OTHERS}
    there = (c for c in part if c.startswith("acc/") and part[c].notna().any())
    return tuple(sorted(c for c in there if c not in usual))


def _way(key: str, params: dict[str, str]) -> str:
    """A setting as it tells ways to train apart: of another run, how that one was trained."""
    value = params.get(key, "")
    if key not in ("method.start", "method.sources"):
        return value
    return SOURCE_ID.sub(lambda run: run[3][:8], value)


def _row(
    protocol: str,
    group: pd.DataFrame,
    cell: pd.DataFrame,
    dataset: str,
    seeds: int,
    beside: tuple[str, ...],
) -> dict[str, object]:
    done = cell[cell["finished"]]
    shots = cell["shots"].iloc[0] if len(cell) else 0
    row = _head(group, dataset, str(shots) if shots else "")
    row |= {"runs": len(done), "failed": len(cell) - len(done), "missing": seeds - len(cell)}
    return row | _spreads(done, (*ACCURACY[protocol], *beside, *OTHERS, *COSTS))


def _average(
    protocol: str,
    group: pd.DataFrame,
    datasets: tuple[str, ...],
    seeds: int,
    beside: tuple[str, ...],
) -> dict[str, object]:
    """The average over all data sets, seed by seed; only seeds that have every data set count."""
    shots = "/".join(str(s) for s in group.drop_duplicates("dataset")["shots"])
    row = _head(group, AVERAGE, shots if group["shots"].nunique() > 1 else shots.split("/")[0])
    done = group[group["finished"]]
    failed = len(group) - len(done)
    row |= {
        "runs": len(done),
        "failed": failed,
        "missing": seeds * len(datasets) - len(done) - failed,
    }
    full = done.groupby("seed").filter(lambda g: set(g["dataset"]) >= set(datasets))
    metrics = (*ACCURACY[protocol], *beside, *OTHERS, *COSTS)
    by_seed = full.groupby("seed")[[c for c in metrics if c in full]].mean()
    if "acc/hmean" in by_seed:  # H of the averages, as the field reports it; the other one beside
        by_seed[MEAN_OF_H] = by_seed["acc/hmean"]
        pairs = zip(by_seed["acc/base"], by_seed["acc/novel"], strict=True)
        by_seed["acc/hmean"] = [harmonic_mean(b, n) for b, n in pairs]
        metrics += (MEAN_OF_H,)
    return row | _spreads(by_seed, metrics)


def _head(group: pd.DataFrame, dataset: str, shots: str) -> dict[str, object]:
    first = group.iloc[0]
    named = {key: first[key] for key in KEYS if key not in ("dataset", "shots")}
    return {**named, "shots": shots, "dataset": dataset, "group": first["group"]}


def _spreads(table: pd.DataFrame, metrics: Sequence[str]) -> dict[str, object]:
    """Mean, interval and count of each metric over the rows that have it."""
    there = [m for m in metrics if m in table]
    columns = dict(zip(there, table[there].to_numpy(dtype=float).T, strict=True))
    row: dict[str, object] = {}
    for metric in metrics:
        values = columns.get(metric, np.empty(0))
        estimate = t_interval(values[~np.isnan(values)])
        row |= {f"{metric}_{k}": v for k, v in estimate._asdict().items()}
    return row


def board_title(board: Board) -> str:
    seeds = ", ".join(str(s) for s in board.seeds)
    return f"{board.protocol} on {board.backbone}, seeds {seeds}"
