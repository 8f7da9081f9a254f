"""All files of a site, made from a source alone: the same rows give the same bytes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from reports.figures import distributions
from reports.figures.pareto import write_pareto
from reports.site import content, image_licences, links, render
from reports.site.content import Site
from reports.site.links import File
from reports.site.pages.comparison import comparison_pages
from reports.site.pages.configuration import configuration_pages
from reports.site.pages.leaderboard import leaderboard_pages
from reports.site.pages.method import method_pages
from reports.site.pages.overview import overview_pages
from reports.site.pages.pareto import pareto_pages
from reports.site.pages.run import run_pages
from reports.site.pages.sweep import sweep_pages
from reports.site.records import Source
from reports.tables import leaderboard, paper_table, pareto

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")


def site_files(source: Source, drawn: bool = True) -> Iterator[File]:
    """Yield every file except the manifest.

    Figures for papers, which take longest, only if ``drawn``. Raises UsageError where no run is
    finished.
    """
    site = content.collect_site(source)
    yield from render.static_files()
    for pages in (
        overview_pages,
        leaderboard_pages,
        pareto_pages,
        comparison_pages,
        configuration_pages,
        method_pages,
        sweep_pages,
        table_files,
    ):
        yield from pages(site)
    if drawn:
        yield from picture_files(site)
    shown = False
    for file in run_pages(site):
        shown = shown or file.path.startswith("images/")
        yield file
    if shown:
        yield File("images/NOTICE.md", image_licences.notice_text())


def table_files(site: Site) -> Iterator[File]:
    """Yield the tables of each board as files for papers."""
    boards = zip(site.best, site.whole, site.fronts, site.distributions, strict=True)
    for best, whole, front, known in boards:
        texts = {
            "leaderboard.csv": leaderboard.boards_csv([best]),
            "leaderboard.md": "# Leaderboard\n\n" + leaderboard.board_markdown(best),
            "leaderboard.tex": paper_table.latex_document([best]),
            "configurations.csv": leaderboard.boards_csv([whole]),
            **pareto.pareto_files(front.panels, front.measured, front.asked),
        }
        for name, table in known.items():
            texts[f"{name}.csv"] = table.to_csv(index=False, lineterminator="\n")
        for name, text in texts.items():
            yield File(f"{links.board_folder(best)}/files/{name}", text.encode())


def picture_files(site: Site) -> Iterator[File]:
    """Yield the figures of each board for print."""
    for best, whole, known in zip(site.best, site.whole, site.distributions, strict=True):
        with TemporaryDirectory() as scrap:
            folder = Path(scrap)
            write_pareto(whole, folder, content.COST, whole.headline)
            distributions.write_distributions(best, folder, known)
            for path in sorted(folder.iterdir()):
                if path.suffix in PICTURE_SUFFIXES:
                    yield File(f"{links.board_folder(best)}/files/{path.name}", path.read_bytes())
