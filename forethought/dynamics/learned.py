"""Learned dynamics: a regression in a state space with angle features and difference targets.

Symbols: observation o [n]; state x [n + k], k = 1 where the reward is learned (x = [o; r], r the reward of the step
that led to x), else k = 0; regression input z = [features(o); u], output y = [o_next - o; r].  Where the space names
velocities, positions are not in y: they are integrated from their velocities (`StateSpace.flow`).  A discrete action
enters z as one number for each choice (one-hot).  With known physics y = [o_next - physics(o, u); r], what they leave
to be learned (`forethought.dynamics.residual`).
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

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
    UsageError,
)
from forethought.core.draws import draw_many
from forethought.core.moments import choice, marginal, sines, unscented, with_sines
from forethought.dynamics.residual import Physics
from forethought.dynamics.space import StateSpace
from forethought.dynamics.time_step import check_velocities
from forethought.networks.normalizer import mean_and_std


class LearnedDynamics(eqx.Module):
    """`p(x' | x, u)` from a fitted `model` of differences; stationary."""

    model: ContinuousConditional
    space: StateSpace
    n_extra: int = eqx.field(static=True, default=0)
    # std of positions around the integral of their velocities, per sampled function; None if no velocities are known
    drift: Float[Array, "*draws p"] | None = None
    physics: Physics | None = eqx.field(static=True, default=None)  # what is known; the model predicts the rest
    choices: int = eqx.field(static=True, default=0)  # number of discrete actions; 0 where actions are real numbers

    def __call__(self, x: Float[Array, "n"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> DiagonalGaussian:
        """The predictive distribution of the next state; its angles are not wrapped."""
        del t
        o = x[: self.space.size]
        y = self.model(regression_input(self.space, o, u, self.choices))
        known = None if self.physics is None else jnp.pad(self.physics(o, u), (0, self.n_extra))
        if not self.space.velocities:
            return DiagonalGaussian(y.mean + (jnp.pad(o, (0, self.n_extra)) if known is None else known), y.std)
        A, B = _flow(self.space, self.n_extra, x.dtype)
        base = A @ o if known is None else known
        return DiagonalGaussian(base + B @ y.mean, jnp.sqrt(B**2 @ y.std**2 + self._drifts() ** 2))

    def data(self, steps: Transition) -> tuple[Float[Array, "N d"], Float[Array, "N e"]]:
        """The model's inputs and targets for a stack of transitions [N]."""
        return regression_data(self.space, steps, self.n_extra, self.physics, self.choices)

    def moments(self, p: Gaussian) -> LinearGaussian:
        """The affine conditional with the moments of the next state when `[x; u] ~ p`: F [n, n + m], with noise.

        The moments of sines and cosines are exact, and so are the moments of a model with `HasMoments`.  Other models
        are evaluated at sigma points, with the noise at the mean.  The features are assumed to be Gaussian.  A Gaussian
        process needs float64 here: in float32 its variances are dominated by rounding errors.
        """
        size, d = self.space.size, p.mean.shape[0]
        joint = with_sines(p, self.space.angles)  # [x; u; sines; cosines]
        features = [i if i < size else i + d - size for i in self.space.feature_places()]
        z = (*features, *range(size + self.n_extra, d))
        step = self.onwards(joint, z, self._change(marginal(joint, z)))
        if self.space.velocities:
            step = LinearGaussian(step.F, step.f, step.cov + jnp.diag(self._drifts() ** 2))
        return _and_sines(p, self.space.angles).then(step)

    def onwards(self, joint: Gaussian, z: Sequence[int], change: LinearGaussian) -> LinearGaussian:
        """The next state given `joint`: its first entries are the state, its entries `z` are the model's input.

        `change` is the distribution of the model's output given its input.

        Raises:
            UsageError: with known physics, whose moments are not known.
        """
        if self.physics is not None:
            raise UsageError("Moments of known physics with a learned residual are not known: leave physics out.")
        F, now = change.F @ choice(z, joint), choice(range(self.space.size), joint)
        if not self.space.velocities:
            return LinearGaussian(F + jnp.pad(now, ((0, self.n_extra), (0, 0))), change.f, change.cov)
        A, B = _flow(self.space, self.n_extra, F.dtype)
        return LinearGaussian(B @ F + A @ now, B @ change.f, B @ change.cov @ B.T)

    def noise(self) -> Float[Array, "n"]:
        """Standard deviation of the noise in an observed change of state; the model must have the attribute `noise`."""
        noise: Any = self.model
        if not self.space.velocities:
            return noise.noise
        places = np.eye(self.space.size + self.n_extra)[:, [*self.space.learned, *self._extra_places()]]
        return jnp.asarray(places, noise.noise.dtype) @ noise.noise + self._drifts()

    def _extra_places(self) -> range:
        return range(self.space.size, self.space.size + self.n_extra)

    def _drifts(self) -> Float[Array, "n"]:
        """`drift` of the positions; 0 for the other coordinates."""
        assert self.drift is not None, "a space with velocities needs the drift of their positions"
        places = np.eye(self.space.size + self.n_extra)[:, [i for i, _ in self.space.velocities]]
        return jnp.asarray(places, self.drift.dtype) @ self.drift

    def _change(self, z: Gaussian) -> LinearGaussian:
        """The model's output given its input."""
        if isinstance(self.model, HasMoments):
            return self.model.moments(z)
        y = unscented(lambda z: self.model(z).mean, z)
        return LinearGaussian(y.F, y.f, y.cov + self.model(z.mean).cov)

    def draw(self, *, key: PRNGKeyArray) -> "LearnedDynamics":
        """The dynamics with one function sampled from the model's posterior."""
        return self._with(self.model.draw(key=key), self.drift)

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple["LearnedDynamics", int]:
        """`count` sampled functions, shared between particles in the way of the model."""
        models, copies = draw_many(self.model, count, key=key)
        drift = None if self.drift is None else jnp.broadcast_to(self.drift, (count // copies, *self.drift.shape))
        return self._with(models, drift), copies

    def _with(self, model: Any, drift: Float[Array, "*draws p"] | None) -> "LearnedDynamics":
        return LearnedDynamics(model, self.space, self.n_extra, drift, self.physics, self.choices)


def _and_sines(p: Gaussian, angles: tuple[int, ...]) -> LinearGaussian:
    """`[z; sines; cosines]` given z."""
    d, dtype = p.mean.shape[0], p.mean.dtype
    if not angles:
        return LinearGaussian(jnp.eye(d, dtype=dtype), jnp.zeros(d, dtype), jnp.zeros((d, d), dtype))
    waves = sines(p, angles)
    F = jnp.concatenate([jnp.eye(d, dtype=dtype), waves.F])
    return LinearGaussian(F, jnp.pad(waves.f, (d, 0)), jnp.pad(waves.cov, ((d, 0), (d, 0))))


def regression_input(
    space: StateSpace, o: Float[Array, "n"], u: Shaped[Array, "*m"], choices: int = 0
) -> Float[Array, "d"]:
    """The model's input for an observation and an action, which is one of `choices` if that is not 0."""
    return jnp.concatenate([space.features(o), jax.nn.one_hot(u, choices, dtype=o.dtype) if choices else u])


def regression_output(space: StateSpace, step: Transition, n_extra: int, physics: Physics | None) -> Float[Array, "e"]:
    """The model's target for one transition."""
    change = space.difference(step.x_next, step.x if physics is None else physics(step.x, step.u))
    learned = change[jnp.asarray(space.learned)] if space.velocities else change
    return jnp.concatenate([learned, jnp.full(n_extra, step.reward)])


def regression_data(
    space: StateSpace, steps: Transition, n_extra: int, physics: Physics | None = None, choices: int = 0
) -> tuple[Float[Array, "N d"], Float[Array, "N e"]]:
    """Inputs and outputs of a stack of transitions [N]."""
    z = jax.vmap(lambda s: regression_input(space, s.x, s.u, choices))(steps)
    return z, jax.vmap(lambda s: regression_output(space, s, n_extra, physics))(steps)


_data = eqx.filter_jit(regression_data)


def fit_dynamics(
    settings: Regression, buffer: Buffer, previous: LearnedDynamics, *, key: PRNGKeyArray
) -> tuple[LearnedDynamics, FitReport]:
    """Fit the model that `settings` describe to all transitions of the buffer.

    Returns: the dynamics, in the state space of `previous`, and the model's report of the fit.
    Raises: UsageError if the data contradict the velocity coordinates of the space.
    """
    space = previous.space
    if space.velocities:
        check_velocities(space, buffer.rows())
    z, y = _data(space, buffer.data, previous.n_extra, previous.physics, previous.choices)
    model, report = settings.fit(z, y, buffer.size, previous=previous.model, key=key)
    drift = _drift(space, buffer.data, buffer.mask, previous.physics) if space.velocities else None
    return previous._with(model, drift), report


@eqx.filter_jit
def _drift(space: StateSpace, steps: Transition, mask: Bool[Array, "N"], physics: Physics | None) -> Float[Array, "p"]:
    """Root mean square error of the trapezoidal rule for positions: sensor noise, and motion within a step."""
    i, j = jnp.asarray(space.velocities).T
    if physics is None:
        change, speeds = jax.vmap(space.difference)(steps.x_next, steps.x), (steps.x + steps.x_next)[:, j]
    else:
        change = jax.vmap(space.difference)(steps.x_next, jax.vmap(physics)(steps.x, steps.u))
        speeds = change[:, j]
    gap = change[:, i] - 0.5 * space.dt * speeds
    return jnp.sqrt(jnp.einsum("n,np->p", mask.astype(gap.dtype), gap**2) / jnp.maximum(jnp.sum(mask), 1))


def _flow(space: StateSpace, n_extra: int, dtype: Any) -> tuple[Float[Array, "n o"], Float[Array, "n e"]]:
    """`StateSpace.flow` with the reward as an additional coordinate, which does not depend on its previous value."""
    A, B = space.flow()
    grown = np.pad(B, ((0, n_extra), (0, n_extra)))
    grown[len(A) :, B.shape[1] :] = np.eye(n_extra)
    return jnp.asarray(np.pad(A, ((0, n_extra), (0, 0))), dtype), jnp.asarray(grown, dtype)


def one_step_error(dynamics: LearnedDynamics, steps: Transition, seen: Buffer) -> Float[Array, ""]:
    """Root mean squared one-step error of the predicted differences of `steps`, each relative to its std in `seen`.

    `seen` is all experience, including `steps`: the std in `steps` alone can be tiny for a coordinate that hardly moved
    in them.  A value of about 1 means that the prediction is no better than the mean difference.  Coordinates that
    never change, except for rounding, are ignored.  With known physics the difference is still that of two
    states, so errors with and without physics can be compared.
    """
    count = len(steps)
    capacity = 1 << max(5, (count - 1).bit_length())  # episodes of any length share few compilations
    padded = jax.tree.map(lambda a: np.resize(np.asarray(a), (capacity, *a.shape[1:])), steps)
    return _one_step_error(dynamics, padded, jnp.asarray(count), seen)


@eqx.filter_jit
def _one_step_error(dynamics: LearnedDynamics, steps: Transition, count: Int[Array, ""], seen: Buffer):
    z, y = dynamics.data(steps)
    predicted = jax.vmap(dynamics.model)(z).mean
    changes = regression_data(dynamics.space, seen.data, dynamics.n_extra, None, dynamics.choices)[1]
    std = mean_and_std(changes, seen.mask.astype(y.dtype))[1]
    moves = std > _rounding(dynamics, seen)
    counts = moves[None] & (jnp.arange(len(steps)) < count)[:, None]
    relative = jnp.where(counts, (predicted - y) / jnp.where(moves, std, 1.0)[None], 0.0)
    return jnp.sqrt(jnp.sum(relative**2) / jnp.maximum(jnp.sum(moves) * count, 1))


def _rounding(dynamics: LearnedDynamics, seen: Buffer) -> Float[Array, "e"]:
    """The rounding error of each predicted difference of two states; 0 for the reward, which is not a difference."""
    magnitude = jnp.max(jnp.where(seen.mask[:, None], jnp.abs(seen.data.x), 0), axis=0)
    learned = magnitude[jnp.asarray(dynamics.space.learned)]
    return jnp.finfo(learned.dtype).eps * jnp.pad(learned, (0, dynamics.n_extra))
