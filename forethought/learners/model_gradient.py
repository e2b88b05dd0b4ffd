"""SAC's policy loss after H steps of a model that it differentiates through: stochastic value gradients.

Symbols: x_0 a state of the batch, u_t ~ pi(x_t), x_{t+1} ~ model(x_t, u_t), both with gradients through the sample;
r_t the reward of a step, d_t 1 if a state before x_t or x_t itself is terminal (d_0 = 0); alpha the temperature,
gamma the discount, Q the critics' value:
    loss = -mean [ sum_{t < H} gamma^t (1 - d_t) (r_t - alpha log pi(u_t | x_t))
                   + gamma^H (1 - d_H) (Q(x_H, u_H) - alpha log pi(u_H | x_H)) ]
H = 0 is the loss of SAC.  Each state of the batch follows one function of the model's posterior.
Source: Heess et al. (2015), Learning continuous control policies by stochastic value gradients, section 4.2; with an
entropy bonus Amos et al. (2021), On the model-based stochastic value gradient, section 4.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Dynamics, Problem, over_draws, step_cost
from forethought.learners.sac import Critic
from forethought.policies.network import SquashedGaussianPolicy


class ModelGradientLoss(eqx.Module):
    """The loss above, in units of the critics' `scale`: a `PolicyLoss`."""

    problem: Problem
    discount: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)  # H

    def __call__(
        self,
        policy: SquashedGaussianPolicy,
        critic: Critic,
        xs: Float[Array, "B o"],
        temperature: Float[Array, ""],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The loss from the observations `xs`, and the mean log-density of all actions."""
        policy_key, draw_key = key, jr.fold_in(key, 0)
        keys = jr.split(policy_key, xs.shape[0])

        def follow(function: Dynamics, x: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
            return self._gain(function, policy, critic, x, temperature, key)

        gains, log_probs = over_draws(follow, self.problem.dynamics, xs, keys, key=draw_key)
        return -jnp.mean(gains) / jax.lax.stop_gradient(critic.scale), jnp.mean(log_probs)

    def _gain(
        self,
        function: Dynamics,
        policy: SquashedGaussianPolicy,
        critic: Critic,
        o: Float[Array, "o"],
        temperature: Float[Array, ""],
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The discounted soft rewards from one observation, and the mean log-density of its actions."""
        task, t0, size = self.problem.task, self.problem.t0, o.shape[0]
        extra = extra_coordinates(self.problem)

        def step(carry: tuple[Array, Array, Array], key: PRNGKeyArray) -> tuple[tuple[Array, Array, Array], Array]:
            x, weight, total = carry
            act_key, noise_key = jr.split(key)
            u, log_prob = policy(x[:size]).sample_and_log_prob(key=act_key)
            x_next = function(x, u, t0).sample(key=noise_key)
            soft_reward = -step_cost(task, x, u, x_next, t0) - temperature * log_prob
            ahead = self.discount * weight * jnp.where(task.terminal(x_next), 0.0, 1.0)
            return (x_next, ahead, total + weight * soft_reward), log_prob

        start = (jnp.pad(o, (0, extra)), jnp.ones((), o.dtype), jnp.zeros((), o.dtype))
        keys = jax.vmap(lambda t: jr.fold_in(key, t))(jnp.arange(self.steps))
        (x, weight, total), log_probs = jax.lax.scan(step, start, keys, unroll=max(self.steps, 1))
        u, log_prob = policy(x[:size]).sample_and_log_prob(key=key)
        total = total + weight * (critic.value(x[:size], u) - temperature * log_prob)
        return total, jnp.mean(jnp.append(log_probs, log_prob))


def extra_coordinates(problem: Problem) -> int:
    """How many coordinates the problem's states have after the observation: 1 where the reward is learned."""
    return int(getattr(problem.dynamics, "n_extra", 0))
