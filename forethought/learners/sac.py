"""SAC: soft actor-critic, with a learned temperature.

Symbols: Q_1 ... Q_K critics, Q'_i their slow copies; pi the policy; alpha the temperature; d 1 where x' is terminal;
u' ~ pi(x'), and u ~ pi(x) with gradients through the sample; K = 2:
    y                = r + gamma (1 - d) (min_i Q'_i(x', u') - alpha log pi(u' | x'))
    critic loss      = sum_i 0.5 mean ((Q_i(x, u) - y) / scale)^2
    policy loss      = mean (alpha log pi(u | x) - min_i Q_i(x, u)) / scale
    temperature loss = -mean log_alpha (log pi(u | x) + target entropy)
    Q'_i            <- (1 - tau) Q'_i + tau Q_i
A truncated episode is never taken for a terminal one: d is `terminated`.
Source: Haarnoja et al. (2018), Soft actor-critic algorithms and applications, equations 5-9 and 18, algorithm 1;
settings of Stable-Baselines3.
Differs: the temperature's loss has log_alpha in place of alpha, as in the authors' code; actions enter the critics
divided by half their range.  The number of critics, their mean in place of their minimum, a random subset of the slow
ones (Chen et al. 2021, REDQ), standardized observations and `scale` (1 here) are for value gradients
(learners/model_gradient.py).
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Box, Spaces, Transition, UsageError
from forethought.core.settings import settings
from forethought.learners.validation import require_rates
from forethought.networks.gaussian_mlp import silu
from forethought.networks.inputs import Inputs
from forethought.networks.mlp import MLP, glorot, uniform
from forethought.policies.network import SquashedGaussianPolicy, require_limits, squashed_gaussian

WHO = "SAC"
ACTIVATIONS = {"relu": jax.nn.relu, "silu": silu}
INITIALIZERS = {"uniform": uniform, "glorot": glorot}


class Critic(eqx.Module):
    """K action-value functions; the network's arrays are stacked [K, ...]."""

    inputs: Inputs
    networks: MLP
    box: Box
    scale: Float[Array, ""]  # value per unit of a network's output
    combine: Literal["min", "mean"] = eqx.field(static=True, default="min")

    def __call__(self, xs: Shaped[Array, "B *n"], us: Float[Array, "B m"]) -> Float[Array, "K B"]:
        """All values of B actions.

        Each network takes all rows at once: the gradients of its weights are then plain matrix products.
        """
        box, scale = jax.lax.stop_gradient((self.box, self.scale))
        zs = jnp.concatenate([jax.vmap(self.inputs)(xs), (us - box.center[None]) / box.half_range[None]], axis=1)
        return scale * jax.vmap(lambda network: jax.vmap(network)(zs)[:, 0])(self.networks)

    def value(self, xs: Shaped[Array, "B *n"], us: Float[Array, "B m"]) -> Float[Array, "B"]:
        """The values that targets and the policy go by: the least, or the mean."""
        values = self(xs, us)
        return jnp.min(values, axis=0) if self.combine == "min" else jnp.mean(values, axis=0)


class SACState(eqx.Module):
    """What is learned, and the memory of the optimizers."""

    policy: SquashedGaussianPolicy
    critic: Critic
    target: MLP  # the critic's networks, slow
    log_temperature: Float[Array, ""]
    memory: Any  # of the three optimizers


