"""The page docs/commands.md, made from the commands: ``python -m harness.cli.reference``."""

import re
import sys

import typer
from typer.cli import get_docs_for_click

from harness.cli import main

INTRODUCTION = """
`python -m harness.cli.reference > docs/commands.md` writes this page from the commands themselves.

**Settings** are `key=value` words: `data.shots=4`, `method.rank=8`, `seed=2`. Values are TOML; a
word needs no quotes. `method`, `data`, `backbone`, `shots` and `pretrained` are short forms. Where
`run` takes one value, `suite` takes several: `seeds=1,2,3`.

**Exit codes**: 0 done, 1 a run failed, 2 wrong usage, 3 a grid is incomplete, 130 interrupted.

**Environment**: `RINGBENCH_HOME` is the folder of results (`runs`), `RINGBENCH_TRACKING_URI` the
MLflow server or database, `RINGBENCH_DATA` the folder of data sets and `RINGBENCH_CACHE` the folder
of decoded pixels.
"""
TRUNCATED_LIST = r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n"


def render() -> str:
    """Return the whole page as Markdown; it does not depend on the terminal."""
    command = typer.main.get_command(main.build_app())
    context = typer.Context(command, info_name="ringbench")
    page = get_docs_for_click(obj=command, ctx=context, name="ringbench", title="Commands")
    page = re.sub(TRUNCATED_LIST, "", page)
    head, _, sections = page.partition("\n## ")
    index = [
        f"- [`{name}`](#{name.replace(' ', '-')}): {text}"
        for name, text in re.findall(r"^#+ `(.+)`\n\n(.+)", f"## {sections}", re.MULTILINE)
    ]
    title, _, usage = head.partition("\n")
    return "\n".join([title, INTRODUCTION, *index, usage, f"## {sections}".rstrip()]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
