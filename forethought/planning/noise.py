"""Noise for sampling planners: colored noise, and a generator of random numbers that is fast on a CPU.

Symbols: white w [T] ~ N(0, I); colored e = C w with a circulant C [T, T], so that Cov e = C C' has a unit diagonal and
the power spectrum 1 / f^beta.

`jax.random` uses Threefry, which is slow on a CPU: each use in a program adds 1 to 2 s of compilation, and generating
the samples of a planner takes longer than their rollouts.  Here a counter is hashed to 32 bits, the bits are converted
to a uniform number, and the inverse of the normal distribution function converts it to a normal number.  The numbers
are suitable for Monte Carlo, not for cryptography; equal keys give equal numbers.  For other dtypes than float32,
`jax.random` is used.
Source: the mixing function is "lowbias32" of C. Wellons' search for hashes (2018), applied once with each half of the
key; the inverse is that of M. Giles, "Approximating the erfinv function" (2012), table 5.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt32

LONG_ROW = 512  # smallest row length for which a loop over rows is faster


def color_filter(steps: int, beta: float) -> Float[np.ndarray, "T T"]:
    """The circulant matrix that turns white noise [T] into noise of unit variance with spectrum 1 / f^beta."""
    frequency = np.fft.rfftfreq(steps)
    frequency[0] = frequency[1] if steps > 1 else 1.0
    amplitude = frequency ** (-beta / 2)
    impulse = np.fft.irfft(amplitude, steps)
    impulse /= np.sqrt(np.sum(impulse**2))
    return np.stack([np.roll(impulse, shift) for shift in range(steps)], axis=1)


def quick_split(key: PRNGKeyArray, count: int) -> Key[Array, "count"]:
    """`count` keys from one, like `jax.random.split`, but with a short compilation time."""
    words = jr.key_data(key)
    counter = lax.iota(jnp.uint32, count * words.shape[0]).reshape(count, -1)
    return jr.wrap_key_data(_hash(counter, key), impl=jr.key_impl(key))


def quick_uniform(shape: tuple[int, ...], dtype, *, key: PRNGKeyArray) -> Float[Array, "..."]:
    """Uniform numbers in (-1, 1): the midpoints of 2^23 equal intervals, so -1 and 1 never occur."""
    if dtype != jnp.float32:
        return jr.uniform(key, shape, dtype, -1, 1)
    return _by_rows(lambda counter: _uniform(_hash(counter, key), dtype), shape)


def quick_normal(shape: tuple[int, ...], dtype, *, key: PRNGKeyArray, bound: float = np.inf) -> Float[Array, "..."]:
    """Standard normal numbers, truncated to [-bound, bound]; without a bound, the largest is 5.3."""
    if dtype != jnp.float32:
        return jr.truncated_normal(key, -bound, bound, shape, dtype) if bound < np.inf else jr.normal(key, shape, dtype)
    probability = np.float32(1 if bound == np.inf else math.erf(bound / math.sqrt(2)))
    return _by_rows(lambda counter: _normal_quantile(probability * _uniform(_hash(counter, key), dtype)), shape)


def _by_rows(number: Callable[[UInt32[Array, "..."]], Float[Array, "..."]], shape: tuple[int, ...]):
    """The function `number` of the counters 0, 1, 2 ..., in the given shape."""
    row = int(np.prod(shape[1:]))
    if len(shape) == 1 or row < LONG_ROW:
        return number(lax.iota(jnp.uint32, int(np.prod(shape))).reshape(shape))
    # With a loop over rows, intermediate values stay in the cache, and XLA does not compute the numbers at every use.
    counter = lax.iota(jnp.uint32, row).reshape(shape[1:])
    return lax.map(lambda i: number(counter + i * jnp.uint32(row)), lax.iota(jnp.uint32, shape[0]))


def _uniform(bits: UInt32[Array, "..."], dtype) -> Float[Array, "..."]:
    return (bits >> 9).astype(dtype) * 2.0**-22 - (1 - 2.0**-23)


def _hash(counter: UInt32[Array, "..."], key: PRNGKeyArray) -> UInt32[Array, "..."]:
    """32 random bits for each counter."""
    words = jr.key_data(key)
    bits = _mix(counter + _mix(words[0] + jnp.uint32(0x9E3779B9)))
    for word in words[1:]:
        bits = _mix(bits ^ _mix(word + jnp.uint32(0x85EBCA6B)))
    return bits


def _mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
            -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
         -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def _normal_quantile(s: Float[Array, "..."]) -> Float[Array, "..."]:
    """`sqrt(2) erfinv(s)` for |s| < 1."""
    w = -jnp.log((1 - s) * (1 + s))
    central = w < 5
    v = jnp.where(central, w - 2.5, jnp.sqrt(w) - 3)
    total = jnp.where(central, _CENTRAL[0], _TAIL[0]).astype(s.dtype)
    for near, far in zip(_CENTRAL[1:], _TAIL[1:], strict=True):
        total = jnp.where(central, near, far).astype(s.dtype) + total * v
    return np.float32(np.sqrt(2)) * total * s
