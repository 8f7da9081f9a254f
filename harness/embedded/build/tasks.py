"""The tasks of the embedded suite: one Parquet file each, their table, and their notice."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.embedded.build import drawn, photographed
from harness.embedded.build.icons import Iconify, notice
from harness.embedded.build.rows import Rows
from harness.embedded.build.sources import PACKAGE

TASKS: dict[str, Callable[[Iconify], Rows]] = {
    "icon-concepts": drawn.icon_concepts,
    "emoji-things": drawn.emoji_things,
    "flags": drawn.flags,
    "fashion-mnist": lambda _: photographed.fashion(),
    "digits": lambda _: photographed.digits(),
}

# Sources that are no icon sets: title, author, licence, home.
OTHERS = {
    "fashion-mnist": [
        "Fashion-MNIST",
        "Zalando SE",
        "MIT",
        "github.com/zalandoresearch/fashion-mnist",
    ],
    "digits": [
        "Optical Recognition of Handwritten Digits (test part)",
        "E. Alpaydin, C. Kaynak; via scikit-learn",
        "CC-BY-4.0",
        "archive.ics.uci.edu/dataset/80",
    ],
}


def build_tasks(icons: Iconify, out: Path, only: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Write the tasks into a folder, with tasks.json and NOTICE.md. Raises UsageError."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "tasks.json"
    table: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    for name, make in TASKS.items():
        if not only or name in only:
            rows = make(icons)
            rows.write(out)
            table[name] = rows.about()
    table = {name: table[name] for name in TASKS if name in table}
    path.write_text(json.dumps(table, indent=1) + "\n")
    (out / "NOTICE.md").write_text(_notice(icons, table))
    return table


def _notice(icons: Iconify, table: dict[str, dict[str, Any]]) -> str:
    used: dict[str, set[str]] = defaultdict(set)
    for task, about in table.items():
        for domain in (d for side in about["domains"].values() for d in side):
            used[domain.removesuffix("-4x3")].add(task)
    rows = []
    for source in sorted(used):
        title, *rest = OTHERS[source] if source in OTHERS else icons.source(source)
        rows.append([title, ", ".join(sorted(used[source])), *rest])
    sentence = (
        "Drawings were rendered to pixels from the SVG sources packaged in"
        f" `{PACKAGE}` {icons.version} (npm); monochrome icons were coloured."
    )
    columns = ["source", "used in", "author", "licence", "home"]
    return notice("Sources and licences of the tasks", sentence, columns, rows)
