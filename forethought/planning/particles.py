"""The expected cost of action sequences, by propagating particles through a stochastic and uncertain model.

Symbols: S candidate sequences us [S, T, m], or [S, T] of discrete actions; P particles for each,
x_{t+1} ~ p_k(x' | x_t, u_t), where p_k is a function sampled from the model's posterior.
    ts-inf   a particle keeps its function for the whole horizon
    ts1      a particle takes another function at every step
    mean     as ts-inf, but without the noise of the predictions; the functions still differ
The expected cost is the mean over particles, and hence over the members of an ensemble.  The step that leads to a
terminal state is charged, later steps are not (`forethought.core.timing`).  If a particle diverges, the cost of its
candidate is infinite.
Under constraints (`forethought.core.constraints`) a candidate is feasible if at most a share `risk` of its particles
violates any of them at any step.  An infeasible candidate costs, whatever its steps cost,
    INFEASIBLE (1 + share of violating particles - risk + mean over particles of a / (1 + a)),     a: sum of violations
so any feasible candidate is cheaper, and among infeasible ones the search goes to where violations are rarer and less.
Source: Chua et al. (2018), section 5.1; Deb (2000), "An efficient constraint handling method for genetic algorithms",
section 3, for the comparison of infeasible candidates by their violation alone.
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
from forethought.core.constraints import (
    Excess,
    final_excess,
    has_constraints,
    judged_steps,
    risk_of,
    step_excess,
    trajectory_excess,
)
from forethought.core.draws import HasDrawMany
from forethought.planning.candidates import INFEASIBLE
from forethought.planning.noise import quick_split
from forethought.planning.rollout import follow, stage_costs

Propagation = Literal["ts-inf", "ts1", "mean"]
over_functions = eqx.if_array(0)
TINY = 1e-6  # rounding error of a share of particles
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

    At least `INFEASIBLE` if the candidate violates the task's constraints with a probability above its risk.

    Raises: ValueError if `particles` is not a multiple of the number of ensemble members.
    """
    if isinstance(problem.dynamics, HasSimulate):  # no noise and no model uncertainty: all particles would be equal
        xs = problem.dynamics.simulate(x0, us)
        return _expected(problem.task, jax.vmap(lambda xs, us: _simulated(problem, xs, us))(xs, us), 1)
    if is_certain(problem, x0, us[0, 0]):
        return _expected(problem.task, _walk(problem, problem.dynamics, x0, jnp.moveaxis(us, 1, 0), key=None), 1)
    draw_key, walk_key = quick_split(key, 2)
    functions, copies = draw_many(problem.dynamics, particles, key=draw_key)
    groups = particles // copies
    # Rows are pairs of copy and candidate, so that a group is one matrix product.
    us = jnp.tile(jnp.moveaxis(us, 1, 0), (1, copies, *[1] * (us.ndim - 2)))
    if propagation == "ts1":
        outcome = _walk_together(problem, functions, groups, copies, x0, us, key=walk_key)
    else:
        outcome = _walk_apart(problem, functions, groups, x0, us, propagation == "mean", key=walk_key)
    return _expected(problem.task, outcome, particles)


class Outcome(eqx.Module):
    """What became of the rows of a rollout: their cost, and their violation of constraints, None without any."""

    cost: Float[Array, "*r"]
    excess: Excess | None


def _expected(task: Task, outcome: Outcome, particles: int) -> Float[Array, "S"]:
    """The mean over particles, which are the leading part of the rows."""
    outcome = jax.tree.map(lambda a: a.reshape(particles, -1), outcome)
    cost = jnp.mean(outcome.cost, axis=0)
    cost = jnp.where(jnp.isfinite(cost), cost, jnp.inf)
    if outcome.excess is None:
        return cost
    share = jnp.mean(outcome.excess.violated, axis=0, dtype=cost.dtype) - risk_of(task)
    amount = jnp.mean(1 - 1 / (1 + outcome.excess.amount), axis=0)
    return jnp.where(share > TINY, INFEASIBLE * (1 + share + amount), cost)


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
    excess: Excess | None  # of the constraints; None without any

    @staticmethod
    def start(task: Task, x0: Float[Array, "n"], *rows: int) -> "_Cloud":
        n = x0.shape[0]
        apart = tuple(jnp.broadcast_to(x0[i], rows) for i in range(n))
        states = apart if n <= FEW else jnp.broadcast_to(x0, (*rows, n))
        excess = Excess.none(rows, x0.dtype) if has_constraints(task) else None
        return _Cloud(states, jnp.ones(rows, bool), jnp.zeros(rows, x0.dtype), excess)

    @property
    def xs(self) -> Float[Array, "*g R n"]:
        """The states as one array."""
        return jnp.stack(self.states, axis=-1) if isinstance(self.states, tuple) else self.states

    def step(self, task: Task, function: Any, u, t, judged, keys: Key[Array, "R"] | None) -> "_Cloud":
        """Advance all rows [R] by one step of one function, without noise if there are no keys.

        `judged`: whether constraints must be kept at this step.
        """

        def move(x, u, key):
            y = function(x, u, t)
            return y.mean if key is None else y.sample(key=key)

        xs, apart = self.xs, isinstance(self.states, tuple)
        rows = 1 if apart else 0  # axis of the rows in the next states
        after = jax.vmap(move, out_axes=rows)(xs, u, keys)
        charge = jax.vmap(lambda x, u, x_next: step_cost(task, x, u, x_next, t), (0, 0, rows))(xs, u, after)
        alive = self.alive & ~jax.vmap(task.terminal, rows)(after)
        states = tuple(after[i] for i in range(after.shape[0])) if apart else after
        excess = self.excess
        if excess is not None:
            excess = excess.plus(jax.vmap(lambda x, u: step_excess(task, x, u, t))(xs, u), self.alive & judged)
            ends = jax.vmap(lambda x: final_excess(task, x), rows)(after)
            excess = excess.plus(ends, self.alive & ~alive & judged)
        return _Cloud(states, alive, self.cost + jnp.where(self.alive, charge, 0), excess)

    def outcome(self, task: Task, steps: int) -> Outcome:
        """After `steps` steps: the cost of each row, plus the final cost if its episode did not end; its violations."""
        cost = self.cost + jnp.where(self.alive, jax.vmap(task.final_cost)(self.xs), 0)
        if self.excess is None or judged_steps(task, steps) < steps:
            return Outcome(cost, self.excess)
        return Outcome(cost, self.excess.plus(jax.vmap(lambda x: final_excess(task, x))(self.xs), self.alive))


