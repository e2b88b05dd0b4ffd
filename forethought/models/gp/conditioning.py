"""Conditioning a Gaussian process on data with given hyperparameters, exactly, in float64 on the host.

Symbols as in `posterior.py`; N rows of data z [N, d], y [N, e].  With K + noise^2 I = V diag(lambda + noise^2) V'
    reduction = V diag(1 / (lambda + noise^2)) V',   root = diag(lambda + noise^2)^-1/2 V',
    unexplained = noise / sqrt(lambda + noise^2).
Eigenvalues of K that are negative because of rounding are set to zero, so conditioning works for all data.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from forethought.core.data import AnyArray
from forethought.models.gp.posterior import FittedGP


class Hyperparameters(NamedTuple):
    """Hyperparameters of one output: lengthscales in units of z; standard deviations in units of y."""

    lengthscale: Float[np.ndarray, "d"]
    signal: float
    noise: float


class Posterior(NamedTuple):
    """The posterior of one output; fields as in `FittedGP`."""

    beta: Float[np.ndarray, "M"]
    reduction: Float[np.ndarray, "M M"]
    root: Float[np.ndarray, "M M"]
    unexplained: Float[np.ndarray, "M"]


def condition(
    z: Float[AnyArray, "N d"],
    y: Float[AnyArray, "N e"],
    size: int | Int[AnyArray, ""] | None = None,
    *,
    lengthscale: Float[AnyArray, "e d"],
    signal: Float[AnyArray, "e"],
    noise: Float[AnyArray, "e"],
    offset: Float[AnyArray, "e"],
    features: int = 128,
    dtype: DTypeLike | None = None,
) -> FittedGP:
    """The exact posterior given the first `size` rows, or all rows if `size` is None.

    Args:
        z, y: inputs and outputs.
        size: number of rows of data; the other rows are padding and become centers without effect.
        lengthscale, signal, noise, offset: hyperparameters of each output, in units of z and y.
        features: random Fourier features in a sampled function.
        dtype: dtype of the result; by default that of `z`.
    """
    size = z.shape[0] if size is None else int(size)
    data, targets = (np.asarray(a, np.float64)[:size] for a in (z, y))
    arrays = [np.asarray(a, np.float64) for a in (lengthscale, signal, noise, offset)]
    each = [
        exact(data, targets[:, k] - offset, Hyperparameters(lengthscale, signal, noise))
        for k, (lengthscale, signal, noise, offset) in enumerate(zip(*arrays, strict=True))
    ]
    return assemble(data, each, *arrays, rows=size, capacity=z.shape[0], features=features, dtype=dtype or z.dtype)


def exact(z: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N"], given: Hyperparameters) -> Posterior:
    """The posterior of one output with mean zero."""
    values, vectors = scipy.linalg.eigh(kernel(z, z, given))
    tiny = len(z) * np.finfo(float).eps * given.signal**2  # the rounding error of K; avoids division by zero noise
    total = np.maximum(np.maximum(values, 0) + given.noise**2, tiny)
    root = vectors.T / np.sqrt(total)[:, None]
    return Posterior(root.T @ (root @ y), root.T @ root, root, given.noise / np.sqrt(total))


def kernel(
    a: Float[np.ndarray, "A d"], b: Float[np.ndarray, "B d"], given: Hyperparameters
) -> Float[np.ndarray, "A B"]:
    """`k(a_i, b_j)`."""
    a, b = a / given.lengthscale, b / given.lengthscale
    squared = np.sum(a**2, 1)[:, None] + np.sum(b**2, 1)[None] - 2 * a @ b.T
    return given.signal**2 * np.exp(-0.5 * np.maximum(squared, 0))


def assemble(
    centers: Float[np.ndarray, "m d"],
    each: list[Posterior],
    lengthscale: Float[np.ndarray, "e d"],
    signal: Float[np.ndarray, "e"],
    noise: Float[np.ndarray, "e"],
    offset: Float[np.ndarray, "e"],
    *,
    rows: int,
    capacity: int,
    features: int,
    dtype: DTypeLike,
) -> FittedGP:
    """The posteriors of all outputs as one model, padded to `capacity` centers."""
    more = capacity - centers.shape[0]

    def stack(field: str) -> np.ndarray:
        arrays = [getattr(one, field) for one in each]
        return np.stack([np.pad(a, [(0, more)] * a.ndim) for a in arrays])

    padded = np.pad(centers, [(0, more), (0, 0)])
    arrays = (padded, lengthscale, signal, noise, offset)
    z, lengthscale_, signal_, noise_, offset_ = (jnp.asarray(a, dtype) for a in arrays)
    beta, reduction, root, unexplained = (jnp.asarray(stack(field), dtype) for field in Posterior._fields)
    return FittedGP(
        z,
        lengthscale_,
        signal_,
        noise_,
        offset_,
        beta,
        reduction,
        root,
        unexplained,
        jnp.asarray(rows, jnp.int32),
        features,
    )
