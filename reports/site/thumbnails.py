"""Images that a run was most wrong about, where they may be shown and have not changed."""

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
LARGEST = 32_000  # bytes of a thumbnail


class Thumbnails:
    """Yields each image once, and says why the images of a run are hidden."""

    def __init__(self) -> None:
        self._written: set[str] = set()

    def why_hidden(self, run: Run) -> str:
        """Return the reason, or an empty text where the images may be shown."""
        targets = _targets(run)
        for name in (run.tags["dataset"], *targets):
            notice = image_licences.licence_notice(name)
            if not notice.allowed:
                return notice.why
        if _data_hash(run.tags["dataset"], targets) != run.tags.get("data_hash"):
            return "the data set here is not the one that the run saw"
        return ""

    def new_files(self, run: Run, answers: Answers) -> Iterator[File]:
        """Yield the images of a run that were not written before."""
        for wrong in answers.wrong:
            path = _path(run, wrong.part, wrong.image)
            if path and path not in self._written:
                self._written.add(path)
                yield File(path, _image(run, wrong.part, wrong.image))

    def wrong_answers(self, run: Run, answers: Answers) -> list[dict[str, str]]:
        """Return what a page shows of the images that the run was most wrong about."""
        return [
            {
                "src": _path(run, wrong.part, wrong.image),
                "label": wrong.label,
                "predicted": wrong.predicted,
                "sure": f"{100 * wrong.p_predicted:.1f}",
                "true": f"{100 * wrong.p_label:.1f}",
                "part": wrong.part,
                "image": str(wrong.image),
            }
            for wrong in answers.wrong
        ]


def _path(run: Run, part: str, image: int) -> str:
    """Return where an image is stored in the site; empty for one that is no thumbnail."""
    data = _image(run, part, image)
    small = data.startswith(PNG) and len(data) <= LARGEST
    return f"images/{links.slug(_dataset(run, part))}/{image}.png" if small else ""


def _image(run: Run, part: str, image: int) -> bytes:
    return _table(_dataset(run, part)).images[image]


def _dataset(run: Run, part: str) -> str:
    """Return the data set of a test part: a target is a part of its own name."""
    return part if part in _targets(run) else run.tags["dataset"]


def _targets(run: Run) -> tuple[str, ...]:
    try:
        targets = json.loads(run.params.get("data.targets", "[]"))
    except json.JSONDecodeError:
        return ()
    return tuple(targets) if isinstance(targets, list) else ()


@cache
def _table(name: str) -> Dataset:
    return registry.read_dataset(name)


@cache
def _data_hash(name: str, targets: tuple[str, ...]) -> str:
    try:
        return data_hashes.data_hash(_table(name), [_table(t) for t in targets])
    except UsageError:
        return ""
