"""The command ``ringbench``: names the modules that hold the commands, and turns errors into one
line and an exit code (0 done, 1 a run failed, 2 wrong usage, 3 a grid is incomplete)."""

import importlib
import os
import signal
import sys
from functools import cache
from types import FrameType
from typing import Any

import typer

from harness.spec import environment

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
def _app() -> typer.Typer:
    """All commands, put together once a process."""
    app = typer.Typer(
        name="ringbench",
        help="Compare ways to adapt CLIP: one loop, the same data, seeds and budget.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in MODULES:
        importlib.import_module(module).register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code."""
    environment.mark_own_process()
    sys.exit(call(sys.argv[1:] if arguments is None else arguments))


def call(arguments: list[str]) -> int:
    """Run a command; returns the exit code."""
    from methods.kit.core.errors import UsageError

    signal.signal(signal.SIGTERM, _stop)
    try:
        return int(_app()(arguments, standalone_mode=False) or 0)
    except UsageError as error:
        return _refuse(str(error))
    except ClickException as error:
        text = " ".join(str(error.format_message()).split())
        return _refuse(text) if text else 2  # the help was shown instead
    except (typer.Abort, KeyboardInterrupt):
        return _refuse("stopped; what was finished is recorded", code=130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a disk that is full, a file that may not be written
        return _refuse(f"{error.filename or 'cannot write'}: {error.strerror or error}")


def _refuse(line: str, code: int = 2) -> int:
    sys.stderr.write(f"ringbench: {line}\n")
    return code


def _stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM (a cluster that wants its machine back) ends a command as Ctrl-C does."""
    raise KeyboardInterrupt
