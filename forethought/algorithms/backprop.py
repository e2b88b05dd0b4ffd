"""Backpropagation through imagined rollouts: a policy is improved by the gradient of its cost through learned dynamics.

Each round acts with the policy, adds what happened to the data and fits the model to all of it.  Then the policy takes
many gradient steps on imagined rollouts from states of the data.  The remedies against what goes wrong there:
    gradients explode or vanish with the horizon    few imagined steps, and a learned value for the cost after them
                                                    (search.horizon, search.value); clipping (search.clip); an
                                                    estimator that mixes the score in (search.estimator)
    the policy exploits errors of the model         an ensemble, each rollout through one member (model.members)
By default most of an episode is imagined, without a value: on the pendulum a few steps and a value ended in a local
optimum (docs/ladder.md).
Source: Heess et al. (2015), "Learning continuous control policies by stochastic value gradients", for the truncated
horizon with a value; Parmas et al. (2018) for the estimators; Clavera et al. (2020), section 4, for ensembles.
Differs: the policy is deterministic, and Gaussian noise is added where it acts; the value is fitted to the returns of
the same rollouts; its discount stands for the task's finite horizon.
"""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.algorithms.experience import Experience, learn, require_at_least
from forethought.algorithms.model_learning import ModelLearning
from forethought.algorithms.protocol import Info
from forethought.core import Box, Buffer, Controller, Problem, Regression, Transition, UsageError, require_box
from forethought.core.settings import settings
from forethought.envs.env import Env, collect_episodes
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.networks.gaussian_mlp import GaussianMLP
from forethought.networks.normalizer import mean_and_std
from forethought.policies.base_policy import BasePolicy, RandomPolicy
from forethought.policies.exploration import Noisy
from forethought.policies.imagined import Estimator, Imagination, Path, policy_gradient
from forethought.policies.squashed import RBF, Affine, NetworkFunction, SquashedPolicy, random_affine, random_rbf


@settings
class PolicyKind:
    """The policy's function of the features, before its output is squashed into the action limits."""

    kind: Literal["network", "rbf", "linear"] = "network"  # multilayer perceptron, radial basis functions, or linear
    hidden: tuple[int, ...] = (64, 64)  # units in each hidden layer of a network
    basis_functions: int = 50  # radial basis functions
    exploration: float = 0.3  # std of the noise added while collecting experience, as a share of half the action range

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, basis_functions=1, exploration=0)

    def function(self, features: Float[Array, "N f"], m: int, *, key: PRNGKeyArray) -> Any:
        """A random function of scaled features; `features` are examples, where radial basis functions go."""
        pick_key, make_key = jr.split(key)
        if self.kind == "linear":
            return random_affine(features.shape[1], m, key=make_key)
        if self.kind == "rbf":
            places = jr.randint(pick_key, (self.basis_functions,), 0, features.shape[0])
            return random_rbf(features[places], m, key=make_key)
        return NetworkFunction(GaussianMLP.init(features.shape[1], m, hidden=self.hidden, key=make_key))


@settings
class GradientSearch:
    """The gradient steps of a round."""

    updates: int = 600  # gradient steps of the policy in a round
    particles: int = 50  # imagined rollouts for a gradient, a multiple of the ensemble's members
    horizon: int = 60  # imagined steps
    discount: float = 1.0  # of a step's cost, in (0, 1]; below 1 with a value
    value: bool = False  # a learned value stands for the cost after the horizon; false: nothing is charged there
    value_hidden: tuple[int, ...] = (64, 64)  # units in each hidden layer of the value
    estimator: Estimator = "pathwise"  # of the gradient: pathwise, score, or mixed by their inverse variances
    clip: float = 1.0  # largest norm of the policy's gradient, relative to the cost of a step
    learning_rate: float = 1e-3  # step size of Adam, for policy and value

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, updates=1, particles=2, horizon=1)
        if not 0 < self.discount <= 1 or not self.clip > 0 or not self.learning_rate > 0:
            got = f"{self.discount}, {self.clip} and {self.learning_rate}"
            raise ValueError(f"GradientSearch needs discount in (0, 1], clip > 0 and learning_rate > 0; got {got}.")

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Clipping, then Adam."""
        return optax.chain(optax.clip_by_global_norm(self.clip), optax.adam(self.learning_rate))


class Value(eqx.Module):
    """The expected discounted cost from a state on."""

    layers: GaussianMLP  # its mean
    unit: Float[Array, ""]  # of the cost
    policy: SquashedPolicy  # for its features

    def __call__(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Of a state, the reward in it or not."""
        return self.unit * self.layers(_features(self.policy, x))[0][0]


class BackpropState(eqx.Module):
    """Experience, the policy, the value, and the memory of their optimizers."""

    experience: Experience
    policy: SquashedPolicy
    value: Value
    memory: Any


