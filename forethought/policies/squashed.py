"""Policies that a Gaussian can be pushed through: affine and RBF functions of features, squashed into the limits.

Symbols: features s [f] of a state (sines and cosines of its angles); v = g(s) [m] before, u [m] after squashing:
    u = middle + half (9 sin v + sin 3v) / 8,      middle, half of the action limits
    affine: v = A s + b        RBF: v_a = sum_i beta_ai exp(-0.5 |(s - c_i) / l_a|^2),  beta = (K + 0.01^2 I)^-1 targets
The RBF network is the mean of a Gaussian process that saw K `targets` at K `centres`: its parameters are the values that
the function takes, which a gradient search moves more easily than weights.
Source: Deisenroth & Rasmussen (2011), section 2.2; `congp`, `conlin` and `gSat` of the released code.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Gaussian, HasMoments, LinearGaussian
from forethought.core.moments import squash, squashed
from forethought.dynamics.space import StateSpace
from forethought.models.moments import network_moments

TARGET_NOISE = 0.01  # of the targets, relative to a kernel of height 1; keeps close centres from fighting


class Affine(eqx.Module):
    """`v = A s + b`."""

    A: Float[Array, "m f"]
    b: Float[Array, "m"]

    def prepared(self) -> LinearGaussian:
        """What is evaluated at every step of a rollout."""
        return LinearGaussian(self.A, self.b, jnp.zeros((self.b.shape[0], self.b.shape[0]), self.b.dtype))


class RBF(eqx.Module):
    """K radial basis functions."""

    centres: Float[Array, "K f"]
    targets: Float[Array, "K m"]
    log_lengthscale: Float[Array, "m f"]  # of the features, in their units

    def prepared(self) -> "Network":
        """Weights in place of targets."""
        lengthscale = jnp.exp(self.log_lengthscale)

        def weights(scale: Float[Array, "f"], targets: Float[Array, "K"]) -> Float[Array, "K"]:
            apart = (self.centres[:, None] - self.centres[None]) / scale
            K = jnp.exp(-0.5 * jnp.sum(apart**2, -1))
            factor = jnp.linalg.cholesky(K + TARGET_NOISE**2 * jnp.eye(K.shape[0], dtype=K.dtype))
            return jsl.cho_solve((factor, True), targets)

        return Network(self.centres, lengthscale, jax.vmap(weights)(lengthscale, self.targets.T))


class Network(eqx.Module):
    """An RBF network with its weights."""

    centres: Float[Array, "K f"]
    lengthscale: Float[Array, "m f"]
    beta: Float[Array, "m K"]

    def __call__(self, s: Float[Array, "f"]) -> Gaussian:
        """The value, certain."""
        apart = (s - self.centres)[None] / self.lengthscale[:, None]
        return Gaussian.point(jnp.sum(self.beta * jnp.exp(-0.5 * jnp.sum(apart**2, -1)), -1))

    def draw(self, *, key: PRNGKeyArray) -> "Network":
        """Itself: there is nothing uncertain in it."""
        del key
        return self

    def moments(self, p: Gaussian) -> LinearGaussian:
        """Exact."""
        return network_moments(p, self.centres, self.lengthscale, self.beta)


class SquashedPolicy(eqx.Module):
    """A controller without memory: features, a function of them, and the squash."""

    function: Affine | RBF
    u_min: Float[Array, "m"]
    u_max: Float[Array, "m"]
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
        half = (self.u_max - self.u_min) / 2
        return (self.u_max + self.u_min) / 2 + squash(carry(self.space.features(x)).mean, half), carry

    def moments(self, prepared: HasMoments | LinearGaussian, s: Gaussian) -> LinearGaussian:
        """Of the action, given features `s`; `prepared` comes from `function.prepared()`."""
        before = prepared if isinstance(prepared, LinearGaussian) else prepared.moments(s)
        v = Gaussian(before.F @ s.mean + before.f, before.F @ s.cov @ before.F.T + before.cov)
        after = before.then(squashed(v, (self.u_max - self.u_min) / 2))
        return LinearGaussian(after.F, after.f + (self.u_max + self.u_min) / 2, after.cov)


def random_affine(f: int, m: int, spread: Float[Array, "f"], *, key: PRNGKeyArray) -> Affine:
    """Gains of about one squash per `spread` of a feature."""
    return Affine(0.1 * jr.normal(key, (m, f), spread.dtype) / spread, jnp.zeros(m, spread.dtype))


def random_rbf(
    seen: Float[Array, "K f"], m: int, spread: Float[Array, "f"], *, size: float = 0.5, key: PRNGKeyArray
) -> RBF:
    """Centres near features that were seen, small targets, lengthscales of a spread."""
    centre_key, target_key = jr.split(key)
    centres = seen + 0.1 * spread * jr.normal(centre_key, seen.shape, seen.dtype)
    targets = size * jr.normal(target_key, (seen.shape[0], m), seen.dtype)
    return RBF(centres, targets, jnp.broadcast_to(jnp.log(spread), (m, spread.shape[0])))
