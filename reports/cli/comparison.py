"""Comparisons printed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.analyses.comparison import Comparison


def print_comparison(comparisons: "Sequence[Comparison]", title: str, single: bool = False) -> None:
    """Print a table of pairs with notes; ``single`` adds the data sets of the only pair."""
    from harness.cli import console
    from reports.tables import comparison

    rows = comparison.pair_rows(comparisons)
    console.table(comparison.PAIR_COLUMNS, rows, title, comparison.OPTIONAL_COLUMNS)
    if single and len(comparisons) == 1:
        rows = [row[2:] for row in comparison.dataset_rows(comparisons)]
        console.table(comparison.DATASET_COLUMNS[2:], rows)
    for note in comparison.comparison_notes(comparisons):
        console.say(f"  {note}")
