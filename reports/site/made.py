"""All files of a site, one after another, made of a source alone: same rows, same bytes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from reports import distributions, leaderboard, pareto
from reports.site import (
    board_pages,
    compare_pages,
    licence,
    method_pages,
    model,
    overview,
    page,
    places,
    plane_pages,
    row_pages,
    run_pages,
    sweep_pages,
)
from reports.site.model import Site
from reports.site.places import File
from reports.site.source import Source


def files(source: Source) -> Iterator[File]:
    """Every file but the manifest. Raises UsageError where nothing is finished."""
    site = model.make(source)
    yield from page.fixed()
    yield from overview.pages(site)
    yield from board_pages.pages(site)
    yield from plane_pages.pages(site)
    yield from compare_pages.pages(site)
    yield from row_pages.pages(site)
    yield from method_pages.pages(site)
    yield from sweep_pages.pages(site)
    yield from papers(site)
    shown = False
    for file in run_pages.pages(site):
        shown = shown or file.path.startswith("images/")
        yield file
    if shown:
        yield File("images/NOTICE.md", licence.text())


def papers(site: Site) -> Iterator[File]:
    """The tables of each board as files for papers, and its pictures in print."""
    for best, whole in zip(site.best, site.whole, strict=True):
        with TemporaryDirectory() as scrap:
            folder = Path(scrap)
            leaderboard.write([best], folder)
            (folder / "leaderboard.html").unlink()  # the page is one
            (folder / "configurations.csv").write_text(leaderboard.csv([whole]))
            pareto.write(whole, folder, "params/trainable", whole.headline)
            distributions.write(best, folder)
            for path in sorted(folder.iterdir()):
                yield File(f"{places.board(best)}/files/{path.name}", path.read_bytes())
