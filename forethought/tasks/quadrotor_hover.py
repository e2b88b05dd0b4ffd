"""Quadrotor hover: fly to a point and stay there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Trajectory
from forethought.tasks.costs import holds_at_end, never, quadratic


class QuadrotorHover(eqx.Module):
    """Fly to the target and hover there, level; states are those of `forethought.dynamics.quadrotor`.

    The cost is quadratic in the distance to the target, in the distance of the body's direction from level, in the
    speeds, and in the difference of the thrusts from hover.
    """

    horizon: int = 80  # steps
    dt: float = 0.05  # s per step
    thrust_limit: float = 7.5  # N, each propeller; thrust is never negative
    weight: float = 9.81  # N, thrust of both propellers together in hover
    target_x: float = 0.0  # m, right
    target_z: float = 1.0  # m, up
    start_distance: float = 1.5  # m, mean distance of the start to the left of the target
    start_std: float = 0.1  # standard deviation of each coordinate of the initial state
    position_weight: float = 1.0  # 1/m^2, cost of the distance squared
    roll_weight: float = 0.1  # cost of the squared distance between the body's upward axis and the vertical
    speed_weight: float = 0.05  # s^2/m^2, cost of speed squared
    spin_weight: float = 0.05  # s^2/rad^2, cost of angular speed squared
    thrust_weight: float = 0.01  # 1/N^2, cost of each thrust's squared difference from hover
    solved_distance: float = 0.25  # m, largest distance from the target during the last second
    solved_speed: float = 0.5  # m/s, largest speed during the last second

    @property
    def action_space(self) -> Box:
        """The thrust of each propeller, from 0 to its limit, in N."""
        return Box(jnp.zeros(2), jnp.full(2, self.thrust_limit), ["left thrust (N)", "right thrust (N)"])

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "6"]:
        """A random state to the left of the target, nearly level and at rest."""
        start = jnp.array([self.target_x - self.start_distance, self.target_z, 0.0, 0.0, 0.0, 0.0])
        return start + self.start_std * jr.normal(key, (6,))

    def cost(self, x: Float[Array, "6"], u: Float[Array, "2"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of distance from the target, tilt, speeds and thrusts."""
        del t
        return self.final_cost(x) + quadratic(u - self.weight / 2, weight=self.thrust_weight)

    def final_cost(self, x: Float[Array, "6"]) -> Float[Array, ""]:
        """The cost of the last state: `cost` without the term for actions."""
        tilt = 2 * (1 - jnp.cos(x[2]))  # squared chord between body axis and vertical
        distance = quadratic(self.offset(x), weight=self.position_weight)
        speeds = quadratic(x[3:5], weight=self.speed_weight) + quadratic(x[5], weight=self.spin_weight)
        return distance + self.roll_weight * tilt + speeds

    def terminal(self, x: Float[Array, "6"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """Within `solved_distance` of the target and slower than `solved_speed` for the whole last second."""
        xs = trajectory.xs
        near = jnp.linalg.norm(jax.vmap(self.offset)(xs), axis=-1) < self.solved_distance
        slow = jnp.linalg.norm(xs[:, 3:5], axis=-1) < self.solved_speed
        return holds_at_end(near & slow & trajectory.alive, seconds=1.0, dt=self.dt)

    def offset(self, x: Float[Array, "6"]) -> Float[Array, "2"]:
        """Position relative to the target: right and up, in m."""
        return x[:2] - jnp.array([self.target_x, self.target_z])
