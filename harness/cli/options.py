"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Preset = Annotated[str, typer.Argument(help="A preset: see `ringbench ls presets`.")]
Words = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as seed=2.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Force = Annotated[bool, typer.Option("--force", help="Repeat runs that are already recorded.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and run nothing.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0: torch chooses.")]
Cache = Annotated[
    str, typer.Option(help="Memory for cached frozen features, per process: auto, off, 500MB, 4GB.")
]
Steps = Annotated[
    str, typer.Option(help="Step mode: auto (CUDA graphs on a GPU), eager or compiled.")
]
Tracking = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow server or database.", metavar="URI")
]
Root = Annotated[
    str, typer.Option(help="Folder of data sets.", metavar="FOLDER", envvar="RINGBENCH_DATA")
]
Out = Annotated[
    Path | None, typer.Option(help="Output folder; default runs/report (a site: runs/site).")
]
