"""Conversion of pytrees between float32 and float64."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def in_float32(tree: Tree) -> Tree:
    """The pytree with its floating-point arrays in float32."""
    return _cast(tree, jnp.float32)


def in_float64(tree: Tree) -> Tree:
    """The pytree with its floating-point arrays in float64; requires JAX's x64 mode."""
    return _cast(tree, jnp.float64)


def _cast(tree: Tree, dtype: type) -> Tree:
    return jax.tree.map(lambda a: jnp.asarray(a, dtype) if eqx.is_inexact_array(a) else a, tree)
