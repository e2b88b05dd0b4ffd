"""How a numerical procedure ended: a value, raised only on demand."""

import enum

from forethought.core.errors import NumericalFailure


class Result(enum.IntEnum):
    """Outcome of an iterative procedure, small enough to travel through `jit` as an integer."""

    converged = 0
    budget_exhausted = 1
    not_finite = 2
    not_positive_definite = 3

    @property
    def message(self) -> str:
        """One line for people."""
        return _MESSAGES[self]

    def throw(self) -> None:
        """Raise `NumericalFailure` unless the procedure ended with a usable answer."""
        if self >= Result.not_finite:
            raise NumericalFailure(self.message)


_MESSAGES = {
    Result.converged: "converged",
    Result.budget_exhausted: "stopped at its iteration budget; the best answer so far was returned",
    Result.not_finite: "produced numbers that are not finite; look for a diverging model or an unbounded cost",
    Result.not_positive_definite: "a matrix lost positive definiteness; raise the regularization",
}
