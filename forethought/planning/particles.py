"""What an action sequence is expected to cost, by particles through a stochastic and uncertain model.

Symbols: S candidate sequences us [S, T, m]; P particles for each, x_{t+1} ~ p_k(x' | x_t, u_t), where k is the
function of the model's posterior that the particle believes in.
    ts-inf   a particle keeps its function for the whole horizon
    ts1      a particle takes another function at every step
    mean     as ts-inf, without the noise of the predictions: only the disagreement of the functions is left
The expected cost is the average over particles, hence over the members of an ensemble.  The step that takes a
particle to a terminal state is charged, nothing after it (`forethought.core.timing`); a particle that diverges makes
the cost of its candidate infinite.
Source: Chua et al. (2018), section 5.1.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from forethought.core import HasSimulate, LinearGaussian, Plan, Problem, Result, Task, draw_many, step_cost
from forethought.planning.augmented_lagrangian import result_without_constraints
from forethought.planning.rollout import stage_costs

Propagation = Literal["ts-inf", "ts1", "mean"]
over_functions = eqx.if_array(0)
FEW = 8  # coordinates of a state that are kept apart


def expected_cost(
    problem: Problem,
    x0: Float[Array, "n"],
    us: Float[Array, "S T m"],
    *,
    particles: int,
    propagation: Propagation,
    key: PRNGKeyArray,
) -> Float[Array, "S"]:
    """The cost of each candidate, averaged over `particles`; infinity where it is not finite.

    Raises: ValueError where `particles` is not a multiple of an ensemble's members.
    """
    if isinstance(problem.dynamics, HasSimulate):  # no noise and nothing unknown: all particles are one
        xs = problem.dynamics.simulate(x0, us)
        cost = jax.vmap(lambda xs, us: trajectory_cost(problem, xs, us))(xs, us)
        return jnp.where(jnp.isfinite(cost), cost, jnp.inf)
    draw_key, walk_key = jr.split(key)
    functions, copies = draw_many(problem.dynamics, particles, key=draw_key)
    groups = particles // copies
    # Rows are [copy and candidate], so that a group is one matrix product.
    us = jnp.tile(jnp.moveaxis(us, 1, 0), (1, copies, 1))
    if propagation == "ts1":
        cost = _walk_together(problem, functions, groups, copies, x0, us, key=walk_key)
    else:
        cost = _walk_apart(problem, functions, groups, x0, us, propagation == "mean", key=walk_key)
    mean = jnp.mean(cost.reshape(particles, -1), axis=0)
    return jnp.where(jnp.isfinite(mean), mean, jnp.inf)


class _Cloud(eqx.Module):
    """Particles on their way, one row each.

    Few coordinates are an array each: joined, they would be a loop that XLA does not vectorize on a CPU and that
    computes what coordinates have in common once for each.  Many would take long to compile.
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
        """The states, joined."""
        return jnp.stack(self.states, axis=-1) if isinstance(self.states, tuple) else self.states

    def step(self, task: Task, function: Any, u, t, noiseless: bool, key) -> "_Cloud":
        """All rows [R] one step on by one function; see `forethought.core.timing`."""

        def move(x, u, key):
            y = function(x, u, t)
            return y.mean if noiseless else y.sample(key=key)

        xs, apart = self.xs, isinstance(self.states, tuple)
        rows = 1 if apart else 0  # the axis of the rows in the states after
        after = jax.vmap(move, out_axes=rows)(xs, u, jr.split(key, u.shape[0]))
        charge = jax.vmap(lambda x, u, x_next: step_cost(task, x, u, x_next, t), (0, 0, rows))(xs, u, after)
        alive = self.alive & ~jax.vmap(task.terminal, rows)(after)
        states = tuple(after[i] for i in range(after.shape[0])) if apart else after
        return _Cloud(states, alive, self.cost + jnp.where(self.alive, charge, 0))

    def total_cost(self, task: Task) -> Float[Array, "R"]:
        """The cost of each row with the final cost of those whose episode did not end."""
        return self.cost + jnp.where(self.alive, jax.vmap(task.final_cost)(self.xs), 0)


def _walk_apart(problem: Problem, functions: Any, groups: int, x0, us, noiseless: bool, *, key) -> Float[Array, "G R"]:
    """Each group to the horizon by its own function.

    On a CPU one group after the other: the activations of one fit its cache, those of all do not.
    """
    task, (arrays, static) = problem.task, eqx.partition(functions, eqx.is_array)

    def walk(group) -> Float[Array, "R"]:
        arrays, key = group
        function = eqx.combine(arrays, static)

        def step(cloud: _Cloud, inputs):
            t, u, key = inputs
            return cloud.step(task, function, u, t, noiseless, key), None

        cloud, _ = jax.lax.scan(step, _Cloud.start(x0, us.shape[1]), _clock(problem, us, key))
        return cloud.total_cost(task)

    one_by_one = jax.default_backend() == "cpu"
    return (jax.lax.map if one_by_one else _at_once)(walk, (arrays, jr.split(key, groups)))


def _at_once(f, stacked):
    return jax.vmap(f)(stacked)


def _walk_together(problem: Problem, functions: Any, groups: int, copies: int, x0, us, *, key) -> Float[Array, "G R"]:
    """All groups step by step; after each, particles change places among them, every candidate by one permutation."""
    task, particles = problem.task, groups * copies

    def step(cloud: _Cloud, inputs):
        t, u, key = inputs
        noise_key, shuffle_key = jr.split(key)
        keys = jr.split(noise_key, groups)
        move = eqx.filter_vmap(
            lambda cloud, function, key: cloud.step(task, function, u, t, False, key), in_axes=(0, over_functions, 0)
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


def _clock(problem: Problem, us: Float[Array, "T R m"], key) -> tuple[Array, Array, Array]:
    """Time, actions and a key for each step."""
    return problem.times(us.shape[0]), us, jr.split(key, us.shape[0])


def trajectory_cost(problem: Problem, xs: Float[Array, "T1 n"], us: Float[Array, "T m"]) -> Float[Array, ""]:
    """The cost of the states `xs`, T1 = T + 1, under the actions `us`; see `forethought.core.timing`."""
    return jnp.sum(stage_costs(problem, xs, us))


def predicted_states(problem: Problem, x0: Float[Array, "n"], us: Float[Array, "T m"]) -> Float[Array, "T1 n"]:
    """`x0` and the means of the predictive distributions after it, T1 = T + 1."""
    if isinstance(problem.dynamics, HasSimulate):
        return problem.dynamics.simulate(x0, us[None])[0]

    def step(x, inputs):
        u, t = inputs
        after = problem.dynamics(x, u, t).mean
        return after, after

    _, xs = jax.lax.scan(step, x0, (us, problem.times(us.shape[0])))
    return jnp.concatenate([x0[None], xs])


def open_loop_plan(
    problem: Problem, x0: Float[Array, "n"], us: Float[Array, "T m"], cost: Float[Array, ""] | None = None
) -> Plan:
    """The plan that executes `us` without feedback; its states are the means of the predictive distribution.

    `cost` is the cost of those states where it is not given.
    """
    xs = predicted_states(problem, x0, us)
    cost = trajectory_cost(problem, xs, us) if cost is None else cost
    (T, m), n = us.shape, x0.shape[0]
    policy = LinearGaussian(jnp.zeros((T, m, n), us.dtype), us, jnp.zeros((T, m, m), us.dtype))
    result = jnp.where(jnp.isfinite(cost), result_without_constraints(problem.task), Result.not_finite)
    return Plan(policy, xs, cost, result)