@settings
class Backprop:
    """Settings of policy search by backpropagation through learned dynamics."""

    model: Regression = Ensemble()
    classifier: Classifier = Classifier()
    base: BasePolicy = RandomPolicy()
    policy: PolicyKind = PolicyKind()
    search: GradientSearch = GradientSearch()
    base_episodes: int = 1  # episodes under the base policy before the first search, at least
    round_steps: int = 40  # fewest steps of experience in a round, collected in whole episodes
    refit_growth: float = 0.05  # growth of the data since the last fit, as a share of them, that triggers the next fit
    integrate: bool = False  # positions are integrated from learned velocities, if the environment names them

    def __post_init__(self):
        """Refuse settings that cannot work together."""
        require_at_least(self, base_episodes=1, round_steps=1, refit_growth=0)
        members, particles = getattr(self.model, "members", 1), self.search.particles
        if particles % members:
            raise ValueError(f"search.particles ({particles}) must be a multiple of model.members ({members}).")

    @property
    def learning(self) -> ModelLearning:
        """Settings of what is learned from the data."""
        return ModelLearning(self.model, self.classifier, self.refit_growth, self.integrate)

    def init(self, env: Env, *, key: PRNGKeyArray) -> BackpropState:
        """No experience, a random policy."""
        model_key, policy_key = jr.split(key)
        limits = require_box(env.task.action_space, "Backprop")
        if not np.isfinite([limits.low, limits.high]).all():
            raise UsageError("Backprop squashes actions into their limits, which must be finite.")
        learned = self.learning.init(env, key=model_key)
        buffer = Buffer.empty(env.space.size, limits.size)
        experience = Experience(buffer, learned, jnp.zeros((), jnp.int32))
        features = jr.normal(policy_key, (self.policy.basis_functions, env.space.feature_size))
        ones = jnp.ones(env.space.feature_size)
        return self._with_policy(experience, features, limits, ones, jnp.ones(()), env, key=policy_key)

    def iterate(self, state: BackpropState, env: Env, *, key: PRNGKeyArray) -> tuple[BackpropState, Info]:
        """Act, learn, improve."""
        act_key, fit_key, search_key = jr.split(key, 3)
        first = int(state.experience.episodes) == 0
        exploring = int(state.experience.episodes) < self.base_episodes
        controller = self.base.controller(env) if exploring else self._disturbed(state.policy)
        episodes = collect_episodes(env, controller, least_steps=self.round_steps, key=act_key)
        experience, metrics = learn(self.learning, state.experience, episodes, key=fit_key)
        state = eqx.tree_at(lambda s: s.experience, state, experience)
        if first:
            state = self._scaled(state, env, key=search_key)
        state, found = self.improve(state, env, key=search_key)
        return state, Info(episodes, metrics | found)

    def improve(
        self, state: BackpropState, env: Env, *, key: PRNGKeyArray
    ) -> tuple[BackpropState, dict[str, float | None]]:
        """`search.updates` gradient steps from states of the data, and the means of the last tenth of them."""
        trained = (state.policy.function, state.value.layers, state.memory)
        buffer = state.experience.buffer
        xs = jnp.pad(buffer.data.x, ((0, 0), (0, int(env.learn_reward))))
        trained, trace = _improve(
            self.search, self.problem(state, env), state.policy, state.value, trained, xs, buffer.size, key
        )
        function, layers, memory = trained
        state = eqx.tree_at(lambda s: (s.policy.function, s.value.layers, s.memory), state, (function, layers, memory))
        count = max(1, self.search.updates // 10)
        means = {name: float(np.mean(np.asarray(row)[-count:])) for name, row in trace.items()}
        return state, {name: mean if np.isfinite(mean) else None for name, mean in means.items()}

    def with_data(
        self, state: BackpropState, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray
    ) -> BackpropState:
        """Recorded episodes as experience; the first round still acts by the base policy."""
        del env, key
        buffer = state.experience.buffer
        for episode in episodes:
            buffer = buffer.append(episode)
        return eqx.tree_at(lambda s: s.experience.buffer, state, buffer)

    def problem(self, state: BackpropState, env: Env) -> Problem:
        """The task with what was learned in place of what is unknown."""
        return state.experience.learned.problem(env)

    def controller(self, state: BackpropState, env: Env) -> Controller:
        """The policy, without noise."""
        del env
        return state.policy

    def imagination(self, state: BackpropState, env: Env) -> Imagination:
        """What the search imagines; its `theta` is `state.policy.function`."""
        value = state.value if self.search.value else None
        return _imagination(self.search, self.problem(state, env), state.policy, value)

    def _disturbed(self, policy: SquashedPolicy) -> Noisy:
        return Noisy(policy, self.policy.exploration * policy.action_space.half_range, policy.action_space)

    def _scaled(self, state: BackpropState, env: Env, *, key: PRNGKeyArray) -> BackpropState:
        """Features and value in units of the first data, and basis functions among them."""
        rows = state.experience.buffer.rows()
        features = jax.vmap(env.space.features)(rows.x)
        std = mean_and_std(features, jnp.ones(features.shape[0]))[1]
        scale = jnp.where(std > 1e-6, std, 1.0)
        effective = min(env.task.horizon, 1 / (1 - self.search.discount) if self.search.discount < 1 else np.inf)
        unit = jnp.maximum(jnp.mean(jnp.abs(rows.reward)), 1e-6) * effective
        limits = state.policy.action_space
        return self._with_policy(state.experience, features / scale[None], limits, scale, unit, env, key=key)

    def _with_policy(
        self,
        experience: Experience,
        features: Float[Array, "N f"],
        limits: Box,
        scale: Float[Array, "f"],
        unit: Float[Array, ""],
        env: Env,
        *,
        key: PRNGKeyArray,
    ) -> BackpropState:
        """A new policy and value for features of this scale and costs of this unit."""
        policy_key, value_key = jr.split(key)
        function = self.policy.function(features, limits.size, key=policy_key)
        policy = SquashedPolicy(function, limits, scale, env.space)
        layers = GaussianMLP.init(features.shape[1], 1, hidden=self.search.value_hidden, key=value_key)
        optimizer = self.search.optimizer
        memory = optimizer.init(function), optimizer.init(layers)
        blank = SquashedPolicy(Affine(jnp.zeros((0, 0)), jnp.zeros(0)), limits, scale, env.space)
        return BackpropState(experience, policy, Value(layers, jnp.asarray(unit, jnp.float32), blank), memory)


def _features(policy: SquashedPolicy, x: Float[Array, "n"]) -> Float[Array, "f"]:
    return policy.space.features(x[: policy.space.size]) / policy.scale


class _Act(eqx.Module):
    """The policy's action, given its prepared function and a state."""

    policy: SquashedPolicy

    def __call__(self, ready: Any, x: Float[Array, "n"]) -> Float[Array, "m"]:
        o = x[: self.policy.space.size]
        return self.policy.act(o, jnp.zeros((), jnp.int32), ready, key=jr.key(0))[0]


def _prepared(function: Affine | RBF | NetworkFunction) -> Any:
    return function.prepared()


def _imagination(search: GradientSearch, problem: Problem, policy: SquashedPolicy, value: Value | None) -> Imagination:
    return Imagination(problem, _Act(policy), _prepared, value, search.horizon, search.discount)


@eqx.filter_jit
def _improve(
    search: GradientSearch,
    problem: Problem,
    policy: SquashedPolicy,
    value: Value,
    trained: Any,
    xs: Float[Array, "N n"],
    size: Array,
    key: PRNGKeyArray,
) -> tuple[Any, dict[str, Array]]:
    """Gradient steps of the policy and the value, one of each in turn; a step that is not finite is left out."""
    unit = value.unit  # the gradient is that of the cost in this unit, so that one clip suits every task

    def update(carry: Any, key: PRNGKeyArray) -> tuple[Any, dict[str, Array]]:
        function, layers, (policy_memory, value_memory) = carry
        start_key, gradient_key = jr.split(key)
        x0s = xs[jr.randint(start_key, (search.particles,), 0, size)]
        current = eqx.tree_at(lambda v: v.layers, value, layers)
        imagination = _imagination(search, problem, policy, current if search.value else None)
        found = policy_gradient(imagination, function, x0s, estimator=search.estimator, key=gradient_key)
        scaled = jax.tree.map(lambda g: g / unit, found.gradient)
        function, policy_memory = _step(search, scaled, function, policy_memory)
        error, gradient = jax.value_and_grad(_value_error)(layers, current, found.paths, search.discount)
        if search.value:
            layers, value_memory = _step(search, gradient, layers, value_memory)
        trace = {
            "imagined_cost": found.cost,
            "gradient_norm": found.norm,
            "gradient_std": jnp.sqrt(found.variance),
            "score_share": found.score_share,
            "value_error": jnp.sqrt(error),
        }
        return (function, layers, (policy_memory, value_memory)), trace

    return jax.lax.scan(update, trained, jr.split(key, search.updates))


def _step(search: GradientSearch, gradient: Any, at: Any, memory: Any) -> tuple[Any, Any]:
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
    change, after = search.optimizer.update(gradient, memory, at)
    moved, kept = (optax.apply_updates(at, change), after), (at, memory)
    return jax.tree.map(lambda new, old: jnp.where(finite, new, old), moved, kept)


def _value_error(layers: GaussianMLP, value: Value, paths: Path, discount: float) -> Float[Array, ""]:
    """Mean squared error of the value along the rollouts, in its unit; targets are their discounted returns."""
    H = paths.costs.shape[1] - 1
    later = jnp.cumsum(paths.costs[:, ::-1], axis=1)[:, ::-1][:, :H]
    targets = jax.lax.stop_gradient(later / (discount ** jnp.arange(H))[None])
    fitted = eqx.tree_at(lambda v: v.layers, value, layers)
    gap = (jax.vmap(jax.vmap(fitted))(paths.xs[:, :H]) - targets) / value.unit
    counts = paths.alive[:, :H] & jnp.isfinite(targets)
    return jnp.sum(jnp.where(counts, gap, 0) ** 2) / jnp.maximum(jnp.sum(counts), 1)
