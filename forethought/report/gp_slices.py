"""A Gaussian process along one input at a time, and a textbook example.

A slice goes through one row of the data: input j varies over the range of the data, the others are fixed at that row.
Other rows are not on the slice; each is shifted onto it by the model (a partial residual: the slice's mean plus the
row's own residual) and weighted by the kernel's correlation with the slice in the fixed inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float

from forethought.core import Problem, Transition
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.models.gp.process import FittedGP, condition

POINTS = 121  # along a slice
SAMPLES = 3  # functions drawn


@dataclass(frozen=True)
class Slice:
    """One output along one input; standard deviations are the function's, without the noise of an observation."""

    at: Float[np.ndarray, "P"]
    mean: Float[np.ndarray, "P"]
    std: Float[np.ndarray, "P"]
    samples: Float[np.ndarray, "K P"]  # K functions
    z: Float[np.ndarray, "N"]  # the data's value of this input
    y: Float[np.ndarray, "N"]  # its output, shifted onto the slice
    weight: Float[np.ndarray, "N"]  # in [0, 1]: correlation of a row with the slice


@dataclass(frozen=True)
class Slices:
    """Every output (rows) along every input (columns)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    grid: tuple[tuple[Slice, ...], ...]


def textbook() -> Slice:
    """Five data points in one dimension, with almost no noise.

    Source: the example in the manner of Rasmussen & Williams (2006), figure 2.2 (b); the data are our own.
    """
    z = np.array([[-4.0], [-2.6], [-0.8], [1.0], [2.2]])
    y = np.array([[-1.6], [0.3], [1.3], [0.4], [-1.1]])
    ones = np.ones(1)
    gp = condition(
        z, y, lengthscale=ones[:, None], signal=ones, noise=0.01 * ones, offset=0 * ones, features=1000, dtype=float
    )
    return _slice(gp, np.zeros(1), 0, np.linspace(-5, 5, 4 * POINTS), z, y, jr.key(5))[0]


def learned_gp(problem: Problem | None) -> LearnedDynamics | None:
    """The dynamics, if they are learned by a Gaussian process."""
    dynamics = getattr(problem, "dynamics", None)
    if isinstance(dynamics, LearnedDynamics) and isinstance(dynamics.model, FittedGP) and int(dynamics.model.rows) > 0:
        return dynamics
    return None


def slices_of(dynamics: LearnedDynamics, experience: list[Transition], actions: Sequence[str]) -> Slices:
    """The dynamics' Gaussian process, with the experience it was fitted to (at least one step).

    `actions` are the names of their coordinates.
    """
    gp: Any = dynamics.model
    steps = jax.tree.map(lambda *parts: np.concatenate(parts), *experience)
    # The first `rows`, as the fit saw them: an episode that was cut off may have come after it.
    z, y = (np.asarray(a)[: int(gp.rows)] for a in dynamics.data(steps))
    middle = z[np.argmin(np.sum(((z - z.mean(0)) / (z.std(0) + 1e-9)) ** 2, axis=1))]
    columns = []
    for j, key in enumerate(jr.split(jr.key(0), z.shape[1])):
        margin = 0.05 * np.ptp(z[:, j]) + 1e-6
        at = np.linspace(z[:, j].min() - margin, z[:, j].max() + margin, POINTS)
        columns.append(_slice(gp, middle, j, at, z, y, key))
    inputs, outputs = names_of_data(dynamics.space, actions, dynamics.n_extra)
    return Slices(inputs, outputs, tuple(zip(*columns, strict=True)))


def _slice(gp: FittedGP, middle, j: int, at, z, y, key) -> list[Slice]:
    """Each output along input j; the sampled functions are the same for all points."""
    zs = np.repeat(middle[None], len(at), axis=0)
    zs[:, j] = at
    there, here = (jnp.asarray(a, gp.z.dtype) for a in (z, zs))
    fitted, means, stds, samples = (np.asarray(a) for a in _along(gp, there, here, key))
    scaled = (z - middle)[None] / np.asarray(gp.lengthscale)[:, None]
    scaled[:, :, j] = 0
    weights = np.exp(-0.5 * np.sum(scaled**2, axis=-1))
    each = zip(means.T, stds.T, np.moveaxis(samples, 2, 0), (y - fitted).T, weights, strict=True)
    return [
        Slice(at, mean, std, drawn, z[:, j], np.interp(z[:, j], at, mean) + error, weight)
        for mean, std, drawn, error, weight in each
    ]


@eqx.filter_jit
def _along(gp: FittedGP, z, zs, key):
    """The mean at the data `z`; mean, standard deviation and sampled functions along `zs`."""

    def function_std(z):
        predicted = gp(z)
        return predicted.mean, jnp.sqrt(jnp.maximum(predicted.std**2 - gp.noise**2, 0))

    functions, _ = gp.draw_many(SAMPLES, key=key)
    fitted = jax.vmap(lambda z: gp(z).mean)(z)
    return fitted, *jax.vmap(function_std)(zs), eqx.filter_vmap(lambda f: jax.vmap(f)(zs).mean)(functions)


def names_of_data(space: StateSpace, actions: Sequence[str], n_extra: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the inputs and the outputs of learned dynamics in `space`."""
    plain = [name for i, name in enumerate(space.names) if i not in space.angles]
    angles = [space.names[i].removesuffix(" (rad)") for i in space.angles]
    features = [*plain, *(f"sin {name}" for name in angles), *(f"cos {name}" for name in angles)]
    changes = [f"change of {space.names[i]}" for i in space.learned]
    return (*features, *actions), (*changes, *["reward"] * n_extra)
