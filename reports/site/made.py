"""All files of a site, one after another, made of a source alone: same rows, same bytes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from reports import distributions, latex, leaderboard, pareto
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

PRINTED = (".png", ".svg", ".pdf")


def files(source: Source, drawn: bool = True) -> Iterator[File]:
    """Every file but the manifest; with ``drawn`` the pictures for papers, which take longest.

    Raises UsageError where nothing is finished.
    """
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
    if drawn:
        yield from pictures(site)
    shown = False
    for file in run_pages.pages(site):
        shown = shown or file.path.startswith("images/")
        yield file
    if shown:
        yield File("images/NOTICE.md", licence.text())


def papers(site: Site) -> Iterator[File]:
    """The tables of each board as files for papers."""
    boards = zip(site.best, site.whole, site.fronts, site.distributions, strict=True)
    for best, whole, front, known in boards:
        texts = {
            "leaderboard.csv": leaderboard.csv([best]),
            "leaderboard.md": "# Leaderboard\n\n" + leaderboard.markdown(best),
            "leaderboard.tex": latex.document([best]),
            "configurations.csv": leaderboard.csv([whole]),
            **pareto.texts(front.panels, front.measured, front.asked),
        }
        for name, table in known.items():
            texts[f"{name}.csv"] = table.to_csv(index=False, lineterminator="\n")
        for name, text in texts.items():
            yield File(f"{places.board(best)}/files/{name}", text.encode())


def pictures(site: Site) -> Iterator[File]:
    """The pictures of each board in print."""
    for best, whole, known in zip(site.best, site.whole, site.distributions, strict=True):
        with TemporaryDirectory() as scrap:
            folder = Path(scrap)
            pareto.write(whole, folder, model.COST, whole.headline)
            distributions.write(best, folder, known)
            for path in sorted(folder.iterdir()):
                if path.suffix in PRINTED:
                    yield File(f"{places.board(best)}/files/{path.name}", path.read_bytes())
