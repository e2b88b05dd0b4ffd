"""Costs and terminations for environments whose own reward says too little, given as `--cost benchmarks.costs:NAME`."""

import jax.numpy as jnp


def balance(x, u):
    """InvertedPendulum: minus 1 at the middle of the rail with the pole upright, towards 0 away from it.

    The environment pays 1 for every step alive, which does not tell a cart at the end of its rail from one in the
    middle.  Negative everywhere: a fall, after which nothing is paid, is never the better choice.
    """
    position, angle, velocity = x[0], x[1], x[2]
    return -jnp.exp(-0.5 * ((position / 0.3) ** 2 + (angle / 0.1) ** 2 + velocity**2)) + 0.001 * u[0] ** 2
