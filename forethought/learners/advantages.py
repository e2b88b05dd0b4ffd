"""Returns and advantages of steps in order.

Symbols: a stream of T steps, several episodes one after the other; r_t reward; V value; gamma discount; lambda trace.
    d_t     1 where x_{t+1} is terminal: nothing follows it
    c_t     1 where the stream goes on with another episode after step t (terminal, or cut by a time limit)
    delta_t = r_t + gamma (1 - d_t) V(x_{t+1}) - V(x_t)
    A_t     = delta_t + gamma lambda (1 - c_t) A_{t+1}
After a truncation, and after the last step of the stream, the value of the last observation stands for what would have
followed.  It is never taken for a terminal state.
Source: Schulman et al. (2016), High-dimensional continuous control using generalized advantage estimation, equation 16;
truncation: Pardo et al. (2018), Time limits in reinforcement learning, section 3.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def generalized_advantages(
    rewards: Float[Array, "T *B"],
    values: Float[Array, "T *B"],
    next_values: Float[Array, "T *B"],
    terminated: Bool[Array, "T *B"],
    truncated: Bool[Array, "T *B"],
    *,
    discount: float,
    trace: float,
) -> Float[Array, "T *B"]:
    """The advantage of each step; added to `values` it is the lambda-return.

    Args:
        rewards: of each step.
        values: of the observation before it.
        next_values: of the observation after it, which for the last step of an episode is not that of the next row.
        terminated: whether the task ended with the step.
        truncated: whether a time limit ended the episode with the step.
        discount: gamma.
        trace: lambda; 0 for one-step advantages, 1 for returns minus values.
    """
    deltas = rewards + discount * jnp.where(terminated, 0, next_values) - values
    carries = discount * trace * (1 - (terminated | truncated).astype(deltas.dtype))

    def back(after: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, carry = at
        advantage = delta + carry * after
        return advantage, advantage

    _, advantages = jax.lax.scan(back, jnp.zeros_like(deltas[0]), (deltas, carries), reverse=True, unroll=8)
    return advantages


def explained_variance(predicted: Float[Array, "*N"], targets: Float[Array, "*N"]) -> Float[Array, ""]:
    """`1 - var(targets - predicted) / var(targets)`: 1 for a perfect value function, 0 for a constant one."""
    spread = jnp.var(targets)
    return jnp.where(spread > 0, 1 - jnp.var(targets - predicted) / jnp.where(spread > 0, spread, 1), 0)
