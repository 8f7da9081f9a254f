"""The command ``ringbench``: registers all commands; errors become one line and an exit code.

Exit codes: 0 done, 1 a run failed, 2 wrong usage, 3 a grid is incomplete. Command modules import
what they need when a command runs, so that help and mistyped words need no torch.
"""

import importlib
import os
import signal
import sys
from functools import cache
from importlib.metadata import version
from types import FrameType
from typing import Annotated, Any

import typer

from harness.spec import environment
from methods.kit.core.errors import UsageError

MODULES = (
    "harness.cli.run_commands",
    "harness.cli.data_commands",
    "sweeps.cli.commands",
    "reports.cli.commands",
    "reports.cli.inspect",
    "reports.cli.published",
    "reports.cli.verify",
)

# typer carries its own copy of click in newer releases; its exceptions are found by ancestry.
ClickException: Any = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")


@cache
def build_app() -> typer.Typer:
    """Return the application with the commands of all ``MODULES``."""
    app = typer.Typer(
        name="ringbench",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for module in MODULES:
        importlib.import_module(module).register(app)
    return app


def _print_version(shown: bool) -> None:
    if shown:
        sys.stdout.write(f"ringbench {version('ringbench')}\n")
        raise typer.Exit


def _options(
    version_: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Compare parameter-efficient ways to adapt CLIP: one loop, same data, seeds and budget."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    environment.mark_own_process()
    sys.exit(call(sys.argv[1:] if arguments is None else arguments))


def call(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(build_app()(arguments, prog_name="ringbench", standalone_mode=False) or 0)
    except UsageError as error:
        return _refuse(str(error))
    except ClickException as error:
        text = " ".join(str(error.format_message()).split())
        return _refuse(text) if text else 2  # typer has shown the help
    except (typer.Abort, KeyboardInterrupt):
        return _refuse("stopped; finished runs are recorded", code=130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # such as a full disk or a file without permission
        return _refuse(f"{error.filename or 'cannot write'}: {error.strerror or error}")


def _refuse(line: str, code: int = 2) -> int:
    sys.stderr.write(f"ringbench: {line}\n")
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End a command on SIGTERM, which clusters send, as on Ctrl-C."""
    raise KeyboardInterrupt
