"""Policies that a Gaussian can be pushed through: affine and RBF functions of features, squashed into the limits.

Symbols: s [f] features of a state (sines and cosines of its angles), each in units of its `scale`;
v = g(s) [m] before, u [m] after squashing:
    u = middle + half (9 sin v + sin 3v) / 8,      middle, half of the action limits
    affine: v = A s + b        RBF: v_a = sum_i beta_ai exp(-0.5 |(s - c_i) / l_a|^2),  beta = (K + 0.01^2 I)^-1 targets
The RBF network is the mean of a Gaussian process that saw K `targets` at K `centers`: its parameters are the values
that the function takes, which a gradient search moves more easily than weights.
Source: Deisenroth & Rasmussen (2011), section 2.2; `congp`, `conlin` and `gSat` of the released code.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Box, Gaussian, HasMoments, LinearGaussian, push_forward
from forethought.core.moments import squash, squashed
from forethought.dynamics.space import StateSpace
from forethought.models.kernel_moments import network_moments

TARGET_NOISE = 0.01  # of the targets, relative to a kernel of height 1; keeps close centers from fighting


class Affine(eqx.Module):
    """`v = A s + b`."""

    A: Float[Array, "m f"]
    b: Float[Array, "m"]

    def limits(self) -> tuple["Affine", "Affine"]:
        """Where a search from here may go: anywhere."""
        return tuple(jax.tree.map(lambda a, s=s: jnp.full_like(a, s), self) for s in (-jnp.inf, jnp.inf))

    def prepared(self) -> LinearGaussian:
        """What is evaluated at every step of a rollout."""
        return LinearGaussian(self.A, self.b, jnp.zeros((self.b.shape[0], self.b.shape[0]), self.b.dtype))


class RBF(eqx.Module):
    """K radial basis functions."""

    centers: Float[Array, "K f"]
    targets: Float[Array, "K m"]
    log_lengthscale: Float[Array, "m f"]  # of the features, in their units

    def limits(self) -> tuple["RBF", "RBF"]:
        """Where a search from here may go: beyond, functions are flat or mere needles."""
        m, scale = jnp.ones_like(self.targets), jnp.ones_like(self.log_lengthscale)
        return RBF(self.centers - 10, -10 * m, -3 * scale), RBF(self.centers + 10, 10 * m, 3 * scale)

    def prepared(self) -> "Network":
        """Weights in place of targets."""
        lengthscale = jnp.exp(self.log_lengthscale)

        def weights(scale: Float[Array, "f"], targets: Float[Array, "K"]) -> Float[Array, "K"]:
            apart = (self.centers[:, None] - self.centers[None]) / scale[None, None]
            K = jnp.exp(-0.5 * jnp.sum(apart**2, -1))
            factor = jnp.linalg.cholesky(K + TARGET_NOISE**2 * jnp.eye(K.shape[0], dtype=K.dtype))
            return jsl.cho_solve((factor, True), targets)

        return Network(self.centers, lengthscale, jax.vmap(weights)(lengthscale, self.targets.T))


class Network(eqx.Module):
    """An RBF network with its weights."""

    centers: Float[Array, "K f"]
    lengthscale: Float[Array, "m f"]
    beta: Float[Array, "m K"]

    def __call__(self, s: Float[Array, "f"]) -> Gaussian:
        """The value, certain."""
        apart = (s[None] - self.centers)[None] / self.lengthscale[:, None]
        return Gaussian.point(jnp.sum(self.beta * jnp.exp(-0.5 * jnp.sum(apart**2, -1)), -1))

    def draw(self, *, key: PRNGKeyArray) -> "Network":
        """Itself: there is nothing uncertain in it."""
        del key
        return self

    def moments(self, p: Gaussian) -> LinearGaussian:
        """Exact."""
        return network_moments(p, self.centers, self.lengthscale, self.beta)


class SquashedPolicy(eqx.Module):
    """A controller without memory: features, a function of them, and the squash."""

    function: Affine | RBF
    action_space: Box
    scale: Float[Array, "f"]
    space: StateSpace

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """What every step needs."""
        del x0, key
        return self.function.prepared()

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """One action, within the limits."""
        del t, key
        box = self.action_space
        return box.center + squash(carry(self.space.features(x) / self.scale).mean, box.half_range), carry

    def moments(self, prepared: HasMoments | LinearGaussian, s: Gaussian) -> LinearGaussian:
        """Of the action, given features `s` as they are; `prepared` comes from `function.prepared()`."""
        scaled = Gaussian(s.mean / self.scale, s.cov / jnp.outer(self.scale, self.scale))
        before = prepared if isinstance(prepared, LinearGaussian) else prepared.moments(scaled)
        after = before.then(squashed(push_forward(scaled, before), self.action_space.half_range))
        return LinearGaussian(after.F / self.scale[None], after.f + self.action_space.center, after.cov)


def random_affine(f: int, m: int, *, key: PRNGKeyArray) -> Affine:
    """Small gains."""
    return Affine(0.1 * jr.normal(key, (m, f)), jnp.zeros(m))


def random_rbf(seen: Float[Array, "K f"], m: int, *, key: PRNGKeyArray) -> RBF:
    """Centers near features that were seen, small targets, lengthscales of one scale."""
    center_key, target_key = jr.split(key)
    centers = seen + 0.1 * jr.normal(center_key, seen.shape, seen.dtype)
    targets = 0.25 * jr.normal(target_key, (seen.shape[0], m), seen.dtype)
    return RBF(centers, targets, jnp.zeros((m, seen.shape[1]), seen.dtype))
