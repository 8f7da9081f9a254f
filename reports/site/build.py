"""All files of a site, one after another, made of a source alone: same rows, same bytes."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from reports.figures import distributions
from reports.figures.pareto import write_pareto
from reports.site import content, image_licences, links, render
from reports.site.content import Site
from reports.site.links import File
from reports.site.pages import comparison, configuration, method, overview, run, sweep
from reports.site.pages.leaderboard import leaderboard_pages
from reports.site.pages.pareto import pareto_pages
from reports.site.records import Source
from reports.tables import leaderboard, paper_table, pareto

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")


def site_files(source: Source, drawn: bool = True) -> Iterator[File]:
    """Every file but the manifest; with ``drawn`` the pictures for papers, which take longest.

    Raises UsageError where nothing is finished.
    """
    site = content.collect_site(source)
    yield from render.static_files()
    yield from overview.overview_pages(site)
    yield from leaderboard_pages(site)
    yield from pareto_pages(site)
    yield from comparison.comparison_pages(site)
    yield from configuration.configuration_pages(site)
    yield from method.method_pages(site)
    yield from sweep.sweep_pages(site)
    yield from table_files(site)
    if drawn:
        yield from picture_files(site)
    shown = False
    for file in run.run_pages(site):
        shown = shown or file.path.startswith("images/")
        yield file
    if shown:
        yield File("images/NOTICE.md", image_licences.notice_text())


def table_files(site: Site) -> Iterator[File]:
    """The tables of each board as files for papers."""
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
            yield File(f"{links.board_link(best)}/files/{name}", text.encode())


def picture_files(site: Site) -> Iterator[File]:
    """The pictures of each board in print."""
    for best, whole, known in zip(site.best, site.whole, site.distributions, strict=True):
        with TemporaryDirectory() as scrap:
            folder = Path(scrap)
            write_pareto(whole, folder, content.COST, whole.headline)
            distributions.write_distributions(best, folder, known)
            for path in sorted(folder.iterdir()):
                if path.suffix in PICTURE_SUFFIXES:
                    yield File(f"{links.board_link(best)}/files/{path.name}", path.read_bytes())
