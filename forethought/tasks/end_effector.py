"""Reaching with an arm: bring points of its last link to their goals, and keep them there."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Trajectory
from forethought.tasks.costs import holds_at_end, linear_quadratic, never, quadratic


class EndEffectorReaching(eqx.Module):
    """Bring points of the arm to their goals; states x = [q; v; p; w] are those of `forethought.dynamics.mujoco.scene`.

    The cost is that of the distance d of all points p [k a] from their goals, d^2 = |p - goals|^2, and that of the
    torques.  An episode starts from one of the initial states, which the reset key chooses.
    Source: Levine, Wagener & Abbeel (2015), "Learning contact-rich manipulation skills with guided policy search",
    section V; form and weights of the cost as in the authors' code.
    Differs: a constant is subtracted, so that the cost is zero at the goals.
    """

    initial_states: Float[Array, "C n"]  # at rest
    joints: tuple[str, ...] = eqx.field(static=True)  # their names
    goals: tuple[tuple[float, ...], ...] = eqx.field(static=True)  # of each point, relative to the target, m
    gains: tuple[float, ...] = eqx.field(static=True)  # of each joint; the cost of its torque is divided by it
    torque_limit: float  # N m, at each joint
    solved_distance: float  # m, largest distance of the first point, the tip, from its goal
    solved_seconds: float = 0.0  # s before the end of the episode in which the tip must be there; 0: at the end only
    horizon: int = 100  # steps
    dt: float = 0.05  # s per step
    l1: float = 0.1  # 1/m, cost of distance
    l2: float = 10.0  # 1/m^2, cost of half the distance squared
    alpha: float = 1e-5  # m^2, width within which the cost of distance is rounded off, squared
    torque_weight: float = 1e-3  # 1/(N m)^2, cost of half the square of a torque, at a gain of 1
    final_weight: float = 10.0  # factor on the cost of the points in the last state

    @property
    def action_space(self) -> Box:
        """Torques within their limit, in N m."""
        names = [f"{joint} torque (N m)" for joint in self.joints]
        return Box.symmetric(jnp.full(len(self.joints), self.torque_limit), names)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """One of the initial states; all are equally likely."""
        return self.initial_states[jr.randint(key, (), 0, self.initial_states.shape[0])]

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of the points' distance from their goals, and of the torques."""
        del t
        scaled = u / jnp.sqrt(jnp.asarray(self.gains, u.dtype))
        return self._point_cost(x) + quadratic(scaled, weight=0.5 * self.torque_weight)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """The cost of the points in the last state: that of a step, times `final_weight`."""
        return self.final_weight * self._point_cost(x)

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """Tip within `solved_distance` of its goal, at the end and for `solved_seconds` before it."""
        first, tip = 2 * len(self.joints), np.array(self.goals[0])
        offsets = trajectory.xs[:, first : first + tip.size] - jnp.asarray(tip, trajectory.xs.dtype)[None]
        near = jnp.linalg.norm(offsets, axis=-1) < self.solved_distance
        return holds_at_end(near & trajectory.alive, seconds=self.solved_seconds, dt=self.dt)

    def _point_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        first, goals = 2 * len(self.joints), np.array(self.goals).ravel()
        offsets = x[first : first + goals.size] - jnp.asarray(goals, x.dtype)
        return linear_quadratic(jnp.sum(offsets**2), linear=self.l1, quadratic=self.l2, rounding=self.alpha)
