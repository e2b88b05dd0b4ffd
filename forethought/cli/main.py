"""`forethought COMMAND ...`: runs a command; every failure becomes one line and an exit status.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from forethought._version import __version__
from forethought.cli import (
    check,
    distill,
    evaluate,
    export,
    fit,
    listing,
    plan,
    play,
    plot,
    progress_line,
    report,
    sweep,
    train,
    video,
)
from forethought.cli.compiled import keep_compiled
from forethought.cli.flags import Parser
from forethought.core.errors import ForethoughtError, UsageError, nearest
from forethought.runs.signals import noted

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

ABOUT = "Model-based reinforcement learning: learn a model of a system from a few trials, and plan with this model."
COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "sweep": sweep,
    "fit": fit,
    "plan": plan,
    "evaluate": evaluate,
    "report": report,
    "distill": distill,
    "video": video,
    "export": export,
    "plot": plot,
    "list": listing,
    "check": check,
    "play": play,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(argv)
        sys.stdout.flush()  # a closed pipe is detected here, not at interpreter exit
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted", argv)
        return INTERRUPTED
    except ForethoughtError as error:
        _complain(f"error: {error}", argv)
        return error.exit_status
    except Exception as error:  # any exception becomes one line; --debug shows the traceback
        hint = "" if "--debug" in argv else "; run again with --debug for the traceback"
        _complain(f"error: {type(error).__name__}: {error}{hint}", argv)
        return FAILED


def _run(argv: Sequence[str]) -> int:
    front = _front_parser()
    if not argv or argv[0] in ("-h", "--help"):
        front.print_help()
        return DONE if argv else WRONG_USAGE
    if argv[0] == "--version":
        print(__version__)
        return DONE
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        raise UsageError(f"unknown command '{name}'; {nearest(name, COMMANDS)}")
    command = COMMANDS[name]
    parser = Parser(f"forethought {name}", command.ABOUT)
    command.configure(parser, rest)
    values = parser.parse(rest)
    _look_here_for_modules()
    keep_compiled()
    with warnings.catch_warnings(), noted():
        warnings.showwarning = _show_warning
        return int(command.run(values))


def _front_parser() -> Parser:
    lines = [f"  {name:10}{command.ABOUT}" for name, command in COMMANDS.items()]
    after = "\n".join(["commands:", *lines, "", "`forethought COMMAND --help` shows the arguments of a command."])
    parser = Parser("forethought", ABOUT, after, usage="forethought COMMAND ...")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    return parser


def _look_here_for_modules() -> None:
    """Make modules in the current folder importable for `module:Name`, after all installed packages."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Show warnings for users as one line; show warnings about code in Python's format."""
    progress_line.clear()
    if category is UserWarning:
        print(f"warning: {' '.join(str(message).split())}", file=file or sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def _complain(line: str, argv: Sequence[str]) -> None:
    progress_line.clear()
    if "--debug" in argv:
        traceback.print_exc()
    print(" ".join(line.split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
