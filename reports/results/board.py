"""Ledger rows as tables: a row per configuration and data set, and one for the average."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import pandas as pd

from harness.spec.protocols import DEFINITIONS, harmonic_mean
from harness.spec.quantities import COSTS, VALIDATION
from harness.spec.spec import Protocol
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.results import annotations
from reports.results.selection import best_by_validation
from reports.statistics.intervals import t_interval

AVERAGE = "average"
MEAN_OF_H = "acc/hmean_of_sets"  # the mean of the data sets' harmonic means, in average rows
OTHERS = (*VALIDATION, "ece/test")
KEYS = ["protocol", "backbone", "method", "settings", "configuration", "shots", "dataset"]
DATA_HASHES = ("data_hash", "template_hash", "transform_hash", "names_hash")
PAIRING_HASHES = (*DATA_HASHES, "subset_hash", "backbone_hash")  # equal in runs that are compared


@dataclass(frozen=True)
class Board:
    """The table of one protocol on one backbone.

    ``rows`` has a row per configuration and data set and one for the average over data sets, best
    first. ``seeds`` and ``datasets`` span the grid in which missing cells are counted. ``notes``
    say what was left out. ``cells`` are the finished runs behind the rows, with the ``group`` of
    their row; ``read`` are the MLflow ids of all runs considered.
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
    def metrics(self) -> tuple[str, ...]:
        """The accuracies of the protocol."""
        return tested_metrics(self.protocol)

    @property
    def headline(self) -> str:
        """The accuracy that ranks."""
        return self.metrics[-1]

    @property
    def summary(self) -> str:
        """The data set of the ranked rows: the average, or the only data set."""
        return AVERAGE if len(self.datasets) > 1 else self.datasets[0]

    def ranked(self) -> pd.DataFrame:
        """The rows that are ranked, one per configuration."""
        return self.rows[self.rows["dataset"] == self.summary]


def tested_metrics(protocol: str) -> tuple[str, ...]:
    """Return the test accuracies of a protocol, the headline last."""
    return DEFINITIONS[cast(Protocol, protocol)].tested


def runs_frame(runs: Iterable[Run], tested: bool = True) -> pd.DataFrame:
    """Return a row per recorded run: keys, seed, status, hashes, metrics; the newest of repeats.

    Runs that only served to choose settings are left out unless ``tested`` is False. Raises
    UsageError where nothing is recorded.
    """
    rows = []
    for run in (r for r in runs if r.tested or not tested):
        row: dict[str, object] = {"run_id": run.id, "digest": run.digest, "status": run.status}
        row["started"] = run.started
        for key in ("protocol", "backbone", "method", "configuration", "dataset"):
            row[key] = run.tags[key]
        row |= {"shots": int(run.tags["shots"]), "seed": int(run.tags["seed"])}
        row["params"] = run.params
        row |= {h: run.tags.get(h, "") for h in (*PAIRING_HASHES, *annotations.ORIGIN_TAGS)}
        rows.append(row | run.metrics)
    table = pd.DataFrame(rows)
    if table.empty:
        raise UsageError("nothing is recorded yet; run `ringbench suite` or `ringbench run` first")
    table["finished"] = table["status"] == "finished"
    table = table.sort_values(["finished", "started"]).drop_duplicates("digest", keep="last")
    return table.sort_values(["method", "configuration", "dataset", "seed"], ignore_index=True)


def boards(runs: Iterable[Run], best: bool = False) -> list[Board]:
    """Return a board for each protocol and backbone that has finished runs.

    ``best`` keeps one configuration of each method, the best by validation.
    """
    table = runs_frame(runs)
    return [
        _board(str(protocol), str(backbone), part.copy(), best)
        for (protocol, backbone), part in table.groupby(["protocol", "backbone"])
        if part["finished"].any()
    ]


def select_boards(
    boards: Sequence[Board], protocol: str | None, backbone: str | None
) -> list[Board]:
    """Return the boards of a protocol and a backbone. Raises UsageError when there is none."""
    selected = [
        b for b in boards if protocol in (None, b.protocol) and backbone in (None, b.backbone)
    ]
    if not selected:
        there = ", ".join(sorted({f"{b.protocol} on {b.backbone}" for b in boards}))
        raise UsageError(f"no finished runs of that kind; recorded: {there or 'none'}")
    return selected


