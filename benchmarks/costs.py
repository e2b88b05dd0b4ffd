"""Costs and terminations for environments whose own reward says too little, given as `--cost benchmarks.costs:NAME`."""

import jax.numpy as jnp


def balance(x, u):
    """InvertedPendulum: minus 1 at the middle of the rail with the pole upright, toward 0 away from it.

    The environment pays 1 for every step alive, which does not tell a cart at the end of its rail from one in the
    middle.  Negative everywhere: a fall, after which nothing is paid, is never the better choice.
    """
    position, angle, velocity = x[0], x[1], x[2]
    return -jnp.exp(-0.5 * ((position / 0.3) ** 2 + (angle / 0.1) ** 2 + velocity**2)) + 0.001 * u[0] ** 2


def run_upright(x, u):
    """HalfCheetah: the environment's own reward, from the speed at the beginning of the step, less 1 - cos of its lean.

    Never more than the environment pays, but for the speed's change within a step (0.05 s).  Without the lean, some
    seeds learn to slide on the back: quick to learn, and slow for ever.
    """
    return 0.1 * jnp.sum(u**2) - x[8] + 1.0 - jnp.cos(x[1])


def push(x, u):
    """Pusher: the environment's own reward, negated, of the state before the action.

    x = [7 angles; 7 speeds; fingertip; object; goal], in rad, rad/s and m.
    """
    tip, thing, goal = x[14:17], x[17:20], x[20:23]
    far, near = jnp.linalg.norm(thing - goal), jnp.linalg.norm(thing - tip)
    return far + 0.5 * near + 0.1 * jnp.sum(u**2)
