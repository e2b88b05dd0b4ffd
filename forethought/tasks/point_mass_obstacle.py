"""Point mass around an obstacle: reach the origin without touching a disc that is in the way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Trajectory
from forethought.tasks.costs import holds_at_end, never, quadratic


class PointMassObstacle(eqx.Module):
    """Stop at the origin and keep off the obstacle; states are those of `forethought.dynamics.point_mass`.

    The cost is quadratic in distance, speed and forces, plus a penalty near the obstacle.  The obstacle exerts no
    force: an episode that touches it is not solved.
    """

    horizon: int = 100  # steps
    dt: float = 0.05  # s per step
    force_limit: float = 4.0  # N, along each axis
    start_x: float = -2.0  # m, mean initial position
    start_y: float = 0.0  # m
    start_std: float = 0.05  # standard deviation of the initial position (m) and velocity (m/s), along each axis
    obstacle_x: float = -1.0  # m, center of the obstacle
    obstacle_y: float = 0.1  # m
    obstacle_radius: float = 0.3  # m
    margin: float = 0.3  # m, distance from the obstacle at which the penalty begins
    distance_weight: float = 1.0  # 1/m^2, cost of the distance squared
    speed_weight: float = 0.1  # s^2/m^2, cost of the speed squared
    force_weight: float = 0.01  # 1/N^2, cost of the force squared
    obstacle_weight: float = 50.0  # penalty at the center of the obstacle
    solved_distance: float = 0.1  # m, largest distance from the origin during the last half second
    solved_speed: float = 0.2  # m/s, largest speed during the last half second

    @property
    def action_space(self) -> Box:
        """Forces within their limit, in N."""
        return Box.symmetric(jnp.full(2, self.force_limit), ["force x (N)", "force y (N)"])

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "4"]:
        """A random state on the far side of the obstacle, nearly at rest."""
        return jnp.array([self.start_x, self.start_y, 0.0, 0.0]) + self.start_std * jr.normal(key, (4,))

    def cost(self, x: Float[Array, "4"], u: Float[Array, "2"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of distance, speed and force, and the penalty."""
        del t
        return self.final_cost(x) + quadratic(u, weight=self.force_weight)

    def final_cost(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """The cost of the last state: `cost` without the term for forces."""
        distance = quadratic(x[:2], weight=self.distance_weight)
        return distance + quadratic(x[2:], weight=self.speed_weight) + self.obstacle_penalty(x)

    def obstacle_penalty(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """`weight (1 - d^2 / R^2)^3` at a distance d < R from the obstacle's center, else zero; R: radius and margin.

        It has two continuous derivatives.
        """
        share = jnp.sum((x[:2] - self._center(x)) ** 2) / (self.obstacle_radius + self.margin) ** 2
        return self.obstacle_weight * jnp.maximum(1 - share, 0) ** 3

    def terminal(self, x: Float[Array, "4"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """At the origin and at rest for the last half second; no straight line between states touches the obstacle."""
        xs = trajectory.xs
        near = jnp.linalg.norm(xs[:, :2], axis=-1) < self.solved_distance
        slow = jnp.linalg.norm(xs[:, 2:], axis=-1) < self.solved_speed
        there = holds_at_end(near & slow & trajectory.alive, seconds=0.5, dt=self.dt)
        gaps = jax.vmap(self._gap)(xs[:-1], xs[1:])
        return there & jnp.all(gaps > 0)

    def _gap(self, x: Float[Array, "4"], x_next: Float[Array, "4"]) -> Float[Array, ""]:
        """Distance of the line between two positions from the obstacle, in m; negative inside."""
        start, along = x[:2] - self._center(x), x_next[:2] - x[:2]
        share = -jnp.sum(start * along) / jnp.maximum(jnp.sum(along**2), jnp.finfo(x.dtype).tiny)
        return jnp.linalg.norm(start + jnp.clip(share, 0, 1) * along) - self.obstacle_radius

    def _center(self, x: Float[Array, "4"]) -> Float[Array, "2"]:
        return jnp.array([self.obstacle_x, self.obstacle_y], x.dtype)
