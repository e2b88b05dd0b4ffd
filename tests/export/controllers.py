"""Controllers of every kind that can be exported, and runs whose controller they are."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr

import forethought as ft
from forethought.algorithms.protocol import Info
from forethought.core import Discrete, LinearGaussian, Spaces
from forethought.dynamics.delayed import DelayedModel
from forethought.dynamics.learned import LearnedDynamics
from forethought.envs.delayed import delay_of, without_past_actions
from forethought.envs.env import collect, spaces_of
from forethought.models.ensemble import Ensemble
from forethought.networks.gaussian_mlp import GaussianMLP
from forethought.planning.mpc import MPC
from forethought.policies.acting import Acting
from forethought.policies.epsilon_greedy import EpsilonGreedy
from forethought.policies.linear_gaussian import LinearGaussianController
from forethought.policies.nearest import NearestController
from forethought.policies.network import on_policy, squashed_gaussian
from forethought.policies.observing import Observing, View
from forethought.policies.squashed import NetworkFunction, SquashedPolicy, random_affine, random_rbf
from forethought.policies.uniform import Uniform

REACHER = "forethought/ReacherTwoLink-v0"  # 4 coordinates, of which 2 are angles, and 2 actions
ENVS = {"categorical": "CartPole-v1", "table": "forethought/DynaMaze-v0"}


@dataclass(frozen=True)
class Fixed:
    """An algorithm that learns nothing; its controller is one of this file."""

    kind: str

    def init(self, env, *, key):
        return jnp.zeros(())

    def iterate(self, state, env, *, key):
        return state + 1, Info([collect(env, Uniform(env.task.action_space), steps=30, key=key)], {})

    def controller(self, state, env):
        return make(self.kind, env)


def run_of(kind, folder, **options):
    """A run of one round."""
    return ft.train(Fixed(kind), ENVS.get(kind, REACHER), iterations=1, out=folder, progress=False, **options)


def make(kind, env):
    key, spaces = jr.key(7), spaces_of(env)
    return _KINDS[kind](env, spaces, key)


def _gaussian(env, spaces: Spaces, key):
    policy = on_policy(spaces, hidden=(16, 16), normalize=True, who="test", key=key)
    weights = jax.tree.map(lambda w: 0.5 * jr.normal(key, w.shape), policy.network)
    seen = jr.normal(key, (50, spaces.observations.size)) * 2 + 1
    return Acting(type(policy)(policy.inputs, weights, policy.log_std, policy.box).seen(seen), mode=True)


def _squashed_gaussian(env, spaces, key):
    return Acting(squashed_gaussian(spaces, hidden=(16,), who="test", key=key), mode=True)


def _categorical(env, spaces, key):
    assert isinstance(spaces.actions, Discrete)
    policy = on_policy(spaces, hidden=(16,), normalize=True, who="test", key=key)
    return Acting(
        type(policy)(policy.inputs, jax.tree.map(lambda w: jr.normal(key, w.shape), policy.network)), mode=True
    )


def _table(env, spaces, key):
    q = jr.normal(key, (spaces.observations.states, spaces.actions.n))
    return Acting(EpsilonGreedy(q, 0.0, spaces.observations), mode=True)


def _function(make_function):
    def controller(env, spaces, key):
        f = env.space.feature_size
        return SquashedPolicy(
            make_function(f, spaces.actions.size, key), spaces.actions, 1.0 + jnp.arange(f), env.space
        )

    return controller


def _linear(count):
    def controller(env, spaces, key):
        (n,), m, T = spaces.observations.shape, spaces.actions.size, 20
        F, f = jr.normal(key, (count, T, m, n)), jr.normal(key, (count, T, m))
        policies = LinearGaussian(0.3 * F, 0.3 * f, jnp.zeros((count, T, m, m)))
        if count == 1:
            return LinearGaussianController(jax.tree.map(lambda a: a[0], policies), spaces.actions)
        return NearestController(policies, jr.normal(key, (count, n)), jnp.full(n, 0.5), spaces.actions)

    return controller


def _mpc(env, spaces, key):
    """With an ensemble of two small networks, as after a fit."""
    delay, space = delay_of(env), env.space.without_velocities()
    space = space if delay is None else without_past_actions(space, delay)
    model = Ensemble(members=2, hidden=(8,)).init(space.feature_size + spaces.actions.size, space.size, key=key)
    dynamics = LearnedDynamics(model, space)
    problem = ft.Problem(dynamics if delay is None else DelayedModel(dynamics, delay), env.task)
    return MPC(ft.CEM(horizon=4, population=20, iterations=2, elites=4, particles=2), problem)


def _observing(env, spaces, key):
    """A policy that sees two of the four coordinates, the second of them an angle."""
    view = View((2, 1))
    seen = Spaces(view.observations(spaces.observations), spaces.actions)
    return Observing(squashed_gaussian(seen, hidden=(8,), who="test", key=key), view)


_KINDS = {
    "gaussian": _gaussian,
    "squashed": _squashed_gaussian,
    "observing": _observing,
    "categorical": _categorical,
    "table": _table,
    "affine": _function(lambda f, m, key: random_affine(f, m, key=key)),
    "rbf": _function(lambda f, m, key: random_rbf(jr.normal(key, (12, f)), m, key=key)),
    "network": _function(lambda f, m, key: NetworkFunction(GaussianMLP.init(f, m, hidden=(8,), key=key))),
    "linear": _linear(1),
    "nearest": _linear(3),
    "mpc": _mpc,
}
KINDS = tuple(_KINDS)
