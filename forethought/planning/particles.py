"""The expected cost of action sequences, by propagating particles through a stochastic and uncertain model.

Symbols: S candidate sequences us [S, T, m], or [S, T] of discrete actions; P particles for each,
x_{t+1} ~ p_k(x' | x_t, u_t), where p_k is a function sampled from the model's posterior.
    ts-inf   a particle keeps its function for the whole horizon
    ts1      a particle takes another function at every step
    mean     as ts-inf, but without the noise of the predictions; the functions still differ
The expected cost is the mean over particles, and hence over the members of an ensemble.  The step that leads to a
terminal state is charged, later steps are not (`forethought.core.timing`).  If a particle diverges, the cost of its
candidate is infinite.
Source: Chua et al. (2018), section 5.1.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Key, Shaped

from forethought.core import (
    Choices,
    Delta,
    HasSimulate,
    LinearGaussian,
    Plan,
    Problem,
    Result,
    Task,
    draw_many,
    step_cost,
)
from forethought.core.draws import HasDrawMany
from forethought.planning.augmented_lagrangian import has_constraints
from forethought.planning.noise import quick_split
from forethought.planning.rollout import follow, stage_costs

Propagation = Literal["ts-inf", "ts1", "mean"]
over_functions = eqx.if_array(0)
FEW = 8  # largest number of coordinates for which each coordinate has its own array


def expected_cost(
    problem: Problem,
    x0: Float[Array, "n"],
    us: Shaped[Array, "S T *m"],
    *,
    particles: int,
    propagation: Propagation,
    key: Key[Array, ""],
) -> Float[Array, "S"]:
    """The cost of each candidate, averaged over `particles`; infinity if it is not finite.

    Raises: ValueError if `particles` is not a multiple of the number of ensemble members.
    """
    if isinstance(problem.dynamics, HasSimulate):  # no noise and no model uncertainty: all particles would be equal
        xs = problem.dynamics.simulate(x0, us)
        cost = jax.vmap(lambda xs, us: trajectory_cost(problem, xs, us))(xs, us)
        return jnp.where(jnp.isfinite(cost), cost, jnp.inf)
    if is_certain(problem, x0, us[0, 0]):
        cost = _walk(problem, problem.dynamics, x0, jnp.moveaxis(us, 1, 0), key=None)
        return jnp.where(jnp.isfinite(cost), cost, jnp.inf)
    draw_key, walk_key = quick_split(key, 2)
    functions, copies = draw_many(problem.dynamics, particles, key=draw_key)
    groups = particles // copies
    # Rows are pairs of copy and candidate, so that a group is one matrix product.
    us = jnp.tile(jnp.moveaxis(us, 1, 0), (1, copies, *[1] * (us.ndim - 2)))
    if propagation == "ts1":
        cost = _walk_together(problem, functions, groups, copies, x0, us, key=walk_key)
    else:
        cost = _walk_apart(problem, functions, groups, x0, us, propagation == "mean", key=walk_key)
    mean = jnp.mean(cost.reshape(particles, -1), axis=0)
    return jnp.where(jnp.isfinite(mean), mean, jnp.inf)


def is_certain(problem: Problem, x0: Float[Array, "n"], u: Shaped[Array, "*m"]) -> bool:
    """Whether the dynamics have neither noise nor model uncertainty, so that all particles would be equal.

    This is the case if `draw` returns the dynamics themselves, and predictions are `Delta`s.
    """
    dynamics, certain = problem.dynamics, []

    def look(x: Array, u: Array) -> tuple[()]:
        itself = dynamics.draw(key=jr.key(0)) is dynamics
        certain.append(itself and isinstance(dynamics(x, u, problem.t0), Delta))
        return ()

    if isinstance(dynamics, HasDrawMany):
        return False
    jax.eval_shape(look, x0, u)
    return certain[0]


class _Cloud(eqx.Module):
    """The states of particles during a rollout, one row each.

    If there are few coordinates, each is a separate array: XLA does not vectorize joined arrays on a CPU, and would
    compute common subexpressions once per coordinate.  With many separate arrays, compilation would take long.
    """

    states: Float[Array, "*g R n"] | tuple[Float[Array, "*g R"], ...]
    alive: Bool[Array, "*g R"]
    cost: Float[Array, "*g R"]

    @staticmethod
    def start(x0: Float[Array, "n"], *rows: int) -> "_Cloud":
        n = x0.shape[0]
        apart = tuple(jnp.broadcast_to(x0[i], rows) for i in range(n))
        states = apart if n <= FEW else jnp.broadcast_to(x0, (*rows, n))
        return _Cloud(states, jnp.ones(rows, bool), jnp.zeros(rows, x0.dtype))

    @property
    def xs(self) -> Float[Array, "*g R n"]:
        """The states as one array."""
        return jnp.stack(self.states, axis=-1) if isinstance(self.states, tuple) else self.states

    def step(self, task: Task, function: Any, u, t, keys: Key[Array, "R"] | None) -> "_Cloud":
        """Advance all rows [R] by one step of one function, without noise if there are no keys."""

        def move(x, u, key):
            y = function(x, u, t)
            return y.mean if key is None else y.sample(key=key)

        xs, apart = self.xs, isinstance(self.states, tuple)
        rows = 1 if apart else 0  # axis of the rows in the next states
        after = jax.vmap(move, out_axes=rows)(xs, u, keys)
        charge = jax.vmap(lambda x, u, x_next: step_cost(task, x, u, x_next, t), (0, 0, rows))(xs, u, after)
        alive = self.alive & ~jax.vmap(task.terminal, rows)(after)
        states = tuple(after[i] for i in range(after.shape[0])) if apart else after
        return _Cloud(states, alive, self.cost + jnp.where(self.alive, charge, 0))

    def total_cost(self, task: Task) -> Float[Array, "R"]:
        """The cost of each row, plus the final cost if its episode did not end."""
        return self.cost + jnp.where(self.alive, jax.vmap(task.final_cost)(self.xs), 0)


def _walk_apart(problem: Problem, functions: Any, groups: int, x0, us, noiseless: bool, *, key) -> Float[Array, "G R"]:
    """Roll out each group to the horizon with its own function.

    On a CPU the groups run one after the other, because the activations of one group fit the cache.
    """
    arrays, static = eqx.partition(functions, eqx.is_array)
    keys = None if noiseless else quick_split(key, groups)

    def walk(group) -> Float[Array, "R"]:
        arrays, key = group
        return _walk(problem, eqx.combine(arrays, static), x0, us, key=key)

    one_by_one = jax.default_backend() == "cpu"
    return (jax.lax.map if one_by_one else _at_once)(walk, (arrays, keys))


def _walk(problem: Problem, function: Any, x0, us: Shaped[Array, "T R *m"], *, key) -> Float[Array, "R"]:
    """Roll out all rows to the horizon with one function; without noise if there is no key."""

    def step(cloud: _Cloud, inputs):
        t, u, key = inputs
        keys = None if key is None else quick_split(key, u.shape[0])
        return cloud.step(problem.task, function, u, t, keys), None

    cloud, _ = jax.lax.scan(step, _Cloud.start(x0, us.shape[1]), _clock(problem, us, key))
    return cloud.total_cost(problem.task)


def _at_once(f, stacked):
    return jax.vmap(f)(stacked)


def _walk_together(problem: Problem, functions: Any, groups: int, copies: int, x0, us, *, key) -> Float[Array, "G R"]:
    """Advance all groups step by step; after each step, a permutation per candidate moves particles between groups."""
    task, particles = problem.task, groups * copies

    def step(cloud: _Cloud, inputs):
        t, u, key = inputs
        noise_key, shuffle_key = quick_split(key, 2)
        # Threefry, because XLA would fuse the hash of `quick_split` with the permutation below and compile for minutes.
        keys = jr.split(noise_key, (groups, u.shape[0]))
        move = eqx.filter_vmap(
            lambda cloud, function, keys: cloud.step(task, function, u, t, keys), in_axes=(0, over_functions, 0)
        )
        return exchanged(move(cloud, functions, keys), shuffle_key), None

    def exchanged(cloud: _Cloud, key) -> _Cloud:
        order = jr.permutation(key, particles)

        def exchange(a: Array) -> Array:
            apart = a.reshape(particles, -1, *a.shape[2:])
            return apart[order].reshape(a.shape)

        return jax.tree.map(exchange, cloud)

    cloud, _ = jax.lax.scan(step, _Cloud.start(x0, groups, us.shape[1]), _clock(problem, us, key))
    return jax.vmap(lambda h: h.total_cost(task))(cloud)


def _clock(problem: Problem, us: Shaped[Array, "T R *m"], key) -> tuple[Array, Array, Array | None]:
    """Time, actions and a key (or None) for each step."""
    return problem.times(us.shape[0]), us, None if key is None else quick_split(key, us.shape[0])


def trajectory_cost(
    problem: Problem, xs: Float[Array, "{us.shape[0]}+1 n"], us: Shaped[Array, "T *m"]
) -> Float[Array, ""]:
    """The cost of the states `xs` under the actions `us`; see `forethought.core.timing`."""
    return jnp.sum(stage_costs(problem, xs, us))


def predicted_states(problem: Problem, x0: Float[Array, "n"], us: Shaped[Array, "T *m"]) -> Float[Array, "T+1 n"]:
    """`x0`, followed by the means of the predictive distributions."""
    if isinstance(problem.dynamics, HasSimulate):
        return problem.dynamics.simulate(x0, us[None])[0]
    return follow(problem, x0, lambda _, i: us[i], us.shape[0])[0]


def open_loop_plan(problem: Problem, x0: Float[Array, "n"], us: Shaped[Array, "T *m"], cost: Float[Array, ""]) -> Plan:
    """The plan that executes `us` without feedback; its states are the means of the predictive distribution.

    `cost` is the expected cost of `us`.  The result is `budget_exhausted`, since the search has no test of
    convergence, or `not_finite` if the cost is not finite.
    """
    end = Result.constraints_ignored if has_constraints(problem.task) else Result.budget_exhausted
    result = jnp.where(jnp.isfinite(cost), end, Result.not_finite).astype(int)
    policy = _without_feedback(us, x0.shape[0])
    return Plan(policy, predicted_states(problem, x0, us), cost, result, problem.task.action_space)


def _without_feedback(us: Shaped[Array, "T *m"], n: int) -> LinearGaussian | Choices:
    if us.ndim == 1:
        return Choices(us)
    T, m = us.shape
    return LinearGaussian(jnp.zeros((T, m, n), us.dtype), us, jnp.zeros((T, m, m), us.dtype))
