"""Pages: a template filled with values and tables."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.site import links
from reports.site.html_table import Table
from reports.site.links import File


def render_page(
    path: str, template: str, title: str, tables: Sequence[Table] = (), **values: Any
) -> File:
    """Fill a template; values are escaped.

    The template finds tables by name; ``names`` are those of all tables unless given.
    """
    page = {
        "root": links.path_to_root(path),
        "here": path.split("/")[0],
        "title": title,
        "tables": {t.name: t.html(path) for t in tables},
        "names": [t.name for t in tables],
    }
    text = _templates().get_template(template).render(page | values)
    return File(path, text.encode(), tuple((t.name, t.digest()) for t in tables))


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("reports.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def static_files() -> list[File]:
    """Return the style sheet and the script."""
    folder = files("reports.site") / "static"
    return [File(name, (folder / name).read_bytes()) for name in ("site.css", "site.js")]
