"""Errors shown to users: one line with the remedy.  The command line prints them without a traceback."""

import difflib
from collections.abc import Iterable
from typing import Any


class ForethoughtError(Exception):
    """Something went wrong that is not a programming error."""

    exit_status = 1  # of the command line


class UsageError(ForethoughtError):
    """The request itself is wrong (an unknown name, a setting out of range)."""

    exit_status = 2


class EnvironmentFailure(ForethoughtError):
    """The environment raised, or returned something no model can learn from.

    `episode` holds the steps before that (a `Transition`, leading axis [T]), None where there are none.
    """

    def __init__(self, message: str, episode: Any = None):
        super().__init__(message)
        self.episode = episode


class NumericalFailure(ForethoughtError):
    """A fit or a plan produced numbers that are not finite."""


class CheckpointError(ForethoughtError):
    """A checkpoint is missing, truncated, altered, or of another run."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the known name nearest to `name`, or all known names if none is near."""
    known = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    return "known: " + ", ".join(known) if known else "none is known"
