"""One line of the terminal that says how far a long command is; nothing where standard error is a file."""

import sys


def show(text: str) -> None:
    """Replace the line by `text`."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def clear() -> None:
    """Remove the line, before other text is printed."""
    show("")
