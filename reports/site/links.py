"""Where things lie in a site: names that are safe as files, the same for the same thing."""

import hashlib
import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache

from harness.tracking.run_record import Run
from reports.results.board import Board

LONGEST = 60


def slug(text: str) -> str:
    """A name as part of a path; what had to be changed gets a hash, so that no two are the same."""
    plain = re.sub(r"[^A-Za-z0-9_=-]+", "-", text).strip("-")[:LONGEST]
    if plain == text and text:
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def board_link(found: Board) -> str:
    """The folder of a board."""
    return f"boards/{slug(f'{found.protocol}-{found.backbone}')}"


def row(found: Board, group: str, method: str) -> str:
    """The page of a way to train, with the runs behind its numbers."""
    tail = hashlib.sha256(group.encode()).hexdigest()[:8]
    return f"{board_link(found)}/rows/{slug(method)}-{tail}.html"


def pair(found: Board, first: str, second: str) -> str:
    """The page of two that are compared, with the runs of both."""
    return f"{board_link(found)}/pairs/{slug(f'{first}--{second}')}.html"


def run(found: Run | str) -> str:
    return f"runs/{slug(found if isinstance(found, str) else found.id)}.html"


def method(name: str) -> str:
    return f"methods/{slug(name)}.html"


def sweep(name: str) -> str:
    return f"sweeps/{slug(name)}/index.html"


def trial(name: str, number: int) -> str:
    """The page of a trial of a sweep."""
    return f"sweeps/{slug(name)}/trials/{number}.html"


def path_to_root(path: str) -> str:
    """The way from a page to the site's root."""
    return "../" * path.count("/")


@lru_cache(maxsize=4096)
def relative_link(page: str, target: str) -> str:
    """The way from a page to another place, which may end in an anchor."""
    path, hash_, anchor = target.partition("#")
    return posixpath.relpath(path, posixpath.dirname(page)) + hash_ + anchor


@dataclass(frozen=True)
class File:
    """A file of a site. ``tables`` has the SHA-256 of each table on a page."""

    path: str
    data: bytes
    tables: tuple[tuple[str, str], ...] = ()
