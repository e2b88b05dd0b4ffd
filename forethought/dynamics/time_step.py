"""The time step of an environment, inferred from recorded transitions, and a check of the one that was given.

Where coordinate j is the rate of change of coordinate i, a step of dt seconds changes x_i by dt (x_j + x_j') / 2.
Each transition gives one estimate of dt.  Their median, weighted by the velocity, tolerates collisions, clipped
velocities and sensor noise.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from forethought.core import Transition, UsageError
from forethought.dynamics.space import StateSpace

TOLERANCE = 0.2  # relative difference of two time steps that counts as a contradiction
MISFIT = 1.25  # a contradiction also requires that the given time step fits the changes worse by this factor
FEWEST = 10  # smallest number of transitions with motion for an estimate


class _Estimate(NamedTuple):
    """The time step implied by one pair of coordinates, s."""

    pair: tuple[int, int]
    dt: float
    change: Float[np.ndarray, "N"]  # of the position, in one step
    velocity: Float[np.ndarray, "N"]  # mean over the step

    def misfit(self, dt: float) -> float:
        """Sum of absolute differences between the changes and `dt` times the velocities."""
        return float(np.sum(np.abs(self.change - dt * self.velocity)))

    def contradicts(self, dt: float) -> bool:
        """Whether the data contradict the time step `dt`."""
        return abs(self.dt - dt) > TOLERANCE * dt and self.misfit(dt) > MISFIT * self.misfit(self.dt)


def infer_dt(velocities: tuple[tuple[int, int], ...], steps: Transition, *, angles: tuple[int, ...] = ()) -> float:
    """The time step in s, from transitions stacked [N] and pairs (position, velocity) of coordinates.

    Raises:
        UsageError: nothing moves, a position changes against its velocity, or the pairs give different time steps.
    """
    space = StateSpace(steps.x.shape[-1], angles)
    estimates = [found for pair in velocities if (found := _estimate(space, pair, steps)) is not None]
    if not estimates:
        raise UsageError(
            f"the time step cannot be inferred: fewer than {FEWEST} of {len(steps)} transitions move. Give dt."
        )
    moving = [len(one.change) for one in estimates]
    dt = float(np.median(np.repeat([one.dt for one in estimates], moving)))
    if not dt > 0 or any(one.contradicts(dt) for one in estimates):
        numbers = "; ".join(_said(space, one) for one in estimates)
        raise UsageError(f"no single time step fits these velocities: {numbers}. Check the pairs of coordinates.")
    return dt


def check_velocities(space: StateSpace, steps: Transition) -> None:
    """Whether positions change as their velocities and `space.dt` say, in transitions stacked [N].

    Raises:
        UsageError: the data contradict `space.dt`.
    """
    estimates = [found for pair in space.velocities if (found := _estimate(space, pair, steps)) is not None]
    wrong = [one for one in estimates if one.contradicts(space.dt)]
    if wrong:
        numbers = "; ".join(_said(space, one) for one in wrong)
        raise UsageError(
            f"the velocities do not fit the time step of {space.dt:g} s: {numbers}. Give the environment's time step "
            "(--dt, in s), or check the pairs of coordinates (--velocities)."
        )


def _estimate(space: StateSpace, pair: tuple[int, int], steps: Transition) -> _Estimate | None:
    """None if too few transitions move."""
    i, j = pair
    x, x_next = (np.asarray(a, np.float64) for a in (steps.x, steps.x_next))
    change = np.asarray(jax.vmap(space.difference)(steps.x_next, steps.x), np.float64)[:, i]
    velocity = 0.5 * (x[:, j] + x_next[:, j])
    moves = np.abs(velocity) > 1e-3 * np.max(np.abs(velocity), initial=0)
    if np.sum(moves) < FEWEST:
        return None
    change, velocity = change[moves], velocity[moves]
    ratio, weight = change / velocity, np.abs(velocity)
    order = np.argsort(ratio)
    middle = np.searchsorted(np.cumsum(weight[order]), 0.5 * np.sum(weight))
    return _Estimate(pair, float(ratio[order][middle]), change, velocity)


def _said(space: StateSpace, one: _Estimate) -> str:
    i, j = one.pair
    return f"per step, {space.names[i]} (coordinate {i}) changes by {one.dt:.3g} s times {space.names[j]} ({j})"
