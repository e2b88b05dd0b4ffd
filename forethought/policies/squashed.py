"""Policies with exact moments: affine and RBF functions of features, squashed into the action limits.

Symbols: s [f] features of a state (sines and cosines of its angles), each divided by its `scale`; v = g(s) [m] the
function's value; u [m] the action:
    u = middle + half (9 sin v + sin 3v) / 8,      middle, half of the action limits
    affine: v = A s + b        RBF: v_a = sum_i beta_ai exp(-0.5 |(s - c_i) / l_a|^2),  beta = (K + 0.01^2 I)^-1 targets
The RBF network is the posterior mean of a Gaussian process with K observations `targets` at K `centers`.  Its
parameters are values of the function, which are better scaled for a gradient search than weights.
Source: Deisenroth & Rasmussen (2011), section 2.2; `congp`, `conlin` and `gSat` of the released code.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Box, Gaussian, HasMoments, LinearGaussian, push_forward
from forethought.core.moments import squash, squashed
from forethought.dynamics.space import StateSpace
from forethought.models.kernel_moments import network_moments
from forethought.networks.gaussian_mlp import GaussianMLP

TARGET_NOISE = 0.01  # std of the targets' noise, for a kernel of height 1; keeps K well conditioned for close centers


class Affine(eqx.Module):
    """`v = A s + b`."""

    A: Float[Array, "m f"]
    b: Float[Array, "m"]

    def limits(self) -> tuple["Affine", "Affine"]:
        """Bounds of a search that starts from this function: none."""
        return tuple(jax.tree.map(lambda a, s=s: jnp.full_like(a, s), self) for s in (-jnp.inf, jnp.inf))

    def prepared(self) -> LinearGaussian:
        """The same function with all state-independent parts computed, as every step uses it."""
        return LinearGaussian(self.A, self.b, jnp.zeros((self.b.shape[0], self.b.shape[0]), self.b.dtype))


class RBF(eqx.Module):
    """K radial basis functions."""

    centers: Float[Array, "K f"]
    targets: Float[Array, "K m"]
    log_lengthscale: Float[Array, "m f"]  # of the scaled features

    def limits(self) -> tuple["RBF", "RBF"]:
        """Bounds of a search that starts from this function; beyond them, functions are constant or spikes."""
        m, scale = jnp.ones_like(self.targets), jnp.ones_like(self.log_lengthscale)
        return RBF(self.centers - 10, -10 * m, -3 * scale), RBF(self.centers + 10, 10 * m, 3 * scale)

    def prepared(self) -> "Network":
        """The network with weights in place of targets."""
        lengthscale = jnp.exp(self.log_lengthscale)

        def weights(scale: Float[Array, "f"], targets: Float[Array, "K"]) -> Float[Array, "K"]:
            difference = (self.centers[:, None] - self.centers[None]) / scale[None, None]
            K = jnp.exp(-0.5 * jnp.sum(difference**2, -1))
            factor = jnp.linalg.cholesky(K + TARGET_NOISE**2 * jnp.eye(K.shape[0], dtype=K.dtype))
            return jsl.cho_solve((factor, True), targets)

        return Network(self.centers, lengthscale, jax.vmap(weights)(lengthscale, self.targets.T))


class Network(eqx.Module):
    """An RBF network with its weights."""

    centers: Float[Array, "K f"]
    lengthscale: Float[Array, "m f"]
    beta: Float[Array, "m K"]

    def __call__(self, s: Float[Array, "f"]) -> Gaussian:
        """The value, as a Gaussian with zero variance."""
        difference = (s[None] - self.centers)[None] / self.lengthscale[:, None]
        return Gaussian.point(jnp.sum(self.beta * jnp.exp(-0.5 * jnp.sum(difference**2, -1)), -1))

    def draw(self, *, key: PRNGKeyArray) -> "Network":
        """The network itself: it is deterministic."""
        del key
        return self

    def moments(self, p: Gaussian) -> LinearGaussian:
        """Exact moments of the value for `s ~ p`."""
        return network_moments(p, self.centers, self.lengthscale, self.beta)


class NetworkFunction(eqx.Module):
    """A multilayer perceptron; without moments, for searches that sample."""

    layers: GaussianMLP  # its mean

    def prepared(self) -> "NetworkFunction":
        """Itself."""
        return self

    def __call__(self, s: Float[Array, "f"]) -> Gaussian:
        """The value, as a Gaussian without variance."""
        return Gaussian.point(self.layers(s)[0])


class SquashedPolicy(eqx.Module):
    """A stationary controller: a function of features of the state, squashed into the action limits."""

    function: Affine | RBF | NetworkFunction
    action_space: Box
    scale: Float[Array, "f"]  # unit of each feature
    space: StateSpace

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """The function with all state-independent parts computed."""
        del x0, key
        return self.function.prepared()

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """One action, within the limits."""
        del t, key
        box = self.action_space
        return box.center + squash(carry(self.space.features(x) / self.scale).mean, box.half_range), carry

    def with_function(self, function: Affine | RBF | NetworkFunction) -> "SquashedPolicy":
        """The same policy with another function of the features."""
        return SquashedPolicy(function, self.action_space, self.scale, self.space)

    def state_scale(self) -> Float[Array, "n"]:
        """The scale of each coordinate of the state: that of its feature; 1 rad for angles."""
        plain = [i for i in range(self.space.size) if i not in self.space.angles]
        places = np.eye(self.space.size)[:, plain]
        is_angle = 1 - places.sum(axis=1)
        return jnp.asarray(places, self.scale.dtype) @ self.scale[: len(plain)] + jnp.asarray(
            is_angle, self.scale.dtype
        )

    def moments(self, prepared: HasMoments | LinearGaussian, s: Gaussian) -> LinearGaussian:
        """The action given features `s`, not yet scaled; `prepared` is `function.prepared()`."""
        scaled = Gaussian(s.mean / self.scale, s.cov / jnp.outer(self.scale, self.scale))
        before = prepared if isinstance(prepared, LinearGaussian) else prepared.moments(scaled)
        after = before.then(squashed(push_forward(scaled, before), self.action_space.half_range))
        return LinearGaussian(after.F / self.scale[None], after.f + self.action_space.center, after.cov)


def random_affine(f: int, m: int, *, key: PRNGKeyArray) -> Affine:
    """An affine function with small random gains."""
    return Affine(0.1 * jr.normal(key, (m, f)), jnp.zeros(m))


def random_rbf(features: Float[Array, "K f"], m: int, *, key: PRNGKeyArray) -> RBF:
    """An RBF function with centers near `features`, small random targets, and lengthscales of 1."""
    center_key, target_key = jr.split(key)
    centers = features + 0.1 * jr.normal(center_key, features.shape, features.dtype)
    targets = 0.25 * jr.normal(target_key, (features.shape[0], m), features.dtype)
    return RBF(centers, targets, jnp.zeros((m, features.shape[1]), features.dtype))
