"""The quality of a learned model: prediction error and calibration on real episodes that it was not fitted to.

Symbols: B start points along the episodes, H steps ahead, P particles, n coordinates (the reward is one more, the last,
where it is learned).  From a start point the model predicts open loop: it gets the first real state and the executed
actions, nothing else.  Each particle keeps one function sampled from the posterior (TS-infinity) and samples noise.

Source: trajectory sampling: Chua et al., PETS (2018), section 5.1.  Probability integral transform and coverage:
Gneiting, Balabdaoui & Raftery, Probabilistic forecasts, calibration and sharpness (2007), section 3.1.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Dynamics, Problem, Transition, UsageError
from forethought.core.data import AnyArray
from forethought.core.draws import draw_many
from forethought.dynamics.space import StateSpace

LEVELS = np.linspace(0.05, 0.95, 19)  # of central predictive intervals


class Windows(eqx.Module):
    """B stretches of real episodes; those that end early are padded, `valid` is False there."""

    start: Int[AnyArray, "B"]  # step of its episode at which the stretch begins
    x0: Float[AnyArray, "B n"]
    us: Shaped[AnyArray, "B H *m"]
    xs: Float[AnyArray, "B H n"]  # the state after each action
    valid: Bool[AnyArray, "B H"]


class ModelError(eqx.Module):
    """Open-loop error after 1 .. H steps.

    All but `per_coordinate` are root mean squares over coordinates, each in units of its own spread in the data
    (`scale`); 1 is about as bad as guessing any state of the data.
    """

    rmse: Float[np.ndarray, "H"]  # of the mean propagation, over start points
    low: Float[np.ndarray, "H"]  # 10th percentile over start points
    median: Float[np.ndarray, "H"]
    high: Float[np.ndarray, "H"]  # 90th percentile
    particle_rmse: Float[np.ndarray, "H"]  # of the mean over particles
    spread: Float[np.ndarray, "H"]  # standard deviation over particles: the error that the model predicts
    unchanged: Float[np.ndarray, "H"]  # of predicting no change at all
    per_coordinate: Float[np.ndarray, "H n"]  # rmse, in the coordinate's own unit
    scale: Float[np.ndarray, "n"]  # spread of the data; 0 marks a coordinate that never moves, which is left out
    count: Int[np.ndarray, "H"]  # start points with so many steps after them

    @property
    def horizon(self) -> int:
        """Steps looked ahead."""
        return len(self.rmse)


class Calibration(eqx.Module):
    """Where observed values lie within the predicted distributions: uniform on [0, 1] for a calibrated model.

    `pit[b, h, i]` is the predicted probability of a value below the real one (probability integral transform, ties
    split at random); NaN on padding and for coordinates that never move.
    """

    pit: Float[np.ndarray, "B H n"]

    def coverage(self, step: int) -> Float[np.ndarray, "L n"]:
        """Share of real values inside the central intervals of probability `LEVELS`, `step` (from 1) steps ahead."""
        values = self.pit[:, step - 1]
        known = np.isfinite(values)
        inside = (np.abs(2 * values - 1)[None] <= LEVELS[:, None, None]) & known
        return np.where(known.any(0), inside.sum(1) / np.maximum(known.sum(0), 1), np.nan)

    def pooled(self, step: int) -> Float[np.ndarray, "L"]:
        """Coverage averaged over coordinates."""
        return _mean(self.coverage(step), axis=1)

    def error(self, step: int) -> float:
        """Mean of |observed - expected coverage| over levels and coordinates: 0 is perfect, 0.5 the worst."""
        return float(_mean(np.abs(self.coverage(step) - LEVELS[:, None])))

    def bias(self, step: int) -> float:
        """Mean of observed - expected coverage: negative where the model is overconfident."""
        return float(_mean(self.coverage(step) - LEVELS[:, None]))


def reward_is_learned(problem: Problem) -> bool:
    """Whether states of `problem` contain the reward of the last step as one more coordinate."""
    return getattr(problem.dynamics, "n_extra", 0) > 0


def windows(episodes: Sequence[Transition], horizon: int, *, starts: int = 128, with_reward: bool = False) -> Windows:
    """Up to `starts` stretches of at most `horizon` steps, evenly spread over all steps of the episodes.

    Raises:
        UsageError: there is no step to start from.
    """
    places = [(number, t) for number, episode in enumerate(episodes) for t in range(len(episode))]
    if not places:
        raise UsageError("Model error needs at least one real episode with a step in it.")
    horizon = min(horizon, max(len(episode) for episode in episodes))
    chosen = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, starts).round().astype(int))]
    start = np.array([t for _, t in chosen])
    parts = [jax.tree.map(lambda a, t=t: np.asarray(a)[t : t + horizon], episodes[number]) for number, t in chosen]
    valid = np.stack([np.arange(horizon) < len(part) for part in parts])
    x0, us, xs = (_padded([getattr(part, name) for part in parts], horizon) for name in ("x", "u", "x_next"))
    x0 = x0[:, 0]
    if with_reward:
        rewards = _padded([part.reward[:, None] for part in parts], horizon)
        x0, xs = np.pad(x0, ((0, 0), (0, 1))), np.concatenate([xs, rewards], axis=-1)
    return Windows(start, x0, us, xs, valid)


def examine(
    problem: Problem,
    space: StateSpace,
    episodes: Sequence[Transition],
    *,
    key: PRNGKeyArray,
    horizon: int = 30,
    starts: int = 128,
    particles: int = 100,
) -> tuple[ModelError, Calibration]:
    """Model error by horizon and calibration, from one pass over real episodes (each with leading axis [T])."""
    learned = reward_is_learned(problem)
    real = windows(episodes, horizon, starts=starts, with_reward=learned)
    whole = StateSpace(space.size + learned, space.angles)
    draw_key, roll_key, tie_key = jr.split(key, 3)
    particles = shareable(problem.dynamics, particles)
    facts = _roll(problem.dynamics, whole, jax.tree.map(jnp.asarray, real), particles, draw_key, roll_key)
    mean_error, unchanged, offset, variance, below, ties = (np.asarray(a) for a in facts)
    mean_error, offset, variance = (np.where(np.isnan(a), np.inf, a) for a in (mean_error, offset, variance))

    scale = _spread(episodes, whole, learned)
    known = real.valid[..., None] & (scale > 0)

    @np.errstate(over="ignore")
    def relative(error: np.ndarray) -> np.ndarray:
        """[B, H]: root mean square over the coordinates that move, each in units of its spread; NaN on padding."""
        return np.sqrt(_mean(np.where(known, error / np.where(scale > 0, scale, 1), np.nan) ** 2, axis=2))

    apart = relative(mean_error)
    low, median, high = (_quantile(apart, q) for q in (0.1, 0.5, 0.9))
    error = ModelError(
        rmse=_rms(apart),
        low=low,
        median=median,
        high=high,
        particle_rmse=_rms(relative(offset)),
        spread=_rms(relative(np.sqrt(variance))),
        unchanged=_rms(relative(unchanged)),
        per_coordinate=_rms(np.where(real.valid[..., None], mean_error, np.nan)),
        scale=scale,
        count=real.valid.sum(0),
    )
    share = np.random.default_rng(np.asarray(jr.key_data(tie_key))).random(below.shape)
    pit = (below + share * (ties + 1)) / (particles + 1)
    return error, Calibration(np.where(known, pit, np.nan))


@eqx.filter_jit
def _roll(
    dynamics: Dynamics, space: StateSpace, real: Windows, particles: int, draw_key: PRNGKeyArray, key: PRNGKeyArray
) -> tuple[Array, ...]:
    """Predict the mean and the particles under the executed actions, and compare with the episode at every step.

    Returns, each [B, H, n]: error of the mean; of predicting no change; offset of the particles' mean; their
    variance; how many particles are below, and how many equal, the real value.
    """
    functions, copies = draw_many(dynamics, particles, key=draw_key)
    cloud = jnp.broadcast_to(real.x0, (particles // copies, copies, *real.x0.shape))

    def step(carry: tuple[Array, Array], inputs: tuple[Array, ...]) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        middle, cloud = carry
        u, x_real, h, step_key = inputs
        t = real.start + h
        middle = jax.vmap(lambda x, u, t: dynamics(x, u, t).mean)(middle, u, t)
        cloud = advance(functions, cloud, u, t, key=step_key)
        gap = _apart(space, cloud, x_real).reshape(-1, *x_real.shape)
        return (middle, cloud), (
            _apart(space, middle, x_real),
            _apart(space, real.x0, x_real),
            gap.mean(0),
            gap.var(0),
            (gap < 0).sum(0),
            (gap == 0).sum(0),
        )

    horizon = real.valid.shape[1]
    inputs = (real.us.swapaxes(0, 1), real.xs.swapaxes(0, 1), jnp.arange(horizon), jr.split(key, horizon))
    _, facts = jax.lax.scan(step, (real.x0, cloud), inputs)
    return tuple(a.swapaxes(0, 1) for a in facts)


def advance(
    functions: Dynamics,
    cloud: Float[Array, "G C B n"],
    u: Shaped[Array, "B *m"],
    t: Int[Array, "B"],
    *,
    key: PRNGKeyArray,
) -> Float[Array, "G C B n"]:
    """One sampled step of every particle; `functions` is a stack [G]."""

    def group(function: Dynamics, xs: Array, keys: Array) -> Array:
        one = jax.vmap(lambda x, u, t, k: function(x, u, t).sample(key=k))
        return jax.vmap(one, in_axes=(0, None, None, 0))(xs, u, t, keys)

    keys = jr.split(key, cloud.shape[:3])
    return eqx.filter_vmap(group)(functions, cloud, keys)


def shareable(dynamics: Dynamics, about: int) -> int:
    """At least `about` particles: a multiple of the ensemble's members."""
    members = getattr(getattr(dynamics, "model", dynamics), "member_count", 1)
    return -(-about // members) * members


def _apart(space: StateSpace, x1: Float[Array, "*b n"], x0: Float[Array, "B n"]) -> Float[Array, "*b n"]:
    """`space.difference` for stacks; `x0` is broadcast."""
    return jnp.vectorize(space.difference, signature="(n),(n)->(n)")(x1, jnp.broadcast_to(x0, x1.shape))


def _spread(episodes: Sequence[Transition], space: StateSpace, with_reward: bool) -> Float[np.ndarray, "n"]:
    """Standard deviation of every coordinate over the episodes, of angles about their circular mean; 0 where it is
    constant to the rounding of float32.
    """
    rows = np.concatenate([np.asarray(episode.x_next) for episode in episodes])
    if with_reward:
        rows = np.concatenate([rows, np.concatenate([np.asarray(e.reward) for e in episodes])[:, None]], axis=1)
    middle, std = rows.mean(0), rows.std(0)
    for i in space.angles:
        on_circle = np.exp(1j * rows[:, i])
        std[i] = np.sqrt(np.mean(np.angle(on_circle * np.conj(on_circle.mean())) ** 2))
    return np.where(std > 1e-6 * np.maximum(1, np.abs(middle)), std, 0)


def _padded(parts: list[np.ndarray], horizon: int) -> Shaped[np.ndarray, "B H *k"]:
    """Stacked arrays [T_b, *k], padded to `horizon` with their last row."""
    return np.stack([np.concatenate([part, np.repeat(part[-1:], horizon - len(part), axis=0)]) for part in parts])


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean over the entries that are not NaN; NaN, silently, where there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    total = np.where(known, values, 0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@np.errstate(over="ignore")
def _rms(values: Float[np.ndarray, "B *h"]) -> Float[np.ndarray, "*h"]:
    return np.sqrt(_mean(values**2, axis=0))


def _quantile(values: Float[np.ndarray, "B H"], q: float) -> Float[np.ndarray, "H"]:
    """Over start points, without interpolation: a diverged rollout counts as infinitely wrong."""
    finite_last = np.sort(values, axis=0)  # NaN, the padding, sorts behind infinity
    count = (~np.isnan(values)).sum(0)
    place = np.clip(np.ceil(q * count).astype(int) - 1, 0, None)
    return np.take_along_axis(finite_last, place[None], axis=0)[0]
