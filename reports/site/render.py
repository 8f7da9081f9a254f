"""A page: a template with values, its tables and their hashes."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from reports.site import links
from reports.site.html_table import Table
from reports.site.links import File


def render_page(
    path: str, template: str, title: str, tables: Sequence[Table] = (), **values: Any
) -> File:
    """Fill a template; what it is given is escaped. Tables are found by their names."""
    root = links.path_to_root(path)
    made = {t.name: t.html(path) for t in tables}
    text = (
        _templates()
        .get_template(template)
        .render(root=root, title=title, tables=made, here=path.split("/")[0], **values)
    )
    return File(path, text.encode(), tuple((t.name, t.digest()) for t in tables))


@cache
def _templates() -> Environment:
    folder = files("reports.site") / "templates"

    def load(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    return Environment(
        loader=FunctionLoader(load),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def static_files() -> list[File]:
    """The style sheet and the script."""
    folder = files("reports.site") / "static"
    return [File(name, (folder / name).read_bytes()) for name in ("site.css", "site.js")]