def board_title(board: Board) -> str:
    seeds = ", ".join(str(s) for s in board.seeds)
    return f"{board.protocol} on {board.backbone}, seeds {seeds}"


def varying_settings(runs: pd.DataFrame) -> list[str]:
    """Return for each run the settings in which the runs of its method differ."""
    varying: dict[str, list[str]] = {}
    for method, rows in runs.groupby("method"):
        keys = sorted({k for params in rows["params"] for k in params})
        varying[str(method)] = [
            k
            for k in keys
            if k.startswith(("method.", "train.", "data.template", "backbone.p"))
            and len({_setting(k, params) for params in rows["params"]}) > 1
        ]
    return [
        " ".join(f"{k.removeprefix('method.')}={_setting(k, params)}" for k in varying[method])
        for method, params in zip(runs["method"], runs["params"], strict=True)
    ]


def _setting(key: str, params: dict[str, str]) -> str:
    """Return a setting as text; a source run by how it was trained."""
    value = params.get(key, "")
    if not value or key not in ("method.start", "method.sources"):
        return value
    from harness.run.source_runs import SOURCE_ID  # slow to import

    return SOURCE_ID.sub(lambda run: run[3][:8], value)


def _board(protocol: str, backbone: str, runs: pd.DataFrame, best: bool) -> Board:
    read = tuple(sorted(runs["run_id"]))
    runs, notes = _drop_other_data(runs)
    runs["settings"] = varying_settings(runs)
    if best:
        runs, choices = _keep_best(runs)
        notes += choices
    several = runs.groupby(["configuration", "dataset"])["shots"].nunique().max() > 1
    runs["group"] = runs["configuration"] + (runs["shots"].astype(str) if several else "")
    datasets = tuple(sorted(runs["dataset"].unique()))
    seeds = tuple(sorted(int(s) for s in runs["seed"].unique()))
    tested = tested_metrics(protocol)
    rows = pd.DataFrame(_rows(runs, datasets, len(seeds), _all_metrics(tested, runs)))
    rows["average"] = rows["dataset"] == AVERAGE
    ranked = rows[rows["average"]] if len(datasets) > 1 else rows
    order = ranked.sort_values(
        [f"{tested[-1]}_mean", "method", "settings"],
        ascending=[False, True, True], na_position="last",
    )  # fmt: skip
    rows["rank"] = rows["group"].map({group: i for i, group in enumerate(order["group"])})
    rows = rows.sort_values(["rank", "average", "dataset"], ignore_index=True)
    cells = runs[runs["finished"]]
    rows = annotations.annotate_rows(rows, cells, tested).drop(columns="average")
    return Board(protocol, backbone, rows, seeds, datasets, notes, cells, read)


