"""Images that a run was most wrong about, where they may be shown and are still the same."""

import json
from collections.abc import Iterator
from functools import cache

from harness.data import data_hashes, registry
from harness.data.dataset import Dataset
from harness.tracking.run_record import Run
from methods.kit.core.errors import UsageError
from reports.results.predictions import Answers
from reports.site import image_licences, links
from reports.site.links import File

PNG = b"\x89PNG"
LARGEST = 32_000  # bytes of an image; larger ones are no thumbnails


class Thumbnails:
    """Hands out each image once; ``why`` a run's images are not shown is said on its page."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def why_not(self, run: Run) -> str:
        """Empty where the images may be shown."""
        for name in (run.tags["dataset"], *_targets(run)):
            notice = image_licences.licence_notice(name)
            if not notice.allowed:
                return notice.why
        if _hash(run.tags["dataset"], _targets(run)) != run.tags.get("data_hash"):
            return "the data set here is not the one that the run saw"
        return ""

    def files(self, run: Run, answers: Answers) -> Iterator[File]:
        """The images of a run that no run before it had, where there is no reason against it."""
        for wrong in answers.wrong:
            path = self.path(run, wrong.part, wrong.image)
            if path and path not in self._given:
                self._given.add(path)
                yield File(path, self._image(run, wrong.part, wrong.image))

    def path(self, run: Run, part: str, image: int) -> str:
        """Where an image lies; empty for one that is no thumbnail."""
        found = self._image(run, part, image)
        small = found.startswith(PNG) and len(found) <= LARGEST
        return f"images/{links.slug(_dataset(run, part))}/{image}.png" if small else ""

    def _image(self, run: Run, part: str, image: int) -> bytes:
        return _table(_dataset(run, part)).images[image]


def _dataset(run: Run, part: str) -> str:
    """A target is tested as a part of its own name; every other part is of the run's data."""
    return part if part in _targets(run) else run.tags["dataset"]


def _targets(run: Run) -> tuple[str, ...]:
    try:
        found = json.loads(run.params.get("data.targets", "[]"))
    except json.JSONDecodeError:
        return ()
    return tuple(found) if isinstance(found, list) else ()


@cache
def _table(name: str) -> Dataset:
    return registry.read_dataset(name)


@cache
def _hash(name: str, targets: tuple[str, ...]) -> str:
    try:
        return data_hashes.data_hash(_table(name), [_table(t) for t in targets])
    except UsageError:
        return ""
