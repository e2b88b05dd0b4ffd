"""PPO: proximal policy optimization, with the clipped objective.

Symbols: r = pi(u | x) / pi_old(u | x), the ratio of probabilities; A advantage, standardized in each minibatch;
    policy loss  = -mean min(r A, clip(r, 1 - clip, 1 + clip) A)
    value loss   = 0.5 mean (V(x) - target)^2, in standard deviations of the returns
    loss         = policy loss - entropy_weight mean entropy + value_weight value loss
Source: Schulman et al. (2017), equation 7 and algorithm 1; details as in CleanRL's ppo_continuous_action.py, and
Huang et al. (2022), The 37 implementation details of proximal policy optimization.
Differs: returns are standardized instead of rewards (value_function.py); the value loss is not clipped; the learning
rate is constant by default; actions are clipped to their limits before their probability is computed
(policies/distributions.py); episodes that a time limit ends are followed by the value of their last observation
(advantages.py).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Conditional, Observations, Spaces, Transition, UsageError
from forethought.core.settings import settings
from forethought.learners.actor_critic import (
    ActorCritic,
    Rows,
    having_seen,
    log_probs_and_entropies,
    prepared,
    standardized,
)
from forethought.learners.shuffle import permutation
from forethought.learners.validation import require_rates
from forethought.learners.value_function import ValueFunction
from forethought.networks.convolution import Convolutions
from forethought.networks.descent import clipped_adam
from forethought.networks.trunk import Trunk
from forethought.policies.network import TrunkPolicy, on_policy, on_trunk

WHO = "PPO"


@settings
class PPOLearner:
    """Settings of proximal policy optimization.

    The state is an `ActorCritic`; a batch is `Transition` [T, B], B streams of steps in order under the policy.
    """

    hidden: tuple[int, ...] = (64, 64)  # units of each hidden layer, policy and value alike; Schulman et al. (2017)
    learning_rate: float = 3e-4  # of Adam; Schulman et al. (2017), Stable-Baselines3, CleanRL
    discount: float = 0.99  # of future rewards, per step; Schulman et al. (2017)
    trace: float = 0.95  # lambda of the advantage estimate; Schulman et al. (2017)
    clip: float = 0.2  # largest change of a probability's ratio from 1; Schulman et al. (2017)
    epochs: int = 10  # passes through a batch; Schulman et al. (2017) for MuJoCo
    minibatches: int = 32  # parts of a batch, one gradient step each; Schulman et al. (2017): 64 of 2048 rows
    entropy_weight: float = 0.0  # factor on the entropy; Schulman et al. (2017) for MuJoCo, 0.01 for Atari
    value_weight: float = 0.5  # factor on the value loss; CleanRL, Stable-Baselines3
    max_gradient_norm: float = 0.5  # longer gradients are scaled down to it; CleanRL, Stable-Baselines3
    normalize_observations: bool = True  # standardize by running moments; CleanRL for MuJoCo
    shared_trunk: bool = False  # policy and value share all layers but the last, for images only; CleanRL for Atari
    decay_steps: int | None = None  # environment steps in which the learning rate falls to zero; none: it is constant
    reward_limit: float | None = None  # limit on absolute rewards in learning; none: no limit; Mnih et al. (2015): 1
    convolutions: Convolutions | None = None  # of a shared trunk; none: by the size of the images

    def __post_init__(self):
        """Refuse settings out of range."""
        require_rates(self)
        if self.epochs < 1 or self.minibatches < 1:
            raise ValueError(f"PPOLearner needs epochs and minibatches >= 1, got {self.epochs} and {self.minibatches}.")
        if not self.clip > 0:
            raise ValueError(f"PPOLearner.clip must be positive, got {self.clip}.")
        for name in ("decay_steps", "reward_limit"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"PPOLearner.{name} must be positive, got {getattr(self, name)}.")
        if self.convolutions and not self.shared_trunk:
            raise ValueError(f"PPOLearner.convolutions {self.convolutions!r} needs shared_trunk: they are its layers.")

    def optimizer(self, rows: int = 1) -> optax.GradientTransformation:
        """Adam, gradients clipped to a norm.

        `rows`: of a minibatch; `epochs` gradient steps use as many environment steps.
        """
        updates = None if self.decay_steps is None else -(-self.decay_steps * self.epochs // rows)
        return clipped_adam(self.learning_rate, self.max_gradient_norm, decay_updates=updates)

    def init(self, spaces: Spaces, *, policy: Conditional | None = None, key: PRNGKeyArray) -> ActorCritic:
        """The state before any data; see `Learner.init`.

        Args:
            spaces: of the environment.
            policy: what to start from; by default `policies.network.on_policy`, or `on_trunk`.
            key: random key.
        """
        policy_key, value_key = jr.split(key)
        if self.shared_trunk:
            return self._init_with_trunk(spaces, policy, policy_key, value_key)
        hidden, normalize = self.hidden, self.normalize_observations
        if policy is None:
            policy = on_policy(spaces, hidden=hidden, normalize=normalize, who=WHO, key=policy_key)
        value = ValueFunction.init(spaces, hidden=hidden, normalize=normalize, who=WHO, key=value_key)
        return ActorCritic(policy, value, self.optimizer().init(eqx.filter((policy, value), eqx.is_inexact_array)))

    def _init_with_trunk(
        self, spaces: Spaces, policy: Conditional | None, policy_key: PRNGKeyArray, value_key: PRNGKeyArray
    ) -> ActorCritic:
        """The value is a function of the features of the policy's trunk."""
        if policy is None:
            trunk_key = jr.fold_in(policy_key, 1)
            trunk = Trunk.init(spaces.observations, convolutions=self.convolutions, who=WHO, key=trunk_key)
            policy = on_trunk(trunk, spaces.actions, who=WHO, key=policy_key)
        if not isinstance(policy, TrunkPolicy):
            raise UsageError(f"{WHO}: shared_trunk needs a first policy with a trunk, not a {type(policy).__name__}.")
        features = Spaces(Observations((policy.trunk.size,)), spaces.actions)
        value = ValueFunction.init(features, hidden=(), normalize=False, who=WHO, key=value_key)
        return ActorCritic(policy, value, self.optimizer().init(eqx.filter((policy, value), eqx.is_inexact_array)))

    def update(
        self, state: ActorCritic, batch: Transition, *, key: PRNGKeyArray
    ) -> tuple[ActorCritic, dict[str, Float[Array, ""]]]:
        """One iteration of algorithm 1 on a batch [T, B]; rows beyond a multiple of `minibatches` are left out."""
        if self.reward_limit is not None:
            limited = jnp.clip(batch.reward, -self.reward_limit, self.reward_limit)
            batch = eqx.tree_at(lambda b: b.reward, batch, limited)
        state, rows, explained = prepared(state, batch, discount=self.discount, trace=self.trace)  # lines 3-4
        count = rows.target.shape[0]
        size = max(count // self.minibatches, 1)
        steps = count // size

        def epoch(state: ActorCritic, key: PRNGKeyArray) -> tuple[ActorCritic, dict[str, Array]]:
            places = permutation(count, key=key)[: steps * size].reshape(steps, size)
            return jax.lax.scan(lambda state, at: self.step(state, jax.tree.map(lambda a: a[at], rows)), state, places)

        state, told = jax.lax.scan(epoch, state, jr.split(key, self.epochs))  # line 6
        metrics = {name: jnp.mean(values) for name, values in told.items()}
        return having_seen(state, rows), {**metrics, "explained_variance": explained}

    def step(self, state: ActorCritic, rows: Rows) -> tuple[ActorCritic, dict[str, Float[Array, ""]]]:
        """One gradient step on a minibatch."""
        learned = (state.policy, state.value)
        (_, told), gradient = eqx.filter_value_and_grad(self.loss, has_aux=True)(learned, rows)
        change, memory = self.optimizer(rows.target.shape[0]).update(gradient, state.memory)
        policy, value = eqx.apply_updates(learned, change)
        return ActorCritic(policy, value, memory), told

    def loss(
        self, learned: tuple[Conditional, ValueFunction], rows: Rows
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The loss of a minibatch, and its parts."""
        policy, value = learned
        if isinstance(policy, TrunkPolicy):
            rows = eqx.tree_at(lambda r: r.x, rows, jax.vmap(policy.trunk)(rows.x))
            policy = policy.head
        log_prob, entropy = log_probs_and_entropies(policy, rows)
        log_ratio = log_prob - rows.log_prob
        policy_loss = clipped_loss(log_ratio, standardized(rows.advantage), self.clip)
        value_loss, entropy = value.loss(rows.x, rows.target), jnp.mean(entropy)
        ratio = jnp.exp(log_ratio)
        told = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": jnp.mean(ratio - 1 - log_ratio),  # http://joschu.net/blog/kl-approx.html
            "clip_fraction": jnp.mean(jnp.abs(ratio - 1) > self.clip),
        }
        return policy_loss - self.entropy_weight * entropy + self.value_weight * value_loss, told

    def policy(self, state: ActorCritic) -> Conditional:
        """The distribution over actions given an observation."""
        return state.policy


def clipped_loss(log_ratio: Float[Array, "N"], advantage: Float[Array, "N"], clip: float) -> Float[Array, ""]:
    """`-mean min(r A, clip(r) A)`, equation 7: no gradient where r is beyond the range in the advantage's direction."""
    ratio = jnp.exp(log_ratio)
    return -jnp.mean(jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage))
