"""Checks files against the hashes of a manifest and against rebuilt files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reports.provenance.diff import Problem, compare_files, first_different_line
from reports.provenance.manifest import code_hash, sha256_of


@dataclass
class Report:
    """Result of ``verify``.

    ``files`` were hashed and ``tables`` compared; they are made of ``runs`` runs, of which ``here``
    were read from the ledger. The ledger has ``newer`` runs of the same kind, and the sweep has had
    ``later`` trials since. ``same_code`` is false where another version wrote the files.
    """

    files: int = 0
    tables: int = 0
    runs: int = 0
    here: int = 0
    newer: int = 0
    later: int = 0
    same_code: bool = True
    problems: list[Problem] = field(default_factory=list)


class FileCheck:
    """Compares the files of a folder with a manifest, then with rebuilt files one by one.

    ``hash_problems`` are files that are missing or do not have the hash of the manifest; one whose
    differences were named in detail is taken out.
    """

    def __init__(
        self, folder: Path, manifest: str, hashes: Mapping[str, str], code: str, only: Iterable[str]
    ) -> None:
        self.folder, self.manifest, self.hashes = folder, manifest, hashes
        self.same_code = code == code_hash()
        self.hash_problems: dict[str, Problem] = {}
        for name in only:
            path = folder / name
            if not path.is_file():
                self.hash_problems[name] = Problem(name, "", "missing", "")
            elif (found := sha256_of(path.read_bytes())) != hashes[name]:
                self.hash_problems[name] = Problem(name, "SHA-256", found, hashes[name])

    def compare(self, name: str, expected: bytes, is_source: bool = False) -> list[Problem]:
        """Return the differences between a file and its rebuilt bytes.

        The hash of a file ``is_source``, from which the others are rebuilt, is not corrected: it
        cannot prove itself. Bytes outside of tables count only with the same code.
        """
        path = self.folder / name
        if not path.is_file():
            return []
        found = path.read_bytes()
        if found == expected:
            if name in self.hash_problems and not is_source:
                hashes = self.hashes[name], sha256_of(expected)
                self.hash_problems[name] = Problem(self.manifest, f"SHA-256 of {name}", *hashes)
            return []
        problems = compare_files(name, found, expected)
        unexplained = not is_source or name not in self.hash_problems
        if not problems and self.same_code and unexplained:
            problems = first_different_line(name, found, expected)
        if problems:
            self.hash_problems.pop(name, None)
        return problems
