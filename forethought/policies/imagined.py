"""Imagined rollouts of a policy through learned dynamics, and three estimates of the gradient of their expected cost.

Symbols: theta the parameters of a policy u = pi(x; theta); P particles, each with one function of the model's posterior
(TS-infinity) and noise eps_t of its own, x_{t+1} = mean(x_t, u_t) + std(x_t, u_t) eps_t; H steps, discount g, tail V:
    J_i = sum_{t < H} g^t c(x_t, u_t, x_{t+1}) + g^H V(x_H)
Nothing is charged after the step into a terminal state.  Estimates of the gradient of E J, one for each particle:
    pathwise  d J_i / d theta along the whole trajectory, with eps held fixed (reparametrization)
    score     sum_t [d c_t / d theta at fixed states + (G_{t+1} - b_t) d log p(x_{t+1} | x_t, u_t) / d theta],
              G_{t+1} the cost from step t on that x_{t+1} decides, b_t its mean over the other particles
    mixed     k score + (1 - k) pathwise,  k = var(pathwise) / (var(pathwise) + var(score)),  with the variances over
              particles summed over the parameters
The pathwise gradient has little variance until products of Jacobians explode; the score does not depend on them.
Source: Parmas, Rasmussen, Peters & Doya (2018), "PIPPS", section 3.2 (inverse-variance weights of the batch).
Differs: the weights are those of the whole gradient and not of every step, as total propagation has them.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from forethought.core import Problem, over_draws, step_cost

Estimator = Literal["pathwise", "score", "mixed"]
Act = Callable[[Any, Float[Array, "n"]], Float[Array, "m"]]  # act(theta, x): the policy
Tail = Callable[[Float[Array, "n"]], Float[Array, ""]]  # V(x): the cost after the horizon


class Imagination(eqx.Module):
    """How far to look ahead, and what counts."""

    problem: Problem
    act: Act
    prepare: Callable[[Any], Any] | None = None  # of theta, once for each rollout: `act` gets what it returns
    tail: Tail | None = None  # None: nothing is charged after the horizon
    steps: int = eqx.field(static=True, default=20)
    discount: float = eqx.field(static=True, default=1.0)


class Path(eqx.Module):
    """One imagined rollout."""

    xs: Float[Array, "T1 n"]
    costs: Float[Array, "T1"]  # discounted; the last is the tail
    alive: Bool[Array, "T1"]

    @property
    def cost(self) -> Float[Array, ""]:
        """J."""
        return jnp.sum(self.costs)


class PolicyGradient(eqx.Module):
    """An estimate of the gradient, and how sure it is."""

    gradient: Any  # like theta: the mean over particles
    cost: Float[Array, ""]  # mean of J
    variance: Float[Array, ""]  # of one particle's gradient, summed over the parameters
    score_share: Float[Array, ""]  # k
    paths: Path  # stacked [P]

    @property
    def norm(self) -> Float[Array, ""]:
        """The Euclidean norm of the gradient."""
        return jnp.linalg.norm(_flat(self.gradient))


def imagine(imagination: Imagination, theta: Any, x0s: Float[Array, "P n"], *, key: PRNGKeyArray) -> Path:
    """P rollouts, stacked [P]."""
    return _over_particles(
        lambda function, x0, key: _path(imagination, function, theta, x0, key), imagination, x0s, key
    )


def policy_gradient(
    imagination: Imagination,
    theta: Any,
    x0s: Float[Array, "P n"],
    *,
    estimator: Estimator = "pathwise",
    key: PRNGKeyArray,
) -> PolicyGradient:
    """The gradient of the expected cost by `theta`, a pytree of arrays.

    Args:
        imagination: the problem, the policy, the horizon.
        theta: parameters of the policy.
        x0s: states that the rollouts start in; P is a multiple of an ensemble's members.
        estimator: which of the three; the score needs dynamics with noise.
        key: decides functions and noise.
    """
    if estimator == "score":
        paths = imagine(imagination, theta, x0s, key=key)
        each = _score(imagination, theta, paths, x0s, key)
        share = jnp.ones((), x0s.dtype)
    else:
        paths, each = _pathwise(imagination, theta, x0s, key)
        share = jnp.zeros((), x0s.dtype)
    if estimator == "mixed":
        score = _score(imagination, theta, paths, x0s, key)
        noisy, quiet = _variance(each), _variance(score)
        share = jnp.where(jnp.isfinite(noisy), noisy / (noisy + quiet), 1.0)
        share = jnp.where(jnp.isfinite(share), share, 0.5)  # both are zero
        usable = jax.tree.map(lambda a: jnp.where(jnp.isfinite(noisy), a, 0), each)
        each = jax.tree.map(lambda a, b: share * b + (1 - share) * a, usable, score)
    gradient = jax.tree.map(lambda a: jnp.mean(a, axis=0), each)
    return PolicyGradient(gradient, jnp.mean(jnp.sum(paths.costs, axis=1)), _variance(each), share, paths)


def _path(imagination: Imagination, function: Any, theta: Any, x0: Float[Array, "n"], key: PRNGKeyArray) -> Path:
    problem, act = imagination.problem, imagination.act
    task, ready = problem.task, _ready(imagination, theta)

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array]) -> tuple[Any, Any]:
        (x, runs), (t, key) = carry, inputs
        u = act(ready, x)
        x_next = function(x, u, t).sample(key=key)
        charge = jnp.where(runs, step_cost(task, x, u, x_next, t), 0)
        return (x_next, runs & ~task.terminal(x_next)), (x_next, charge, runs)

    H = imagination.steps
    (last, runs), (after, charges, alive) = jax.lax.scan(
        step, (x0, jnp.ones((), bool)), (problem.times(H), jr.split(key, H))
    )
    tail = jnp.zeros((), x0.dtype) if imagination.tail is None else jnp.where(runs, imagination.tail(last), 0)
    costs = _discounts(imagination, x0.dtype) * jnp.append(charges, tail)
    return Path(jnp.concatenate([x0[None], after]), costs, jnp.append(alive, runs))


def _ready(imagination: Imagination, theta: Any) -> Any:
    return theta if imagination.prepare is None else imagination.prepare(theta)


def _discounts(imagination: Imagination, dtype) -> Float[Array, "T1"]:
    return jnp.asarray(imagination.discount, dtype) ** jnp.arange(imagination.steps + 1)


def _pathwise(imagination: Imagination, theta: Any, x0s: Float[Array, "P n"], key: PRNGKeyArray) -> tuple[Path, Any]:
    def one(function: Any, x0: Array, key: PRNGKeyArray) -> tuple[Path, Any]:
        def cost(theta: Any) -> tuple[Array, Path]:
            path = _path(imagination, function, theta, x0, key)
            return path.cost, path

        gradient, path = jax.grad(cost, has_aux=True)(theta)
        return path, gradient

    return _over_particles(one, imagination, x0s, key)


def _score(imagination: Imagination, theta: Any, paths: Path, x0s: Float[Array, "P n"], key: PRNGKeyArray) -> Any:
    later = jnp.cumsum(paths.costs[:, ::-1], axis=1)[:, ::-1]  # from each step on
    others = (jnp.sum(later, axis=0)[None] - later) / max(1, later.shape[0] - 1)
    advantage = jax.lax.stop_gradient((later - others)[:, :-1])
    paths = jax.lax.stop_gradient(paths)
    problem, act = imagination.problem, imagination.act
    discounts = _discounts(imagination, x0s.dtype)[:-1]

    def one(function: Any, x0: Array, key: PRNGKeyArray, path: Path, advantage: Array) -> Any:
        del x0, key

        def surrogate(theta: Any) -> Array:
            ready = _ready(imagination, theta)

            def step(x: Array, x_next: Array, t: Array) -> tuple[Array, Array]:
                u = act(ready, x)
                return function(x, u, t).log_prob(x_next), step_cost(problem.task, x, u, x_next, t)

            runs, times = path.alive[:-1], problem.times(imagination.steps)
            log_p, charge = jax.vmap(step)(path.xs[:-1], path.xs[1:], times)
            return jnp.sum(jnp.where(runs, advantage * log_p + discounts * charge, 0))

        return jax.grad(surrogate)(theta)

    return _over_particles(one, imagination, x0s, key, paths, advantage)


def _over_particles(
    f: Callable, imagination: Imagination, x0s: Float[Array, "P n"], key: PRNGKeyArray, *more: Any
) -> Any:
    """`f(function, x0, key, ...)` for each particle, stacked [P]; particles that share a function are one group."""
    draw_key, noise_key = jr.split(key)
    keys = jr.split(noise_key, x0s.shape[0])
    return over_draws(f, imagination.problem.dynamics, x0s, keys, *more, key=draw_key)


def _variance(each: Any) -> Float[Array, ""]:
    """The variance over particles, summed over the parameters."""
    return sum((jnp.sum(jnp.var(a, axis=0, ddof=1)) for a in jax.tree.leaves(each)), start=jnp.zeros(()))


def _flat(tree: Any) -> Float[Array, "k"]:
    return jnp.concatenate([jnp.ravel(a) for a in jax.tree.leaves(tree)])
