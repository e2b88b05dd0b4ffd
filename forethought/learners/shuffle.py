"""Random permutations without sorting, which takes most of the time of small updates on a CPU.

Symbols: N rows; k the least integer with 2^k >= N; i an index of k bits.
A round maps i to i' = a i + c (mod 2^k), a odd, then to i' xor (i' >> ceil(k / 2)): both steps can be undone, so that
several rounds with random a and c are a permutation of the 2^k indices.  Indices that end at N or beyond go through the
rounds again until they do not, which is a permutation of the N indices.
Source: cycle walking: Black & Rogaway (2002), Ciphers with arbitrary finite domains, section 3.  Of the N! permutations
only some can come out; every row is as likely as any other at every place.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int, PRNGKeyArray

ROUNDS = 4


def permutation(n: int, *, key: PRNGKeyArray) -> Int[Array, "n"]:
    """The indices 0 to n - 1 in random order."""
    bits = max((n - 1).bit_length(), 1)
    mask = jnp.uint32((1 << bits) - 1)
    constants = jr.bits(key, (ROUNDS, 2), jnp.uint32)

    def rounds(i: Array) -> Array:
        for a, c in constants:
            i = (i * (a | 1) + c) & mask
            i = i ^ (i >> ((bits + 1) // 2))
        return i

    first = rounds(jnp.arange(n, dtype=jnp.uint32))
    inside = jax.lax.while_loop(lambda i: jnp.any(i >= n), lambda i: jnp.where(i >= n, rounds(i), i), first)
    return inside.astype(jnp.int32)
