"""Car parking: from the next lane into a parking place, with a car that cannot move sideways."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Trajectory
from forethought.tasks.costs import holds_at_end, never, quadratic


class CarParking(eqx.Module):
    """Stop in the parking place, the origin, with heading 0; states are those of `forethought.dynamics.car`.

    The car starts in the next lane, so that it must move back and forth.  The cost is quadratic in position, in the
    distance of the heading's direction from straight ahead, in speed and in the actions.
    """

    horizon: int = 80  # steps
    dt: float = 0.1  # s per step
    acceleration_limit: float = 2.0  # m/s^2
    turn_limit: float = 1.0  # rad/s
    start_side: float = 2.5  # m, mean distance of the start from the parking place, to the side
    start_std: float = 0.2  # standard deviation of the initial position (m), heading (rad) and speed (m/s)
    position_weight: float = 1.0  # 1/m^2, cost of the distance squared
    heading_weight: float = (
        0.3  # cost of the squared distance between the unit vectors along the car and along the parking place
    )
    speed_weight: float = 0.02  # s^2/m^2, cost of speed squared
    action_weight: float = 0.005  # cost of the square of each action, relative to its limit
    solved_distance: float = 0.2  # m, largest distance from the parking place during the last second
    solved_heading: float = 0.2  # rad, largest heading during the last second
    solved_speed: float = 0.2  # m/s, largest speed of the car during the last second

    @property
    def action_space(self) -> Box:
        """Acceleration (m/s^2) and turning rate (rad/s, positive to the left), within their limits."""
        return Box.symmetric(
            jnp.array([self.acceleration_limit, self.turn_limit]), ["acceleration (m/s^2)", "turn rate (rad/s)"]
        )

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "4"]:
        """A random state in the next lane, nearly straight and at rest."""
        return jnp.array([0.0, self.start_side, 0.0, 0.0]) + self.start_std * jr.normal(key, (4,))

    def cost(self, x: Float[Array, "4"], u: Float[Array, "2"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of distance from the parking place, heading, speed and actions."""
        del t
        return self.final_cost(x) + quadratic(u / self.action_space.high, weight=self.action_weight)

    def final_cost(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """The cost of the last state: `cost` without the term for actions."""
        askew = 2 * (1 - jnp.cos(x[2]))  # squared chord between the two directions
        distance = quadratic(x[:2], weight=self.position_weight)
        return distance + self.heading_weight * askew + quadratic(x[3], weight=self.speed_weight)

    def terminal(self, x: Float[Array, "4"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """In the parking place, straight and at rest for the whole last second."""
        xs = trajectory.xs
        near = jnp.linalg.norm(xs[:, :2], axis=-1) < self.solved_distance
        straight = jnp.cos(xs[:, 2]) > jnp.cos(self.solved_heading)
        standing = jnp.abs(xs[:, 3]) < self.solved_speed
        return holds_at_end(near & straight & standing & trajectory.alive, seconds=1.0, dt=self.dt)
