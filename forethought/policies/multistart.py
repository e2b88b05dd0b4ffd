"""Search for the policy that a learned model expects to cost least: several beginnings, gradients, the best survives.

The expected cost of a policy has many local optima (a pole that spins, a pole that is held askew), and what a search
finds depends on where it begins more than on how long it runs.  So several beginnings are followed; the choice is by
value, and what is not finite loses.
Source: L-BFGS-B, Byrd, Lu, Nocedal & Zhu (1995), by SciPy.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WORTHWHILE = 1e-6  # of the cost: what a beginning must have saved for another one

Objective = Callable[[Any], tuple[Any, Any]]  # pytree of arrays -> value, gradient as the same pytree
Limits = Callable[[Any], tuple[Any, Any]]  # pytree of arrays -> least and greatest values around it


class Found(NamedTuple):
    """A point of a search."""

    at: Any  # pytree of arrays
    cost: float
    evaluations: int
    converged: bool
    beginning: int  # which of the starts it came from


def descend(
    objective: Objective, start: Any, *, evaluations: int, limits: tuple[Any, Any] | None = None, beginning: int = 0
) -> Found:
    """L-BFGS from `start`; the best point seen.

    Args:
        objective: value and gradient.
        start: pytree of arrays.
        evaluations: of the objective, at most.
        limits: least and greatest values, pytrees like `start`.
        beginning: passed on to the result.
    A saturating cost is all but flat far from its goal, which is no reason to stop there: the first step has length 1,
    however small the gradient.  Where a line search finds no way on, or runs into costs that are not finite, the search
    begins anew from the best point, as long as the last beginning was worth it.
    """
    import scipy.optimize  # here: it changes the warning filters

    leaves, structure = jax.tree.flatten(start)
    shapes, dtypes = [leaf.shape for leaf in leaves], [leaf.dtype for leaf in leaves]
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    best: tuple[float, np.ndarray] = np.inf, _flat(start)
    done, spent, scale = None, 0, None

    def unpack(vector: np.ndarray) -> Any:
        parts = zip(np.split(vector, ends), shapes, dtypes, strict=True)
        return jax.tree.unflatten(structure, [jnp.asarray(a.reshape(shape), dtype) for a, shape, dtype in parts])

    def evaluate(vector: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, spent, scale
        spent += 1
        value, gradient = objective(unpack(vector))
        cost, slope = float(value), _flat(gradient)
        if not (np.isfinite(cost) and np.isfinite(slope).all()):
            raise _Lost
        if cost < best[0]:
            best = cost, vector.copy()
        if scale is None:
            scale = 1 / (float(np.linalg.norm(slope)) or 1.0)
        return scale * cost, scale * slope

    box = None if limits is None else list(zip(_flat(limits[0]), _flat(limits[1]), strict=True))
    while spent < evaluations:
        before, scale = best[0], None
        options = {"maxfun": evaluations - spent, "maxcor": 20, "maxiter": evaluations, "gtol": 0.0, "ftol": 1e-13}
        try:
            done = scipy.optimize.minimize(evaluate, best[1], jac=True, method="L-BFGS-B", bounds=box, options=options)
        except _Lost:
            done = None
        saved = before - best[0]
        if (done is not None and done.success) or not saved > WORTHWHILE * abs(best[0]):  # nan where no cost was finite
            break
    return Found(unpack(best[1]), best[0], spent, done is not None and bool(done.success), beginning)


class _Lost(Exception):
    """The search came to where the cost is not finite."""


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


def search(
    objective: Objective, starts: Sequence[Any], *, evaluations: int, limits: Limits | None = None
) -> list[Found]:
    """Where the descents from all `starts` (pytrees of arrays) end, cheapest first; `evaluations` for each."""
    found = []
    for i, start in enumerate(starts):
        box = None if limits is None else limits(start)
        found.append(descend(objective, start, evaluations=evaluations, limits=box, beginning=i))
    return sorted(found, key=lambda one: one.cost)
