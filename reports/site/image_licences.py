"""Data sets whose images may be shown: every licence in their notice allows it."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

from harness.data import registry

# Licences under which an image may be passed on with its notice; share-alike, non-commercial and
# unstated ones are not among them.
ALLOWED = {
    "MIT",
    "ISC",
    "Apache-2.0",
    "BSD-3-Clause",
    "CC0-1.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "Unlicense",
}


@dataclass(frozen=True)
class Notice:
    """``why`` says under which licence the images are shown, or why they are not."""

    allowed: bool
    why: str


def licence_notice(dataset: str) -> Notice:
    """Return what the notices of the package say about a data set."""
    if dataset not in registry.embedded_names():
        return Notice(False, f"no notice that allows it is known for the data set {dataset}")
    licences = sorted({licence for names, licence in _rows() if dataset in names})
    odd = [licence for licence in licences if licence not in ALLOWED]
    if odd or not licences:
        return Notice(
            False, f"the notice of {dataset} does not allow it ({', '.join(odd) or 'none'})"
        )
    return Notice(True, f"images of {dataset} under {', '.join(licences)}")


def notice_text() -> bytes:
    """Return authors, licences and sources of everything that is shown."""
    return _file().encode()


@cache
def _file() -> str:
    return (resources.files("harness") / "embedded" / "tasks" / "NOTICE.md").read_text("utf-8")


@cache
def _rows() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return (data sets, licence) of each source."""
    lines = [line.split("|") for line in _file().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines]
    head, *rows = [c for c in cells if not set(c[0]) <= {"-", " "}]
    names, licence = head.index("used in"), head.index("licence")
    return tuple((tuple(n.strip() for n in row[names].split(",")), row[licence]) for row in rows)
