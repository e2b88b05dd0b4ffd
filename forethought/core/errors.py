"""Errors shown to users: one line that says how to fix the problem.  The command line prints no traceback for them."""

import difflib
from collections.abc import Iterable
from typing import Any


class ForethoughtError(Exception):
    """A failure that the user can fix or avoid; a programming error is none."""

    exit_status = 1  # of the command line


class UsageError(ForethoughtError):
    """The request itself is wrong (an unknown name, a setting out of range)."""

    exit_status = 2


class EnvironmentFailure(ForethoughtError):
    """The environment raised an exception, or returned values that are not finite or have the wrong shape.

    `episode` holds the steps before the failure (a `Transition`, leading axis [T]), or None if there are none.
    """

    def __init__(self, message: str, episode: Any = None):
        super().__init__(message)
        self.episode = episode


class NumericalFailure(ForethoughtError):
    """A fit or a plan produced numbers that are not finite."""


class CheckpointError(ForethoughtError):
    """A checkpoint is missing, truncated or altered, or belongs to another run."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the known name nearest to `name`, or all known names if none is near."""
    known = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    return "known: " + ", ".join(known) if known else "none is known"