def _walk_apart(problem: Problem, functions: Any, groups: int, x0, us, noiseless: bool, *, key) -> Outcome:
    """Roll out each group to the horizon with its own function.

    On a CPU the groups run one after the other, because the activations of one group fit the cache.
    """
    arrays, static = eqx.partition(functions, eqx.is_array)
    keys = None if noiseless else quick_split(key, groups)

    def walk(group) -> Outcome:
        arrays, key, _ = group
        return _walk(problem, eqx.combine(arrays, static), x0, us, key=key)

    one_by_one = jax.default_backend() == "cpu"
    return (jax.lax.map if one_by_one else _at_once)(walk, (arrays, keys, jnp.arange(groups)))


def _walk(problem: Problem, function: Any, x0, us: Shaped[Array, "T R *m"], *, key) -> Outcome:
    """Roll out all rows to the horizon with one function; without noise if there is no key."""

    def step(cloud: _Cloud, inputs):
        t, judged, u, key = inputs
        keys = None if key is None else quick_split(key, u.shape[0])
        return cloud.step(problem.task, function, u, t, judged, keys), None

    cloud, _ = jax.lax.scan(step, _Cloud.start(problem.task, x0, us.shape[1]), _clock(problem, us, key))
    return cloud.outcome(problem.task, us.shape[0])


def _at_once(f, stacked):
    return jax.vmap(f)(stacked)


def _walk_together(problem: Problem, functions: Any, groups: int, copies: int, x0, us, *, key) -> Outcome:
    """Advance all groups step by step; after each step, a permutation per candidate moves particles between groups."""
    task, particles = problem.task, groups * copies

    def step(cloud: _Cloud, inputs):
        t, judged, u, key = inputs
        noise_key, shuffle_key = quick_split(key, 2)
        # Threefry, because XLA would fuse the hash of `quick_split` with the permutation below and compile for minutes.
        keys = jr.split(noise_key, (groups, u.shape[0]))
        move = eqx.filter_vmap(
            lambda cloud, function, keys: cloud.step(task, function, u, t, judged, keys), in_axes=(0, over_functions, 0)
        )
        return exchanged(move(cloud, functions, keys), shuffle_key), None

    def exchanged(cloud: _Cloud, key) -> _Cloud:
        order = jr.permutation(key, particles)

        def exchange(a: Array) -> Array:
            apart = a.reshape(particles, -1, *a.shape[2:])
            return apart[order].reshape(a.shape)

        return jax.tree.map(exchange, cloud)

    cloud, _ = jax.lax.scan(step, _Cloud.start(task, x0, groups, us.shape[1]), _clock(problem, us, key))
    return jax.vmap(lambda h: h.outcome(task, us.shape[0]))(cloud)


def _clock(problem: Problem, us: Shaped[Array, "T R *m"], key) -> tuple[Array, Array, Array, Array | None]:
    """Time, whether constraints must be kept, actions and a key (or None) for each step."""
    T = us.shape[0]
    judged = jnp.arange(T) < judged_steps(problem.task, T)
    return problem.times(T), judged, us, None if key is None else quick_split(key, T)


def _simulated(problem: Problem, xs: Float[Array, "T1 n"], us: Shaped[Array, "T *m"]) -> Outcome:
    task, cost = problem.task, trajectory_cost(problem, xs, us)
    excess = trajectory_excess(task, xs, us, problem.times(us.shape[0])) if has_constraints(task) else None
    return Outcome(cost, excess)


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

    `cost` is that of `us` by `expected_cost`; of an infeasible plan the result's is infinity.  The result is
    `budget_exhausted`, since the search has no test of convergence, `infeasible` if the plan violates constraints with
    too large a probability, or `not_finite` if the cost is not finite.
    """
    result = jnp.where(jnp.isfinite(cost), Result.budget_exhausted, Result.not_finite).astype(int)
    if has_constraints(problem.task):
        infeasible = jnp.isfinite(cost) & (cost >= INFEASIBLE)
        result, cost = jnp.where(infeasible, Result.infeasible, result), jnp.where(infeasible, jnp.inf, cost)
    policy = _without_feedback(us, x0.shape[0])
    return Plan(policy, predicted_states(problem, x0, us), cost, result, problem.task.action_space)


def _without_feedback(us: Shaped[Array, "T *m"], n: int) -> LinearGaussian | Choices:
    if us.ndim == 1:
        return Choices(us)
    T, m = us.shape
    return LinearGaussian(jnp.zeros((T, m, n), us.dtype), us, jnp.zeros((T, m, m), us.dtype))