def _keep_best(runs: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keep the configuration of each method that validation chooses; notes say which."""
    notes, dropped = [], []
    for method, finished in runs[runs["finished"]].groupby("method"):
        count = finished["configuration"].nunique()
        if count == 1:
            continue
        chosen = best_by_validation(finished)
        if chosen is None:
            notes.append(
                f"{method}: all {count} configurations are shown, as they share no data set and"
                " seed with validation accuracies to choose by"
            )
            continue
        mine = runs[runs["method"] == method]
        settings = mine[mine["configuration"] == chosen]["settings"].iloc[0]
        notes.append(f"{method}: best of {count} configurations by validation ({settings})")
        dropped += mine[mine["configuration"] != chosen].index.tolist()
    return runs.drop(dropped), tuple(notes)


def _drop_other_data(runs: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keep the runs on the same data as the newest one; notes count the others."""
    notes = []
    for dataset, finished in runs[runs["finished"]].groupby("dataset"):
        hashes = finished[DATA_HASHES[0]].str.cat(finished[[*DATA_HASHES[1:]]], sep="|")
        other = hashes[hashes != hashes[finished["started"].idxmax()]].index
        if len(other):
            notes.append(
                f"{dataset}: {len(other)} older runs left out, their images, names, template or"
                " transform differ"
            )
            runs = runs.drop(other)
    return runs, tuple(notes)


def _all_metrics(tested: Sequence[str], runs: pd.DataFrame) -> tuple[str, ...]:
    """Return the metrics of a board, with recorded accuracies of single targets or tasks."""
    recorded = (c for c in runs if c.startswith("acc/") and runs[c].notna().any())
    more = sorted(c for c in recorded if c not in (*tested, *OTHERS))
    return (*tested, *more, *OTHERS, *COSTS)


def _rows(
    runs: pd.DataFrame, datasets: Sequence[str], seeds: int, metrics: Sequence[str]
) -> list[dict[str, object]]:
    texts = dict.fromkeys((k for k in (*KEYS, "group") if k != "shots"), object)
    numbers = sorted({*metrics} & {*runs.columns})
    slim = runs[[*texts, "shots", "seed", "finished", *numbers]].astype(texts)  # fast to select
    rows = []
    for _, group in slim.groupby(["method", "group"], sort=True):
        row = partial(_row, group, seeds, metrics)
        by_dataset = dict(list(group.groupby("dataset")))
        rows += [row(by_dataset.get(dataset, group[:0]), dataset) for dataset in datasets]
        if len(datasets) > 1:
            rows.append(_average_row(group, datasets, seeds, metrics))
    return rows


def _row(
    group: pd.DataFrame, seeds: int, metrics: Sequence[str], cell: pd.DataFrame, dataset: str
) -> dict[str, object]:
    done = cell[cell["finished"]]
    shots = cell["shots"].iloc[0] if len(cell) else 0
    row = _keys(group, dataset, str(shots) if shots else "")
    row |= {"runs": len(done), "failed": len(cell) - len(done), "missing": seeds - len(cell)}
    return row | _estimates(done, metrics)


def _average_row(
    group: pd.DataFrame, datasets: Sequence[str], seeds: int, metrics: Sequence[str]
) -> dict[str, object]:
    """Return the average over all data sets, over the seeds that have every data set.

    H is that of the averages, as the field reports it; ``MEAN_OF_H`` is the other one.
    """
    shots = "/".join(str(s) for s in group.drop_duplicates("dataset")["shots"])
    row = _keys(group, AVERAGE, shots if group["shots"].nunique() > 1 else shots.split("/")[0])
    done = group[group["finished"]]
    row |= {"runs": len(done), "failed": len(group) - len(done)}
    row["missing"] = seeds * len(datasets) - len(group)
    complete = done.groupby("seed").filter(lambda g: set(g["dataset"]) >= set(datasets))
    by_seed = complete.groupby("seed")[[c for c in metrics if c in complete]].mean()
    if "acc/hmean" in by_seed:
        by_seed[MEAN_OF_H] = by_seed["acc/hmean"]
        pairs = zip(by_seed["acc/base"], by_seed["acc/novel"], strict=True)
        by_seed["acc/hmean"] = [harmonic_mean(b, n) for b, n in pairs]
        metrics = (*metrics, MEAN_OF_H)
    return row | _estimates(by_seed, metrics)


def _keys(group: pd.DataFrame, dataset: str, shots: str) -> dict[str, object]:
    first = group.iloc[0]
    named = {key: first[key] for key in KEYS if key not in ("dataset", "shots")}
    return {**named, "shots": shots, "dataset": dataset, "group": first["group"]}


def _estimates(table: pd.DataFrame, metrics: Sequence[str]) -> dict[str, object]:
    """Return mean, interval and count of each metric over the rows that have it."""
    there = [m for m in metrics if m in table]
    columns = dict(zip(there, table[there].to_numpy(dtype=float).T, strict=True))
    row: dict[str, object] = {}
    for metric in metrics:
        values = columns.get(metric, np.empty(0))
        estimate = t_interval(values[~np.isnan(values)])
        row |= {f"{metric}_{k}": v for k, v in estimate._asdict().items()}
    return row
