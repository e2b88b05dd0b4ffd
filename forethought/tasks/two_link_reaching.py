"""Two-link reaching: bring the tip of a planar arm to a point and stop there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Trajectory
from forethought.tasks.costs import holds_at_end, never, quadratic


class ReacherTwoLink(eqx.Module):
    """Bring the tip to the target from any angles; states are those of `forethought.dynamics.reacher`.

    The cost is quadratic in the distance of the tip from the target, in the angular speeds and in the torques.
    """

    horizon: int = 60  # steps
    dt: float = 0.05  # s per step
    torque_limit: float = 1.0  # N m, at each joint
    target_x: float = 0.4  # m, along the plane's first axis
    target_y: float = 0.5  # m
    start_spread: float = 3.141592653589793  # rad, the initial angles are uniform within plus and minus this value
    length1: float = 0.5  # m
    length2: float = 0.5  # m
    tip_weight: float = 1.0  # 1/m^2, cost of the tip's distance squared
    spin_weight: float = 0.005  # s^2/rad^2, cost of each angular speed squared
    torque_weight: float = 0.001  # 1/(N m)^2, cost of each torque squared
    solved_distance: float = 0.05  # m, largest distance of the tip from the target during the last half second

    @property
    def action_space(self) -> Box:
        """Torques within their limit, in N m."""
        return Box.symmetric(jnp.full(2, self.torque_limit), ["shoulder torque (N m)", "elbow torque (N m)"])

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "4"]:
        """Random angles; at rest."""
        angles = jr.uniform(key, (2,), minval=-self.start_spread, maxval=self.start_spread)
        return jnp.concatenate([angles, jnp.zeros(2)])

    def cost(self, x: Float[Array, "4"], u: Float[Array, "2"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of distance from the target, angular speeds and torques."""
        del t
        return self.final_cost(x) + quadratic(u, weight=self.torque_weight)

    def final_cost(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """The cost of the last state: `cost` without the term for actions."""
        return quadratic(self.tip_offset(x), weight=self.tip_weight) + quadratic(x[2:], weight=self.spin_weight)

    def terminal(self, x: Float[Array, "4"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """Tip within `solved_distance` of the target for the whole last half second."""
        distances = jnp.linalg.norm(jax.vmap(self.tip_offset)(trajectory.xs), axis=-1)
        return holds_at_end((distances < self.solved_distance) & trajectory.alive, seconds=0.5, dt=self.dt)

    def tip_offset(self, x: Float[Array, "4"]) -> Float[Array, "2"]:
        """Position of the tip relative to the target, in m."""
        first, second = x[0], x[0] + x[1]
        across = self.length1 * jnp.cos(first) + self.length2 * jnp.cos(second) - self.target_x
        along = self.length1 * jnp.sin(first) + self.length2 * jnp.sin(second) - self.target_y
        return jnp.stack([across, along])
