"""A site on disk: written beside what is there, put in place whole, and never over other files."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from harness.spec.paths import home_folder, writable_folder
from methods.kit.core.errors import UsageError
from reports.provenance.manifest import code_hash, sha256_of
from reports.site.links import File

MANIFEST, KIND, SCRAP = "manifest.json", "ringbench site", ".building"
COMPLETE, BUILDING = "complete", "building"


@dataclass
class SiteManifest:
    """SHA-256 of every file and, by ``page#table``, of every table. ``code`` is that of the code
    that made them; ``state`` is complete but while files are put in place."""

    files: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    code: str = ""
    version: str = ""
    state: str = COMPLETE

    def text(self) -> str:
        facts = {"kind": KIND, **vars(self)}
        return json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_site_manifest(folder: Path) -> SiteManifest:
    """The manifest of a site. Raises UsageError for what is none."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    if not path.is_file():
        raise UsageError(f"{folder}: not a site, it has no {MANIFEST}")
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts.pop("kind") != KIND:
            raise UsageError(f"{path}: of something else than a site")
        found = SiteManifest(**facts)
        for name in (*found.files, *found.tables):
            _inside(name)
        for value in (*found.files.values(), *found.tables.values()):
            value.encode()
    except UsageError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{path}: damaged, it cannot be read as a site's manifest") from None
    return found


def _inside(name: str) -> None:
    """Raises ValueError for a path that would leave the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name:
        raise ValueError(name)


def write_site(made: Callable[[], Iterable[File]], folder: Path) -> SiteManifest:
    """Put a site into a folder that is empty or holds one; other files in it are left alone.

    Raises UsageError for a folder of something else, for files in the way, and for a disk that
    does not take it.
    """
    old = _before(folder)
    lock = FileLock(str(_locks() / f"site-{sha256_of(str(folder.resolve()).encode())[:16]}.lock"))
    try:
        with lock.acquire(timeout=0):
            return _write(made(), folder, old)
    except Timeout:
        raise UsageError(f"{folder}: another command is building a site there") from None
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error});"
            " free some space or set --out to another folder"
        ) from None


def _locks() -> Path:
    return writable_folder(home_folder() / "locks", "set RINGBENCH_HOME")


def _before(folder: Path) -> SiteManifest:
    """What a site that is there lists."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; set --out to a folder")
    writable_folder(folder, "set --out")
    if (folder / MANIFEST).exists():
        return read_site_manifest(folder)
    others = sorted(p.name for p in folder.iterdir() if not p.name.startswith(SCRAP))
    if others:
        raise UsageError(
            f"{folder}: holds other files ({', '.join(others[:3])}{', ...' if others[3:] else ''})"
            " and no site; set --out to a new folder"
        )
    return SiteManifest()


def _write(made: Iterable[File], folder: Path, old: SiteManifest) -> SiteManifest:
    scrap = folder / SCRAP
    shutil.rmtree(scrap, ignore_errors=True)  # of a command that was killed
    new = SiteManifest(code=code_hash(), version=version("ringbench"))
    try:
        for file in made:
            path = scrap / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
            new.files[file.path] = sha256_of(file.data)
            new.tables |= {f"{file.path}#{name}": digest for name, digest in file.tables}
        foreign = [n for n in new.files if n not in old.files and (folder / n).exists()]
        if foreign:
            raise UsageError(f"{folder / foreign[0]}: in the way, and not of a site; move it away")
        _place(scrap, folder, old, new)
    finally:
        shutil.rmtree(scrap, ignore_errors=True)
    return new


def _place(scrap: Path, folder: Path, old: SiteManifest, new: SiteManifest) -> None:
    """Whatever is killed in between, a manifest lists all files that are there."""
    both = SiteManifest({**old.files, **new.files}, {}, new.code, new.version, BUILDING)
    (scrap / MANIFEST).write_text(both.text(), encoding="utf-8")
    (scrap / MANIFEST).replace(folder / MANIFEST)
    for name in new.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (scrap / name).replace(folder / name)
    for name in set(old.files) - set(new.files):
        (folder / name).unlink(missing_ok=True)
        _tidy((folder / name).parent, folder)
    (scrap / MANIFEST).write_text(new.text(), encoding="utf-8")
    (scrap / MANIFEST).replace(folder / MANIFEST)


def _tidy(place: Path, folder: Path) -> None:
    """Remove folders that became empty."""
    while place != folder and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
        place = place.parent
