"""What learners on their own policy's experience share: a policy, a value function, and the advantages of a batch."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from forethought.core import Conditional, Transition
from forethought.learners.advantages import explained_variance, generalized_advantages
from forethought.learners.value_function import ValueFunction
from forethought.policies.network import HasSeen, TrunkPolicy

PASS = 1024  # images in one pass through a trunk outside of updates


class ActorCritic(eqx.Module):
    """What is learned, and the memory of the optimizers."""

    policy: Conditional
    value: ValueFunction
    memory: Any


class Rows(eqx.Module):
    """Steps without their order: what a gradient is computed from, leading axis [N]."""

    x: Shaped[Array, "N *n"]
    u: Shaped[Array, "N *m"]
    advantage: Float[Array, "N"]
    target: Float[Array, "N"]  # of the value: the lambda-return
    log_prob: Float[Array, "N"]  # of `u` under the policy that chose it


def prepared(
    state: ActorCritic, batch: Transition, *, discount: float, trace: float
) -> tuple[ActorCritic, Rows, Float[Array, ""]]:
    """The rows of a batch of streams with their advantages.

    Args:
        state: before the update; its policy chose the actions of the batch.
        batch: leading axes [T, B]: B streams of T steps in order, each of one episode after the other.
        discount: gamma.
        trace: lambda.
    Returns:
        The state with the moments of the returns of the batch, its rows [T B], and how much of the variance of the
        returns the values explained.
    """
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch)
    judge = _judged_by_trunk if isinstance(state.policy, TrunkPolicy) else _judged
    values, after, log_probs = judge(state, batch, flat)
    advantages = generalized_advantages(
        batch.reward, values, after, batch.terminated, batch.truncated, discount=discount, trace=trace
    ).reshape(-1)
    targets = advantages + values.reshape(-1)
    rows = Rows(flat.x, flat.u, advantages, targets, log_probs)
    rescaled = eqx.tree_at(lambda s: s.value, state, state.value.rescaled(targets))
    return rescaled, rows, explained_variance(values.reshape(-1), targets)


def _judged(state: ActorCritic, batch: Transition, flat: Transition) -> tuple[Array, Array, Array]:
    """The values before and after each step [T, B], and the log-probabilities of the actions [T B]."""
    shape = batch.reward.shape
    values, after = (jax.vmap(state.value)(xs).reshape(shape) for xs in (flat.x, flat.x_next))
    return values, after, jax.vmap(lambda x, u: state.policy(x).log_prob(u))(flat.x, flat.u)


def _judged_by_trunk(state: ActorCritic, batch: Transition, flat: Transition) -> tuple[Array, Array, Array]:
    """The same with one pass through the trunk; most values after a step are those before the next step."""
    policy: Any = state.policy

    def features_of(xs: Array) -> Array:
        return jax.lax.map(policy.trunk, xs, batch_size=min(PASS, xs.shape[0]))

    features = features_of(flat.x)
    values = jax.vmap(state.value)(features).reshape(batch.reward.shape)
    log_probs = jax.vmap(lambda h, u: policy.head(h).log_prob(u))(features, flat.u)
    last = jax.vmap(state.value)(features_of(batch.x_next[-1]))
    after = jnp.concatenate([values[1:], last[None]])
    cut = batch.truncated & ~batch.terminated
    after = jax.lax.cond(
        jnp.any(cut[:-1]),  # then the observation after the step is not that of the next row
        lambda: jnp.where(cut, jax.vmap(state.value)(features_of(flat.x_next)).reshape(cut.shape), after),
        lambda: after,
    )
    return values, after, log_probs


@runtime_checkable
class HasEntropy(Protocol):
    """Capability of a distribution that knows its entropy."""

    def entropy(self) -> Float[Array, ""]:
        """In nats."""
        ...


def log_probs_and_entropies(policy: Conditional, rows: Rows) -> tuple[Float[Array, "N"], Float[Array, "N"]]:
    """The log-probability of each action, and the entropy of the policy there; 0 for one that does not know it."""

    def at(x: Array, u: Array) -> tuple[Array, Array]:
        actions = policy(x)
        entropy = actions.entropy() if isinstance(actions, HasEntropy) else jnp.zeros(())
        return actions.log_prob(u), entropy

    return jax.vmap(at)(rows.x, rows.u)


def having_seen(state: ActorCritic, rows: Rows) -> ActorCritic:
    """The state with the moments of the observations, to be used after the update: they change the policy a little."""
    policy: Any = state.policy
    policy = policy.seen(rows.x) if isinstance(policy, HasSeen) else policy
    return ActorCritic(policy, state.value.seen(rows.x), state.memory)


def standardized(advantages: Float[Array, "N"]) -> Float[Array, "N"]:
    """With mean 0 and standard deviation 1, as in CleanRL and Stable-Baselines3."""
    return (advantages - jnp.mean(advantages)) / (jnp.std(advantages) + 1e-8)
