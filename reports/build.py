"""From the ledger to boards."""

from harness.ledger import open_ledger
from methods.kit.errors import UsageError
from reports.table import Board, boards, pick


def collect(uri: str | None, protocol: str | None, backbone: str | None) -> list[Board]:
    """The boards of the ledger that were asked for. Raises UsageError when there is none."""
    return pick(boards(open_ledger(uri).runs()), protocol, backbone)


def only(found: list[Board]) -> Board:
    """The single board of a picture. Raises UsageError when there are several to choose from."""
    if len(found) > 1:
        there = "; ".join(f"--protocol {b.protocol} --backbone {b.backbone}" for b in found)
        raise UsageError(f"several comparisons are recorded, choose one: {there}")
    return found[0]
