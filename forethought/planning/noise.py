"""Noise for sampling planners: its color in time, and normal numbers that cost less than the rollouts they feed.

Symbols: white w [T] ~ N(0, I); colored e = C w with a circulant C [T, T], so that Cov e = C C' has a unit diagonal and
the power spectrum 1 / f^beta.
"""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

LONG_ROW = 512  # numbers, from which on a loop over rows costs less than it saves


def color_filter(steps: int, beta: float) -> Float[np.ndarray, "T T"]:
    """The circulant matrix that turns white noise [T] into noise of unit variance with spectrum 1 / f^beta."""
    frequency = np.fft.rfftfreq(steps)
    frequency[0] = frequency[1] if steps > 1 else 1.0
    amplitude = frequency ** (-beta / 2)
    impulse = np.fft.irfft(amplitude, steps)
    impulse /= np.sqrt(np.sum(impulse**2))
    return np.stack([np.roll(impulse, shift) for shift in range(steps)], axis=1)


def quick_normal(shape: tuple[int, ...], dtype, *, key: PRNGKeyArray) -> Float[Array, "..."]:
    """Standard normal numbers, in float32 about ten times faster than `jax.random.normal` on a CPU.

    A counter is hashed to 32 bits, these to a uniform number, that to a normal one by the inverse of its distribution.
    Good for Monte Carlo, not for secrets; equal keys give equal numbers.  Other dtypes take `jax.random.normal`.
    Source: the mixing function is "lowbias32" of C. Wellons' search for hashes (2018), applied twice with half of the
    key each; the inverse is that of M. Giles, "Approximating the erfinv function" (2012), table 5.
    """
    if dtype != jnp.float32:
        return jr.normal(key, shape, dtype)
    first, second = jr.bits(key, (2,), jnp.uint32)
    row = int(np.prod(shape[1:]))

    def normal(counter: UInt32[Array, "*n"]) -> Float[Array, "*n"]:
        bits = _mix(_mix(counter + first) ^ second)
        # The middles of 2^23 equal cells of (-1, 1): never an end, so that the tails stay finite (5.2 std).
        return _normal_quantile((bits >> 9).astype(dtype) * 2.0**-22 - (1 - 2.0**-23))

    if len(shape) == 1 or row < LONG_ROW:
        return normal(lax.iota(jnp.uint32, int(np.prod(shape))).reshape(shape))
    # Row by row, what it is made of stays in the cache; and it is made once, not again wherever it is used.
    counter = lax.iota(jnp.uint32, row).reshape(shape[1:])
    return lax.map(lambda i: normal(counter + i * jnp.uint32(row)), lax.iota(jnp.uint32, shape[0]))


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
