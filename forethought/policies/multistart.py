"""Gradient search from several starts: L-BFGS from each, the results sorted by cost.

The expected cost of a policy has many local minima (a pole that spins, a pole held at an angle), and the result depends
on the start more than on the number of evaluations.  Results that are not finite come last.
Source: L-BFGS-B, Byrd, Lu, Nocedal & Zhu (1995), by SciPy.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SIGNIFICANT = 1e-6  # share of the cost that L-BFGS must have saved to be restarted once it stops

Objective = Callable[[Any], tuple[Any, Any]]  # pytree of arrays -> value, gradient as the same pytree
Limits = Callable[[Any], tuple[Any, Any]]  # pytree of arrays -> lower and upper bounds of a search that starts there


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
    """L-BFGS from `start`; the best point evaluated.

    Args:
        objective: value and gradient.
        start: pytree of arrays.
        evaluations: of the objective, at most.
        limits: lower and upper bounds, pytrees like `start`.
        number: index of the start, for the result.
    Far from its goal a saturating cost is nearly flat, and the search must not stop there: the first step has length 1,
    however small the gradient.  When the line search fails, or reaches a cost that is not finite, L-BFGS is restarted
    from the best point, as long as it made progress since its last restart.
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
    """The search reached a point where cost or gradient is not finite."""


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])


def search(
    objective: Objective, starts: Sequence[Any], *, evaluations: int, limits: Limits | None = None
) -> list[Found]:
    """The results of `descend` from all `starts` (pytrees of arrays), lowest cost first; `evaluations` for each."""
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
    """A short search from every start; then a longer one from the best results, the finalists.

    Args:
        screening, objective: value and gradient; `screening` is that of the short searches.
        starts: pytrees of arrays.
        screening_evaluations: of `screening`, for each start; none for a single start.
        finalists: how many of the results are searched further.
        evaluations: of `objective`, for each finalist.
        limits: bounds of a search.
    Returns: the best result, with the evaluations of all searches; its cost is infinite if none was finite.
    """
    count = screening_evaluations if len(starts) > 1 else 0
    screened = search(screening, starts, evaluations=count, limits=limits)
    final = search(objective, [one.at for one in screened[:finalists]], evaluations=evaluations, limits=limits)
    spent = sum(one.evaluations for one in [*screened, *final])
    return final[0]._replace(evaluations=spent, start=screened[final[0].start].start)
