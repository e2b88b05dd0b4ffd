"""The outcome of a numerical procedure as a value; a failure becomes an exception only on demand."""

import enum

from forethought.core.errors import NumericalFailure


class Result(enum.IntEnum):
    """Outcome of an iterative procedure; an integer, so that functions under `jit` can return it."""

    converged = 0
    budget_exhausted = 1
    not_finite = 2
    not_positive_definite = 3
    stalled = 4
    not_stabilizing = 5
    no_variation = 7
    infeasible = 8

    @property
    def message(self) -> str:
        """The outcome as one line of text."""
        return _MESSAGES[self]

    @property
    def usable(self) -> bool:
        """Whether the answer can be used, even if it is not optimal."""
        return self in _USABLE

    def throw(self) -> None:
        """Raise `NumericalFailure` unless the procedure ended with a usable answer."""
        if not self.usable:
            raise NumericalFailure(self.message)


_USABLE = (Result.converged, Result.budget_exhausted, Result.stalled)
_MESSAGES = {
    Result.converged: "converged",
    Result.budget_exhausted: "stopped at its iteration budget; the best answer so far was returned",
    Result.not_finite: "produced numbers that are not finite; look for a diverging model or an unbounded cost",
    Result.not_positive_definite: "a matrix lost positive definiteness; raise the regularization",
    Result.stalled: (
        "no step along the computed descent direction decreased the cost, though its gradient is not zero; the best "
        "answer so far was returned; check the derivatives of dynamics and cost, or compute in float64"
    ),
    Result.not_stabilizing: (
        "no stabilizing controller was found; every mode that does not decay must be reached by the actions "
        "(stabilizable) and seen by the cost (detectable)"
    ),
    Result.no_variation: (
        "the rollouts do not vary in an action at some step, so its effect is unknown; raise the controller's noise, "
        "or fit with a prior"
    ),
    Result.infeasible: (
        "found nothing that satisfies the constraints; relax them (for a trust region: raise the bound on the KL "
        "divergence, or the covariance of the old controller)"
    ),
}
