"""Value gradients: SAC's parts improved on H model steps that begin in the states of a batch.

Symbols: x_0 a state of the batch, u_t ~ pi(x_t), x_{t+1} ~ model(x_t, u_t), with gradients through both samples; r_t
the reward of a step, d_t 1 if a state before x_t or x_t itself is terminal (d_0 = 0); alpha the temperature, gamma the
discount, Q_i the critics, Q their value (`combine`) and Q' that of the slow ones (`subset`):
    G                = sum_{t < H} gamma^t (1 - d_t) (r_t - alpha log pi(u_t | x_t))
    y                = G + alpha log pi(u_0 | x_0) + gamma^H (1 - d_H) (Q'(x_H, u_H) - alpha log pi(u_H | x_H))
    critic loss      = sum_i 0.5 mean ((Q_i(x_0, u_0) - y) / scale)^2
    policy loss      = -mean [ G + gamma^H (1 - d_H) (Q(x_H, u_H) - alpha log pi(u_H | x_H)) ] / scale
    temperature loss = -mean log_alpha (log pi(u_0 | x_0) + target entropy)
One rollout serves all of them.  Each state of the batch follows one function of the model's posterior.
Source: Heess et al. (2015), Learning continuous control policies by stochastic value gradients, section 4.2; with an
entropy bonus Amos et al. (2021), On the model-based stochastic value gradient, section 4; targets from the same
rollout as in Kubo et al. (2025), Double horizon model-based policy optimization, section 3.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Dynamics, Problem, over_draws, step_cost
from forethought.learners.sac import Critic, SACLearner, SACState, sampled_actions
from forethought.policies.network import SquashedGaussianPolicy


class Paths(eqx.Module):
    """What B rollouts of the policy came to; every array has the leading axis [B]."""

    gain: Float[Array, "*B"]  # G
    weight: Float[Array, "*B"]  # gamma^H (1 - d_H)
    first_u: Float[Array, "*B m"]  # u_0
    first_log_prob: Float[Array, "*B"]
    x: Float[Array, "*B o"]  # the observation x_H
    u: Float[Array, "*B m"]
    log_prob: Float[Array, "*B"]

    def value(self, critic: Critic, temperature: Float[Array, ""]) -> Float[Array, "*B"]:
        """G and what follows: the soft value of x_0."""
        return self.gain + self.weight * (critic.value(self.x, self.u) - temperature * self.log_prob)


def update_through_model(
    learner: SACLearner,
    state: SACState,
    xs: Float[Array, "B o"],
    problem: Problem,
    steps: int,
    *,
    key: PRNGKeyArray,
) -> tuple[SACState, dict[str, Float[Array, ""]]]:
    """One gradient step for each part.

    Args:
        learner: the settings.
        state: what is learned.
        xs: observations; their actions do not matter.
        problem: the model and the task; states are observations, and the reward where it is learned.
        steps: H, at least 1.
        key: random key.
    """
    roll_key, slow_key = jr.split(key)
    temperature = jnp.exp(state.log_temperature)
    paths, pull_back = eqx.filter_vjp(
        lambda policy: paths_of(policy, problem, xs, temperature, learner.discount, steps, key=roll_key), state.policy
    )
    slow = learner.slow_critic(state, key=slow_key)
    targets = paths.value(slow, temperature) + temperature * paths.first_log_prob
    critic, critic_memory, told = learner.fitted_critics(state, xs, paths.first_u, targets)

    def policy_loss(paths: Paths) -> Array:
        return -jnp.mean(paths.value(critic, temperature)) / jax.lax.stop_gradient(critic.scale)

    loss, slopes = jax.value_and_grad(policy_loss)(paths)
    (gradient,) = pull_back(slopes)
    log_prob = jnp.mean(paths.first_log_prob)
    state = learner.stepped(state, critic, critic_memory, gradient, log_prob)
    return state, {**told, "policy_loss": loss, "entropy": -log_prob, "temperature": temperature}


def paths_of(
    policy: SquashedGaussianPolicy,
    problem: Problem,
    xs: Float[Array, "B o"],
    temperature: Float[Array, ""],
    discount: float,
    steps: int,
    *,
    key: PRNGKeyArray,
) -> Paths:
    """`steps` model steps from each of the observations."""
    task, t0, size = problem.task, problem.t0, xs.shape[1]
    draw_key, last_key = jr.split(key)

    def move(function: Dynamics, x: Array, u: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        x_next = function(x, u, t0).sample(key=key)
        return x_next, -step_cost(task, x, u, x_next, t0), task.terminal(x_next)

    states = jnp.pad(xs, ((0, 0), (0, extra_coordinates(problem))))
    weight, gain, first = jnp.ones_like(xs[:, 0]), jnp.zeros_like(xs[:, 0]), None
    for t in range(steps):
        act_key, noise_key = jr.split(jr.fold_in(key, t))
        us, log_probs = sampled_actions(policy, states[:, :size], key=act_key)
        first = (us, log_probs) if first is None else first
        keys = jr.split(noise_key, xs.shape[0])
        # The same draws at every step: each row follows one function.
        states, rewards, ended = over_draws(move, problem.dynamics, states, us, keys, key=draw_key)
        gain = gain + weight * (rewards - temperature * log_probs)
        weight = discount * weight * jnp.where(ended, 0.0, 1.0)
    assert first is not None, "steps is at least 1"
    us, log_probs = sampled_actions(policy, states[:, :size], key=last_key)
    return Paths(gain, weight, *first, states[:, :size], us, log_probs)


def extra_coordinates(problem: Problem) -> int:
    """How many coordinates the problem's states have after the observation: 1 where the reward is learned."""
    return int(getattr(problem.dynamics, "n_extra", 0))
