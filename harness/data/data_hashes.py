"""Hashes that identify the data of a run: data sets, subset, class names and templates."""

import hashlib
from collections.abc import Mapping, Sequence

from harness.data.dataset import Dataset
from harness.data.few_shot import FewShotSubset

SHOWN = 20  # skipped images that are named in a record


def hash_of(value: Sequence[object]) -> str:
    """Return 16 hex digits that identify a plain value."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def data_hash(table: Dataset, targets: Sequence[Dataset]) -> str:
    """Return the identity of the data sets of a run; targets count where there are any."""
    return hash_of([table.digest, *(t.digest for t in targets)]) if targets else table.digest


def subset_hash(drawn: FewShotSubset) -> str:
    """Return the identity of a few-shot subset within its data set."""
    return hash_of([drawn.train.tolist(), drawn.val.tolist()])


def split_hashes(
    table: Dataset,
    targets: Sequence[Dataset],
    drawn: FewShotSubset,
    texts: Sequence[tuple[str, ...]],
    skipped: Sequence[str],
) -> dict[str, str]:
    """Return what identifies the data of a run.

    ``texts`` are the templates of the data set and of each target, ``skipped`` the images that were
    left out because they cannot be read.
    """
    names = [each.classnames for each in (table, *targets)]
    plain = [each[0] if len(each) == 1 else each for each in texts]
    hashes = {
        "data_hash": data_hash(table, targets),
        "subset_hash": subset_hash(drawn),
        "names_hash": hash_of(names if targets else names[0]),
        "template_hash": hash_of(plain if targets else plain[0]),
    }
    if skipped:
        hashes["data_hash"] = hash_of([hashes["data_hash"], sorted(skipped)])
        more = ", ..." if len(skipped) > SHOWN else ""
        hashes["skipped"] = f"{len(skipped)}: {', '.join(skipped[:SHOWN])}{more}"
    return hashes


def combined_hash(hashes: Sequence[str]) -> str:
    """Return the hashes of several data sets as one."""
    return hash_of(list(hashes))


def combined_hashes(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what identifies the data of a run with several data sets."""
    keys = ("data_hash", "subset_hash", "names_hash", "template_hash")
    skipped = [hashes["skipped"] for hashes in each if "skipped" in hashes]
    return {
        **{key: combined_hash([hashes[key] for hashes in each]) for key in keys},
        "transform_hash": each[0]["transform_hash"],
        **({"skipped": "; ".join(skipped)} if skipped else {}),
    }
