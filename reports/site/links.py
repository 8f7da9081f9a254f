"""Paths in a site: safe as file names, and the same for the same thing."""

import hashlib
import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache

from harness.tracking.run_record import Run
from reports.results.board import Board

LONGEST = 60


@dataclass(frozen=True)
class File:
    """A file of a site. ``tables`` has the SHA-256 of each table on a page."""

    path: str
    data: bytes
    tables: tuple[tuple[str, str], ...] = ()


def slug(text: str) -> str:
    """Return a name as part of a path; a changed name gets a hash, so that no two are equal."""
    plain = re.sub(r"[^A-Za-z0-9_=-]+", "-", text).strip("-")[:LONGEST]
    if plain == text and text:
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def board_folder(board: Board) -> str:
    return f"boards/{slug(f'{board.protocol}-{board.backbone}')}"


def row(board: Board, group: str, method: str) -> str:
    """Return the page of a configuration, with the runs behind its numbers."""
    tail = hashlib.sha256(group.encode()).hexdigest()[:8]
    return f"{board_folder(board)}/rows/{slug(method)}-{tail}.html"


def pair(board: Board, first: str, second: str) -> str:
    """Return the page of two compared methods, with the runs of both."""
    return f"{board_folder(board)}/pairs/{slug(f'{first}--{second}')}.html"


def run(run: Run | str) -> str:
    return f"runs/{slug(run if isinstance(run, str) else run.id)}.html"


def method(name: str) -> str:
    return f"methods/{slug(name)}.html"


def sweep(name: str) -> str:
    return f"sweeps/{slug(name)}/index.html"


def trial(name: str, number: int) -> str:
    return f"sweeps/{slug(name)}/trials/{number}.html"


def path_to_root(page: str) -> str:
    return "../" * page.count("/")


@lru_cache(maxsize=4096)
def relative_link(page: str, target: str) -> str:
    """Return the link from a page to another path, which may end in an anchor."""
    path, hash_, anchor = target.partition("#")
    return posixpath.relpath(path, posixpath.dirname(page)) + hash_ + anchor
