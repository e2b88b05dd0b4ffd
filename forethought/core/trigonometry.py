"""Sine and cosine in float32 that XLA vectorizes on a CPU; XLA's own functions call the C library for each number.

Symbols: x = k pi + r (sine), x = (k + 1/2) pi + r (cosine), |r| <= pi / 2; both are (-1)^k sin r, up to a sign.
Source: subtraction of k pi in three parts as in Cephes (S. Moshier, 1989); the polynomial for sin r is that of SLEEF
(Shibata & Petrogalli, 2020), `sinf_u35`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# The first two parts have few bits, so their products with k are exact up to |x| = 8,000.
_PI_PARTS = (3.140625, 9.67502593994140625e-4, 1.509957990978376432e-7)
_SINE = (2.6083159809786593541503e-06, -1.981069071916863322258e-4, 8.33307858556509017944336e-3,
         -1.66666597127914428710938e-1)  # fmt: skip


@jax.custom_jvp
def sin(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The sine, to 2e-7 for |x| < 8,000 (rad); for dtypes other than float32 it is `jnp.sin`."""
    if x.dtype != jnp.float32:
        return jnp.sin(x)
    k = jnp.round(x * np.float32(1 / np.pi))
    return _alternating(k, _reduced(x, k))


@jax.custom_jvp
def cos(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The cosine, with the same accuracy."""
    if x.dtype != jnp.float32:
        return jnp.cos(x)
    k = jnp.round(x * np.float32(1 / np.pi) - np.float32(0.5))
    return -_alternating(k, _reduced(x, k + np.float32(0.5)))


@sin.defjvp
def _sin_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dot,) = primals, tangents
    return sin(x), cos(x) * dot


@cos.defjvp
def _cos_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dot,) = primals, tangents
    return cos(x), -sin(x) * dot


def _reduced(x: Float[Array, "*n"], turns: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """`x - turns pi`."""
    for part in _PI_PARTS:
        x = x - turns * np.float32(part)
    return x


def _alternating(k: Float[Array, "*n"], r: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """`(-1)^k sin r`."""
    square = r * r
    total = jnp.full_like(r, _SINE[0])
    for coefficient in _SINE[1:]:
        total = total * square + np.float32(coefficient)
    sine = r + r * square * total
    return jnp.where(k.astype(jnp.int32) & 1 == 1, -sine, sine)
