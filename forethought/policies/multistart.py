"""Gradient search from several starts: L-BFGS from each, the results sorted by cost.

The expected cost of a policy has many local minima (such as a spinning pole), so the result depends more on the start
than on the number of evaluations.  Results with a cost that is not finite are sorted last.
Source: L-BFGS-B, Byrd, Lu, Nocedal & Zhu (1995), by SciPy.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SIGNIFICANT = 1e-6  # smallest relative decrease of the cost since the last restart for which L-BFGS is restarted

Objective = Callable[[Any], tuple[Any, Any]]  # pytree of arrays -> value, gradient as the same pytree
Limits = Callable[[Any], tuple[Any, Any]]  # start (pytree of arrays) -> lower and upper bounds


class Found(NamedTuple):
    """The result of a search."""

    at: Any  # pytree of arrays
    cost: float
    evaluations: int
    converged: bool
    start: int  # index of the start that it was found from


def descend(
    objective: Objective, start: Any, *, evaluations: int, limits: tuple[Any, Any] | None = None, number: int = 0
) -> Found:
    """Run L-BFGS from `start` and return the best evaluated point.

    Args:
        objective: value and gradient.
        start: pytree of arrays.
        evaluations: maximum number of evaluations of the objective.
        limits: lower and upper bounds, pytrees like `start`.
        number: index of the start, for the result.
    A saturating cost is nearly flat far from the goal.  So that the search does not stop there, the first step has
    length 1, even if the gradient is small.  If the line search fails or reaches a cost that is not finite, L-BFGS is
    restarted from the best point, provided that the cost decreased since the last restart.
    """
    import scipy.optimize  # not at the top: it changes the warning filters

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
            raise _NotFinite
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
        except _NotFinite:
            done = None
        saved = before - best[0]
        if (done is not None and done.success) or not saved > SIGNIFICANT * abs(best[0]):  # NaN if no cost was finite
            break
    return Found(unpack(best[1]), best[0], spent, done is not None and bool(done.success), number)


class _NotFinite(Exception):
    """Raised when the search reaches a point where cost or gradient is not finite."""


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


def search(
    objective: Objective, starts: Sequence[Any], *, evaluations: int, limits: Limits | None = None
) -> list[Found]:
    """The results of `descend` from all `starts` (pytrees of arrays), lowest cost first; `evaluations` per start."""
    found = []
    for i, start in enumerate(starts):
        box = None if limits is None else limits(start)
        found.append(descend(objective, start, evaluations=evaluations, limits=box, number=i))
    return sorted(found, key=lambda one: one.cost)


def screened_search(
    screening: Objective,
    objective: Objective,
    starts: Sequence[Any],
    *,
    screening_evaluations: int,
    finalists: int,
    evaluations: int,
    limits: Limits | None = None,
) -> Found:
    """A short search from every start (screening), then a longer one from the best results (the finalists).

    Args:
        screening, objective: value and gradient, in the short and in the longer searches.
        starts: pytrees of arrays.
        screening_evaluations: evaluations of `screening` per start; a single start is not screened.
        finalists: number of results from which the longer searches start.
        evaluations: evaluations of `objective` per finalist.
        limits: bounds of a search.
    Returns: the best result, with the evaluations of all searches; its cost is infinite if none was finite.
    """
    count = screening_evaluations if len(starts) > 1 else 0
    screened = search(screening, starts, evaluations=count, limits=limits)
    final = search(objective, [one.at for one in screened[:finalists]], evaluations=evaluations, limits=limits)
    spent = sum(one.evaluations for one in [*screened, *final])
    return final[0]._replace(evaluations=spent, start=screened[final[0].start].start)
