"""Policy gradient with a learned baseline: REINFORCE, its returns cut short by a value function.

Symbols: A advantage, standardized in the batch;
    policy loss = -mean log pi(u | x) A - entropy_weight mean entropy
    value loss  = 0.5 mean (V(x) - target)^2, in standard deviations of the returns
Each batch gives one step on the policy, and many on the value.
Source: Williams (1992); Sutton & Barto (2018), section 13.4, with the advantages of Schulman et al. (2016); settings of
OpenAI Spinning Up, vpg.  With `trace` 1 and whole episodes it is REINFORCE with baseline exactly, but that the
discount does not weigh later steps less (gamma^t in Sutton & Barto's box).
Differs: as listed in ppo.py for returns, actions at their limits, and truncated episodes.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Conditional, Spaces, Transition
from forethought.core.settings import settings
from forethought.learners.actor_critic import (
    ActorCritic,
    Rows,
    having_seen,
    log_probs_and_entropies,
    prepared,
    standardized,
)
from forethought.learners.validation import require_rates
from forethought.learners.value_function import ValueFunction
from forethought.policies.network import on_policy

WHO = "Policy gradient"


@settings
class PolicyGradientLearner:
    """Settings of the policy gradient with a baseline; state and batch as for `PPOLearner`."""

    hidden: tuple[int, ...] = (64, 64)  # units of each hidden layer, policy and value alike; Spinning Up
    learning_rate: float = 3e-4  # of the policy's Adam; Spinning Up
    value_learning_rate: float = 1e-3  # of the value's Adam; Spinning Up
    value_updates: int = 80  # gradient steps on the value for each batch; Spinning Up
    discount: float = 0.99  # of future rewards, per step; Spinning Up
    trace: float = 0.97  # lambda of the advantage estimate; Spinning Up; 1: REINFORCE
    entropy_weight: float = 0.0  # factor on the entropy
    normalize_observations: bool = True  # standardize by running moments; CleanRL for MuJoCo

    def __post_init__(self):
        """Refuse settings out of range."""
        require_rates(self)
        if self.value_updates < 1:
            raise ValueError(f"PolicyGradientLearner.value_updates must be at least 1, got {self.value_updates}.")

    @property
    def optimizers(self) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
        """Adam for the policy, and for the value."""
        return optax.adam(self.learning_rate), optax.adam(self.value_learning_rate)

    def init(self, spaces: Spaces, *, policy: Conditional | None = None, key: PRNGKeyArray) -> ActorCritic:
        """The state before any data; arguments as in `PPOLearner.init`."""
        policy_key, value_key = jr.split(key)
        hidden, normalize = self.hidden, self.normalize_observations
        if policy is None:
            policy = on_policy(spaces, hidden=hidden, normalize=normalize, who=WHO, key=policy_key)
        value = ValueFunction.init(spaces, hidden=hidden, normalize=normalize, who=WHO, key=value_key)
        learned = (policy, value)
        memory = tuple(
            optimizer.init(eqx.filter(part, eqx.is_inexact_array))
            for optimizer, part in zip(self.optimizers, learned, strict=True)
        )
        return ActorCritic(policy, value, memory)

    def update(
        self, state: ActorCritic, batch: Transition, *, key: PRNGKeyArray
    ) -> tuple[ActorCritic, dict[str, Float[Array, ""]]]:
        """One step on the policy, and `value_updates` on the value, on a batch [T, B]."""
        del key  # nothing is drawn
        state, rows, explained = prepared(state, batch, discount=self.discount, trace=self.trace)
        (for_policy, for_value), (policy_memory, value_memory) = self.optimizers, state.memory
        (_, told), gradient = eqx.filter_value_and_grad(self.loss, has_aux=True)(state.policy, rows)
        change, policy_memory = for_policy.update(gradient, policy_memory)
        policy = eqx.apply_updates(state.policy, change)

        def regress(at: tuple[ValueFunction, optax.OptState], _: None):
            value, memory = at
            loss, gradient = eqx.filter_value_and_grad(lambda v: v.loss(rows.x, rows.target))(value)
            change, memory = for_value.update(gradient, memory)
            return (eqx.apply_updates(value, change), memory), loss

        start = (state.value, value_memory)
        (value, value_memory), losses = jax.lax.scan(regress, start, None, length=self.value_updates)
        after = having_seen(ActorCritic(policy, value, (policy_memory, value_memory)), rows)
        return after, {**told, "value_loss": losses[-1], "explained_variance": explained}

    def loss(self, policy: Conditional, rows: Rows) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The policy's loss on a batch, whose gradient is the policy gradient, and its parts."""
        log_prob, entropy = log_probs_and_entropies(policy, rows)
        policy_loss, entropy = -jnp.mean(log_prob * standardized(rows.advantage)), jnp.mean(entropy)
        return policy_loss - self.entropy_weight * entropy, {"policy_loss": policy_loss, "entropy": entropy}

    def policy(self, state: ActorCritic) -> Conditional:
        """The distribution over actions given an observation."""
        return state.policy
