"""What an action sequence is expected to cost, by particles through a stochastic and uncertain model.

Symbols: S candidate sequences us [S, T, m]; P particles for each, x_{t+1} ~ p_k(x' | x_t, u_t), where k is the
function of the model's posterior that the particle believes in.
    ts-inf   a particle keeps its function for the whole horizon
    ts1      a particle takes another function at every step
    mean     as ts-inf, without the noise of the predictions: only the disagreement of the functions is left
The expected cost is the average over particles, hence over the members of an ensemble.  A particle that reaches a
terminal state costs nothing from then on; one that diverges makes its candidate cost infinity.
Source: Chua et al. (2018), section 5.1.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import LinearGaussian, Plan, Problem, Result, draw_many

Propagation = Literal["ts-inf", "ts1", "mean"]
over_functions = eqx.if_array(0)


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
    draw_key, step_key = jr.split(key)
    functions, copies = draw_many(problem.dynamics, particles, key=draw_key)
    groups, rows = particles // copies, copies * us.shape[0]
    # Layout: [group, copy and candidate], so that a group is one matrix product.
    us = jnp.tile(jnp.moveaxis(us, 1, 0), (1, copies, 1))
    xs = jnp.broadcast_to(x0, (groups, rows, x0.shape[0]))
    alive = jnp.ones((groups, rows), bool)
    cost = jnp.zeros((groups, rows), xs.dtype)
    task = problem.task

    def step(carry, inputs):
        xs, alive, cost = carry
        t, u, key = inputs
        now = jax.vmap(jax.vmap(task.cost, (0, 0, None)), (0, None, None))(xs, u, t)
        cost = cost + jnp.where(alive, now, 0)
        noise_key, shuffle_key = jr.split(key)
        xs = _advance(functions, xs, u, t, propagation, noise_key)
        alive = alive & ~jax.vmap(jax.vmap(task.terminal))(xs)
        if propagation == "ts1":
            order = jr.permutation(shuffle_key, particles)
            xs, alive, cost = (_exchange(a, copies, order) for a in (xs, alive, cost))
        return (xs, alive, cost), None

    steps = (jnp.arange(us.shape[0]), us, jr.split(step_key, us.shape[0]))
    (xs, alive, cost), _ = jax.lax.scan(step, (xs, alive, cost), steps)
    cost = cost + jnp.where(alive, jax.vmap(jax.vmap(task.final_cost))(xs), 0)
    mean = jnp.mean(cost.reshape(particles, -1), axis=0)
    return jnp.where(jnp.isfinite(mean), mean, jnp.inf)


def _advance(functions: Any, xs, u, t, propagation: Propagation, key):
    """One step of every particle, each group by its own function."""
    keys = jr.split(key, xs.shape[:2])

    def one(function, x, u, key):
        y = function(x, u, t)
        return y.mean if propagation == "mean" else y.sample(key=key)

    group = eqx.filter_vmap(one, in_axes=(None, 0, 0, 0))
    return eqx.filter_vmap(group, in_axes=(over_functions, 0, None, 0))(functions, xs, u, keys)


def _exchange(a: Array, copies: int, order: Array) -> Array:
    """Particles change places among the groups; every candidate by the same permutation."""
    apart = a.reshape(a.shape[0] * copies, -1, *a.shape[2:])
    return apart[order].reshape(a.shape)


def open_loop_plan(problem: Problem, x0: Float[Array, "n"], us: Float[Array, "T m"], cost: Float[Array, ""]) -> Plan:
    """The plan that executes `us` whatever happens; its states are the means of the predictive distribution."""

    def step(x, inputs):
        u, t = inputs
        after = problem.dynamics(x, u, t).mean
        return after, after

    _, xs = jax.lax.scan(step, x0, (us, jnp.arange(us.shape[0])))
    (T, m), n = us.shape, x0.shape[0]
    policy = LinearGaussian(jnp.zeros((T, m, n), us.dtype), us, jnp.zeros((T, m, m), us.dtype))
    result = jnp.where(jnp.isfinite(cost), Result.converged, Result.not_finite)
    return Plan(policy, jnp.concatenate([x0[None], xs]), cost, result)
