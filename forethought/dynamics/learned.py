"""Learned dynamics: a regression in a state space with angle features and difference targets.

Symbols: observation o [n]; state x [n + k], k = 1 where the reward is learned (x = [o; r], r the reward of the step
that led there), else k = 0; regression input z = [features(o); u], output y = [o_next - o; r].  Where the space tells
of speeds, positions are not in y: they follow from the speeds (`StateSpace.flow`).
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import (
    Buffer,
    ContinuousConditional,
    DiagonalGaussian,
    FitReport,
    Gaussian,
    HasMoments,
    LinearGaussian,
    Regression,
    Transition,
)
from forethought.core.draws import draw_many
from forethought.core.moments import choice, marginal, sines, unscented, with_sines
from forethought.dynamics.space import StateSpace


class LearnedDynamics(eqx.Module):
    """`p(x' | x, u)` from a fitted `model` of differences; stationary."""

    model: ContinuousConditional
    space: StateSpace
    n_extra: int = eqx.field(static=True, default=0)
    # standard deviation of positions around what their speeds say, of each function that was drawn; None: no speeds
    drift: Float[Array, "*draws p"] | None = None

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> DiagonalGaussian:
        """The predictive distribution of the next state; its angles are not wrapped."""
        del t
        o = x[: self.space.size]
        y = self.model(regression_input(self.space, o, u))
        if not self.space.speeds:
            return DiagonalGaussian(y.mean + jnp.pad(o, (0, self.n_extra)), y.std)
        A, B = _flow(self.space, self.n_extra, x.dtype)
        return DiagonalGaussian(A @ o + B @ y.mean, jnp.sqrt(B**2 @ y.std**2 + self._drifts() ** 2))

    def moments(self, p: Gaussian) -> LinearGaussian:
        """The affine conditional with the moments of the next state when `[x; u] ~ p`: F [n, n + m], noise included.

        Sines and cosines have exact moments, and so has what the model makes of Gaussian inputs, where it knows
        (`HasMoments`); else sigma points tell of its mean, and its noise is that at the mean.  In between, features
        are taken to be Gaussian.  A Gaussian process needs float64 here: in float32 its variances are rounding.
        """
        size, d = self.space.size, p.mean.shape[0]
        joint = with_sines(p, self.space.angles)  # [x; u; sines; cosines]
        features = [i if i < size else i + d - size for i in self.space.feature_places()]
        z = (*features, *range(size + self.n_extra, d))
        step = self.onwards(joint, z, self._change(marginal(joint, z)))
        if self.space.speeds:
            step = LinearGaussian(step.F, step.f, step.cov + jnp.diag(self._drifts() ** 2))
        return _and_sines(p, self.space.angles).then(step)

    def onwards(self, joint: Gaussian, z: Sequence[int], change: LinearGaussian) -> LinearGaussian:
        """The next state given `joint`, which begins with the state and has the model's input at the places `z`.

        `change` is what the model makes of that input.
        """
        F, now = change.F @ choice(z, joint), choice(range(self.space.size), joint)
        if not self.space.speeds:
            return LinearGaussian(F + jnp.pad(now, ((0, self.n_extra), (0, 0))), change.f, change.cov)
        A, B = _flow(self.space, self.n_extra, F.dtype)
        return LinearGaussian(B @ F + A @ now, B @ change.f, B @ change.cov @ B.T)

    def noise(self) -> Float[Array, "n"]:
        """Standard deviation of the noise in an observed change of state, of a model that knows it (`noise`)."""
        noise: Any = self.model
        if not self.space.speeds:
            return noise.noise
        places = np.eye(self.space.size + self.n_extra)[:, [*self.space.learned, *self._extra_places()]]
        return jnp.asarray(places, noise.noise.dtype) @ noise.noise + self._drifts()

    def _extra_places(self) -> range:
        return range(self.space.size, self.space.size + self.n_extra)

    def _drifts(self) -> Float[Array, "n"]:
        """`drift` at the places of the positions; 0 elsewhere."""
        assert self.drift is not None, "a space with speeds needs their drift"
        places = np.eye(self.space.size + self.n_extra)[:, [i for i, _ in self.space.speeds]]
        return jnp.asarray(places, self.drift.dtype) @ self.drift

    def _change(self, z: Gaussian) -> LinearGaussian:
        """Of what the model predicts, given its input."""
        if isinstance(self.model, HasMoments):
            return self.model.moments(z)
        y = unscented(lambda z: self.model(z).mean, z)
        return LinearGaussian(y.F, y.f, y.cov + self.model(z.mean).cov)

    def draw(self, *, key: PRNGKeyArray) -> "LearnedDynamics":
        """Dynamics by one function of the model's posterior."""
        return LearnedDynamics(self.model.draw(key=key), self.space, self.n_extra, self.drift)

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple["LearnedDynamics", int]:
        """As the model draws."""
        models, copies = draw_many(self.model, count, key=key)
        drift = None if self.drift is None else jnp.broadcast_to(self.drift, (count // copies, *self.drift.shape))
        return LearnedDynamics(models, self.space, self.n_extra, drift), copies


def _and_sines(p: Gaussian, angles: tuple[int, ...]) -> LinearGaussian:
    """`[z; sines; cosines]` given z."""
    d, dtype = p.mean.shape[0], p.mean.dtype
    if not angles:
        return LinearGaussian(jnp.eye(d, dtype=dtype), jnp.zeros(d, dtype), jnp.zeros((d, d), dtype))
    waves = sines(p, angles)
    F = jnp.concatenate([jnp.eye(d, dtype=dtype), waves.F])
    return LinearGaussian(F, jnp.pad(waves.f, (d, 0)), jnp.pad(waves.cov, ((d, 0), (d, 0))))


def regression_input(space: StateSpace, o: Float[Array, "n"], u: Float[Array, "m"]) -> Float[Array, "d"]:
    """What the model sees of an observation and an action."""
    return jnp.concatenate([space.features(o), u])


def regression_output(space: StateSpace, step: Transition, n_extra: int) -> Float[Array, "e"]:
    """What the model must predict of one transition."""
    change = space.difference(step.x_next, step.x)
    learned = change[jnp.asarray(space.learned)] if space.speeds else change
    return jnp.concatenate([learned, jnp.full(n_extra, step.reward)])


def regression_data(
    space: StateSpace, steps: Transition, n_extra: int
) -> tuple[Float[Array, "N d"], Float[Array, "N e"]]:
    """Inputs and outputs of a stack of transitions [N]."""
    z = jax.vmap(lambda s: regression_input(space, s.x, s.u))(steps)
    return z, jax.vmap(lambda s: regression_output(space, s, n_extra))(steps)


@eqx.filter_jit
def _data(space: StateSpace, steps: Transition, n_extra: int):
    return regression_data(space, steps, n_extra)


def fit_dynamics(
    settings: Regression, buffer: Buffer, previous: LearnedDynamics, *, key: PRNGKeyArray
) -> tuple[LearnedDynamics, FitReport]:
    """Fit the model that `settings` describe to all transitions of the buffer.

    Returns: the dynamics, in the state space of `previous`, and the model's own report of the fit.
    """
    space = previous.space
    z, y = _data(space, buffer.data, previous.n_extra)
    model, report = settings.fit(z, y, buffer.size, previous=previous.model, key=key)
    drift = _drift(space, buffer.data, buffer.mask) if space.speeds else None
    return LearnedDynamics(model, space, previous.n_extra, drift), report


@eqx.filter_jit
def _drift(space: StateSpace, steps: Transition, mask: Bool[Array, "N"]) -> Float[Array, "p"]:
    """Root mean square of the positions' changes less those by the trapezoidal rule: sensors, and what a step hides."""
    change = jax.vmap(space.difference)(steps.x_next, steps.x)
    i, j = jnp.asarray(space.speeds).T
    gap = change[:, i] - 0.5 * space.dt * (steps.x + steps.x_next)[:, j]
    return jnp.sqrt(jnp.einsum("n,np->p", mask.astype(gap.dtype), gap**2) / jnp.maximum(jnp.sum(mask), 1))


def _flow(space: StateSpace, n_extra: int, dtype: Any) -> tuple[Float[Array, "n o"], Float[Array, "n e"]]:
    """`StateSpace.flow` with the reward as one more coordinate, which nothing is kept of."""
    A, B = space.flow()
    grown = np.pad(B, ((0, n_extra), (0, n_extra)))
    grown[len(A) :, B.shape[1] :] = np.eye(n_extra)
    return jnp.asarray(np.pad(A, ((0, n_extra), (0, 0))), dtype), jnp.asarray(grown, dtype)


@eqx.filter_jit
def one_step_error(dynamics: LearnedDynamics, steps: Transition, seen: Buffer) -> Float[Array, ""]:
    """Root mean squared one-step error of the predicted differences of `steps`, each in units of its spread in `seen`.

    `seen` is all experience, `steps` included: in units of these steps alone, a coordinate that hardly moved in them
    would drown the rest.  About 1 is no better than predicting the mean difference; coordinates that never move are
    left out.
    """
    z, y = regression_data(dynamics.space, steps, dynamics.n_extra)
    predicted = jax.vmap(dynamics.model)(z).mean
    spread = _spread(regression_data(dynamics.space, seen.data, dynamics.n_extra)[1], seen.mask)
    moves = spread > 1e-12
    share = jnp.mean((predicted - y) ** 2, axis=0) / jnp.where(moves, spread, 1.0)
    return jnp.sqrt(jnp.sum(jnp.where(moves, share, 0.0)) / jnp.maximum(jnp.sum(moves), 1))


def _spread(y: Float[Array, "N e"], mask: Bool[Array, "N"]) -> Float[Array, "e"]:
    """The variance of each coordinate over the rows of the mask."""
    weight = mask.astype(y.dtype) / jnp.sum(mask)
    mean = jnp.einsum("n,ne->e", weight, y)
    return jnp.einsum("n,ne->e", weight, (y - mean[None]) ** 2)