@settings
class SACLearner:
    """Settings of soft actor-critic; a batch is `Transition` [B], rows in any order from any policy."""

    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer; Haarnoja et al. (2018), appendix D
    learning_rate: float = 3e-4  # of Adam, for policy, critics and temperature; Haarnoja et al. (2018), appendix D
    discount: float = 0.99  # of future rewards, per step; Haarnoja et al. (2018), appendix D
    tau: float = 0.005  # step of the slow critics toward the critics; Haarnoja et al. (2018), appendix D
    batch: int = 256  # rows of a batch that its user draws; Haarnoja et al. (2018), appendix D
    initial_temperature: float = 1.0  # of the entropy, in units of reward; Stable-Baselines3
    target_entropy: float | None = None  # nats; none: minus the number of actions, Haarnoja et al. (2018)
    critics: int = 2  # action-value networks; Haarnoja et al. (2018)
    combine: Literal["min", "mean"] = "min"  # of the critics' values; Haarnoja et al. (2018)
    critic_hidden: tuple[int, ...] | None = None  # units of each hidden layer of a critic; none: those of the policy
    activation: Literal["relu", "silu"] = "relu"  # of the hidden layers; Haarnoja et al. (2018)
    subset: int | None = None  # slow critics, drawn at random, whose least value is the target; none: see `combine`
    normalize: bool = False  # standardize observations by the moments of those that `seen` was given
    scale_values: bool = False  # critics output values in units of the first rewards' mean size / (1 - discount)
    initializer: Literal["uniform", "glorot"] = "uniform"  # of the weights; Haarnoja et al. (2018), the code: glorot

    def __post_init__(self):
        """Refuse settings out of range."""
        require_rates(self)
        for name in ("batch", "critics"):
            if getattr(self, name) < 1:
                raise ValueError(f"SACLearner.{name} must be at least 1, got {getattr(self, name)}.")
        if self.subset is not None and not 1 <= self.subset <= self.critics:
            raise ValueError(f"SACLearner.subset must be between 1 and critics ({self.critics}), got {self.subset}.")
        if self.scale_values and self.discount == 1:
            raise ValueError("SACLearner.scale_values needs a discount below 1.")
        if not 0 < self.tau <= 1:
            raise ValueError(f"SACLearner.tau must be above 0 and at most 1, got {self.tau}.")
        if not 0 < self.initial_temperature < float("inf"):
            raise ValueError(f"SACLearner.initial_temperature must be positive, got {self.initial_temperature}.")

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam."""
        return optax.adam(self.learning_rate)

    def init(self, spaces: Spaces, *, policy: SquashedGaussianPolicy | None = None, key: PRNGKeyArray) -> SACState:
        """The state before any data.

        Args:
            spaces: of the environment.
            policy: what to start from; by default `policies.network.squashed_gaussian`.
            key: random key.
        Raises:
            UsageError: discrete actions, actions without limits, or images.
        """
        policy_key, critic_key = jr.split(key)
        box = require_limits(spaces.actions, WHO)
        if spaces.observations.is_image:
            raise UsageError(f"{WHO} learns from vectors, not from {spaces.observations}: use PPO for images.")
        if policy is None:
            policy = squashed_gaussian(
                spaces,
                hidden=self.hidden,
                activation=ACTIVATIONS[self.activation],
                normalize=self.normalize,
                initializer=INITIALIZERS[self.initializer],
                who=WHO,
                key=policy_key,
            )
        inputs = Inputs.of(spaces.observations, normalize=self.normalize)
        size = inputs.shape[0] + box.size
        hidden, activation = self.critic_hidden or self.hidden, ACTIVATIONS[self.activation]
        initializer = INITIALIZERS[self.initializer]

        def network(key: PRNGKeyArray) -> MLP:
            return MLP.init(size, 1, hidden=hidden, activation=activation, initializer=initializer, key=key)

        networks = jax.vmap(network)(jr.split(critic_key, self.critics))
        critic = Critic(inputs, networks, box, jnp.ones(()), self.combine)
        log_temperature = jnp.log(jnp.asarray(self.initial_temperature, jnp.result_type(float)))
        memory = tuple(
            self.optimizer.init(eqx.filter(part, eqx.is_inexact_array)) for part in (policy, critic, log_temperature)
        )
        return SACState(policy, critic, jax.tree.map(jnp.copy, networks), log_temperature, memory)

    def scaled(self, state: SACState, reward_size: Float[Array, ""]) -> SACState:
        """With critics whose outputs are in units of the values of rewards of this size, if `scale_values`."""
        if not self.scale_values:
            return state
        scale = jnp.maximum(reward_size, 1e-6) / (1 - self.discount)
        return eqx.tree_at(lambda s: s.critic.scale, state, scale.astype(state.critic.scale.dtype))

    def update(
        self, state: SACState, batch: Transition, *, key: PRNGKeyArray
    ) -> tuple[SACState, dict[str, Float[Array, ""]]]:
        """One gradient step for each part, on rows [B]: the second half of algorithm 1."""
        next_key, policy_key = jr.split(key)
        temperature = jnp.exp(state.log_temperature)
        targets = self.targets(state, batch, temperature, key=next_key)
        critic, critic_memory, told = self.fitted_critics(state, batch.x, batch.u, targets)
        (loss, log_prob), gradient = eqx.filter_value_and_grad(policy_loss_of, has_aux=True)(
            state.policy, critic, batch.x, temperature, key=policy_key
        )
        state = self.stepped(state, critic, critic_memory, gradient, log_prob)
        return state, {**told, "policy_loss": loss, "entropy": -log_prob, "temperature": temperature}

    def update_critics(
        self, state: SACState, batch: Transition, *, key: PRNGKeyArray
    ) -> tuple[SACState, dict[str, Float[Array, ""]]]:
        """One gradient step for the critics, on rows [B]; policy and temperature stay as they are."""
        next_key, _ = jr.split(key)
        targets = self.targets(state, batch, jnp.exp(state.log_temperature), key=next_key)
        critic, critic_memory, told = self.fitted_critics(state, batch.x, batch.u, targets)
        nothing = jax.tree.map(jnp.zeros_like, eqx.filter(state.policy, eqx.is_inexact_array))
        reached = jnp.full((), -self.entropy_goal(critic.box.size), targets.dtype)
        return self.stepped(state, critic, critic_memory, nothing, reached), told

    def targets(
        self, state: SACState, batch: Transition, temperature: Float[Array, ""], *, key: PRNGKeyArray
    ) -> Float[Array, "B"]:
        """What the critics are fitted to, equation 5 with the slow critics."""
        slow = self.slow_critic(state, key=jr.fold_in(key, 0))

        us, log_probs = sampled_actions(state.policy, batch.x_next, key=key)
        values = slow.value(batch.x_next, us) - temperature * log_probs
        return batch.reward + self.discount * jnp.where(batch.terminated, 0, values)

    def slow_critic(self, state: SACState, *, key: PRNGKeyArray) -> Critic:
        """The slow critics: all, or `subset` of them drawn at random, of which the least value counts."""
        if self.subset is None:
            return eqx.tree_at(lambda c: c.networks, state.critic, state.target)
        drawn = jr.choice(key, self.critics, (self.subset,), replace=False)
        networks = jax.tree.map(lambda a: a[drawn], state.target)
        return Critic(state.critic.inputs, networks, state.critic.box, state.critic.scale, "min")

    def fitted_critics(
        self, state: SACState, xs: Shaped[Array, "B *n"], us: Float[Array, "B m"], targets: Float[Array, "B"]
    ) -> tuple[Critic, Any, dict[str, Float[Array, ""]]]:
        """The critics after one gradient step toward the targets, the memory of their optimizer, and metrics."""
        (loss, q), gradient = eqx.filter_value_and_grad(critic_loss_of, has_aux=True)(state.critic, xs, us, targets)
        critic, memory = self._descend(state.critic, gradient, state.memory[1])
        return critic, memory, {"critic_loss": loss, "q": q}

    def stepped(
        self, state: SACState, critic: Critic, critic_memory: Any, policy_gradient: Any, log_prob: Float[Array, ""]
    ) -> SACState:
        """The state after a gradient step of policy and temperature, and a step of the slow critics.

        Args:
            state: before the update.
            critic: the critics after it.
            critic_memory: of their optimizer.
            policy_gradient: of the policy's loss.
            log_prob: mean log-density of the policy's actions, which the temperature is steered by.
        """
        policy, policy_memory = self._descend(state.policy, policy_gradient, state.memory[0])
        excess = log_prob + self.entropy_goal(critic.box.size)
        log_temperature, temperature_memory = self._descend(state.log_temperature, -excess, state.memory[2])
        target = jax.tree.map(lambda slow, new: slow + self.tau * (new - slow), state.target, critic.networks)
        memory = (policy_memory, critic_memory, temperature_memory)
        return SACState(policy, critic, target, log_temperature, memory)

    def seen(self, state: SACState, xs: Shaped[Array, "N *n"]) -> SACState:
        """With observations standardized by the moments of N more of them, if `normalize`."""
        if not self.normalize:
            return state
        state = eqx.tree_at(lambda s: s.policy, state, state.policy.seen(xs))
        return eqx.tree_at(lambda s: s.critic.inputs, state, state.critic.inputs.seen(xs))

    def entropy_goal(self, actions: int) -> float:
        """The entropy that the temperature steers the policy to, nats."""
        return -float(actions) if self.target_entropy is None else self.target_entropy

    def policy(self, state: SACState) -> SquashedGaussianPolicy:
        """The distribution over actions given an observation."""
        return state.policy

    def _descend(self, part: Any, gradient: Any, memory: Any) -> tuple[Any, Any]:
        change, memory = self.optimizer.update(gradient, memory)
        return eqx.apply_updates(part, change), memory


def critic_loss_of(
    critic: Critic, xs: Shaped[Array, "B *n"], us: Float[Array, "B m"], targets: Float[Array, "B"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Half the mean squared errors of all critics, in their unit, added up; and the mean value."""
    values = critic(xs, us)
    errors = (values - targets[None]) / jax.lax.stop_gradient(critic.scale)
    return 0.5 * jnp.sum(jnp.mean(errors**2, axis=1)), jnp.mean(values)


def policy_loss_of(
    policy: SquashedGaussianPolicy,
    critic: Critic,
    xs: Shaped[Array, "B *n"],
    temperature: Float[Array, ""],
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The soft value of the policy's actions, negative, and their mean log-density."""
    us, log_probs = sampled_actions(policy, xs, key=key)
    losses = temperature * log_probs - critic.value(xs, us)
    return jnp.mean(losses) / jax.lax.stop_gradient(critic.scale), jnp.mean(log_probs)


def sampled_actions(
    policy: SquashedGaussianPolicy, xs: Shaped[Array, "B *n"], *, key: PRNGKeyArray
) -> tuple[Float[Array, "B m"], Float[Array, "B"]]:
    """An action for each observation, and its log-density."""
    keys = jr.split(key, xs.shape[0])
    return jax.vmap(lambda x, key: policy(x).sample_and_log_prob(key=key))(xs, keys)
