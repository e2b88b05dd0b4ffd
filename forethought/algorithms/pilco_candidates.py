"""Policies that PILCO's search starts from: random ones, and the last one with its basis functions moved."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.algorithms.pilco_settings import PolicySettings
from forethought.core import Gaussian
from forethought.dynamics.space import StateSpace
from forethought.policies.squashed import RBF, Affine, SquashedPolicy, random_affine, random_rbf


class Candidates(NamedTuple):
    """Functions that a search starts from; number 0 is that of the last policy."""

    policy: SquashedPolicy  # the last one, the units of its features set
    functions: list[Affine | RBF]
    first: int  # number of the first function: 1 if the last policy is not among them


def candidates(
    settings: PolicySettings,
    last: SquashedPolicy,
    xs: Float[Array, "N n"],
    visited: Gaussian | None,
    restart_keys: Sequence[PRNGKeyArray],
    recenter_keys: Sequence[PRNGKeyArray],
    *,
    optimized: bool,
) -> Candidates:
    """The last policy's function, copies of it with other centers, and random ones.

    Args:
        settings: what functions are made of.
        last: the last policy.
        xs: all states so far.
        visited: predicted states of the last policy, stacked [T]; needed for copies.
        restart_keys: one for each random function.
        recenter_keys: one for each copy with other centers; of RBF functions only.
        optimized: whether the last policy is the result of a search.  If it is still random, it is a candidate only if
            there is no other, and the data set the units of its features.
    """
    features = np.asarray(jax.vmap(last.space.features)(xs))
    if not optimized:
        last = eqx.tree_at(lambda p: p.scale, last, jnp.asarray(feature_scale(features, last.space)))
    functions = [cast(Affine | RBF, last.function)] if optimized or not restart_keys else []
    first = 1 - len(functions)
    if visited is not None and isinstance(last.function, RBF):
        functions += [recentered(last, visited, key=key) for key in recenter_keys]
    m, scaled = last.action_space.size, features / np.asarray(last.scale)
    functions += [random_function(settings, scaled, m, key=key) for key in restart_keys]
    return Candidates(last, functions, first)


def feature_scale(features: Float[np.ndarray, "N f"], space: StateSpace) -> Float[np.ndarray, "f"]:
    """The unit of each feature: its standard deviation in the data; for sines and cosines that of a whole circle.

    A first trial covers little of the circle, and a center one such deviation away would be far outside of it.
    """
    waves = np.arange(features.shape[1]) >= space.size - len(space.angles)
    return np.where(waves, np.sqrt(0.5), np.std(features, axis=0) + 1e-6)


def random_function(
    settings: PolicySettings, features: Float[np.ndarray, "N f"], m: int, *, key: PRNGKeyArray
) -> Affine | RBF:
    """A function with m outputs; centers are near some of these features (in units of `feature_scale`)."""
    if settings.kind == "linear":
        return random_affine(features.shape[1], m, key=key)
    count, rows = settings.basis_functions, features.shape[0]
    chosen = jr.choice(jr.fold_in(key, 1), rows, (count,), replace=rows < count)
    return random_rbf(jnp.asarray(features[np.asarray(chosen)]), m, key=key)


def recentered(policy: SquashedPolicy, states: Gaussian, *, key: PRNGKeyArray) -> RBF:
    """The RBF policy's values at other centers, drawn from its predicted `states` (stacked [T]).

    A search moves centers slowly, and a first policy's centers are near the states of a random trial.
    """
    function = cast(RBF, policy.function)
    count, network = function.centers.shape[0], function.prepared()
    step_key, state_key = jr.split(key)
    steps = jr.randint(step_key, (count,), 0, states.mean.shape[0])
    drawn = jax.vmap(lambda t, k: Gaussian(states.mean[t], states.cov[t]).sample(key=k))
    centers = jax.vmap(policy.space.features)(drawn(steps, jr.split(state_key, count))) / policy.scale[None]
    targets: Float[Array, "K m"] = jax.vmap(lambda s: network(s).mean)(centers)
    return RBF(centers, targets, function.log_lengthscale)
