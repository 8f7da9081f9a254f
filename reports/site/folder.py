"""A site on disk: written aside, put in place whole, and never over the files of others."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import AfterValidator

from harness.spec.atomic_files import atomic_path
from harness.spec.paths import home_folder, writable_folder
from methods.kit.core.errors import UsageError
from reports.provenance.manifest import code_hash, load_manifest, sha256_of
from reports.site.links import File

MANIFEST, KIND, DRAFTS = "manifest.json", "ringbench site", ".building"
COMPLETE, BUILDING = "complete", "building"


def _inside(name: str) -> str:
    """Raises ValueError for a path that leaves the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name:
        raise ValueError(f"{name!r} is not a path inside the site")
    return name


Hashes = dict[Annotated[str, AfterValidator(_inside)], str]


@dataclass
class SiteManifest:
    """SHA-256 of every file and, by ``page#table``, of every table.

    ``code`` is the hash of the code that made them; ``state`` is complete except while files are
    being put in place.
    """

    files: Hashes = field(default_factory=dict)
    tables: Hashes = field(default_factory=dict)
    code: str = ""
    version: str = ""
    state: str = COMPLETE

    def write(self, folder: Path) -> None:
        facts = {"kind": KIND, **vars(self)}
        text = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        with atomic_path(folder / MANIFEST, folder / DRAFTS / MANIFEST) as draft:
            draft.write_text(text, encoding="utf-8")


def read_site_manifest(folder: Path) -> SiteManifest:
    """Read the manifest of a site. Raises UsageError for a folder that is not one."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder}: not a site, it has no {MANIFEST}")
    remedy = "build the site again with `ringbench report`"
    return load_manifest(SiteManifest, folder / MANIFEST, KIND, remedy)


def write_site(make_files: Callable[[], Iterable[File]], folder: Path) -> SiteManifest:
    """Write a site to a folder that is empty or holds one; other files in it are left alone.

    Raises UsageError for a folder that holds something else, for files in the way, and for a disk
    that cannot be written.
    """
    old = _previous_manifest(folder)
    locks = writable_folder(home_folder() / "locks", "set RINGBENCH_HOME")
    name = sha256_of(str(folder.resolve()).encode())[:16]
    try:
        with FileLock(str(locks / f"site-{name}.lock")).acquire(timeout=0):
            return _write(make_files(), folder, old)
    except Timeout:
        raise UsageError(f"{folder}: another command is building a site there") from None
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error});"
            " free some space or set --out to another folder"
        ) from None


def _previous_manifest(folder: Path) -> SiteManifest:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; set --out to a folder")
    writable_folder(folder, "set --out")
    if (folder / MANIFEST).exists():
        return read_site_manifest(folder)
    others = sorted(p.name for p in folder.iterdir() if not p.name.startswith(DRAFTS))
    if others:
        listed = f"{', '.join(others[:3])}{', ...' if others[3:] else ''}"
        raise UsageError(
            f"{folder}: holds other files ({listed}) and no site; set --out to a new folder"
        )
    return SiteManifest()


def _write(files: Iterable[File], folder: Path, old: SiteManifest) -> SiteManifest:
    drafts = folder / DRAFTS
    shutil.rmtree(drafts, ignore_errors=True)  # of a command that was killed
    new = SiteManifest(code=code_hash(), version=version("ringbench"))
    try:
        for file in files:
            path = drafts / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
            new.files[file.path] = sha256_of(file.data)
            new.tables |= {f"{file.path}#{name}": digest for name, digest in file.tables}
        foreign = [n for n in new.files if n not in old.files and (folder / n).exists()]
        if foreign:
            path = folder / foreign[0]
            raise UsageError(f"{path}: in the way, and not part of a site; move it away")
        _publish(drafts, folder, old, new)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    return new


def _publish(drafts: Path, folder: Path, old: SiteManifest, new: SiteManifest) -> None:
    """Move files into place; whenever this is killed, a manifest lists all files that are there."""
    both = SiteManifest({**old.files, **new.files}, {}, new.code, new.version, BUILDING)
    both.write(folder)
    for name in new.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (drafts / name).replace(folder / name)
    for name in set(old.files) - set(new.files):
        (folder / name).unlink(missing_ok=True)
        place = (folder / name).parent
        while place != folder and place.is_dir() and not any(place.iterdir()):
            place.rmdir()
            place = place.parent
    new.write(folder)
