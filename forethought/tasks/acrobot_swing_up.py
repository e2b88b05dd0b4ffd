"""Acrobot swing-up: two rods from hanging to standing upright, with a motor only at the elbow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Trajectory
from forethought.tasks.costs import holds_at_end, never, quadratic


class AcrobotSwingUp(eqx.Module):
    """Bring both rods upright and keep them there; states are those of `forethought.dynamics.double_pendulum`.

    The cost is quadratic in the distance of the tip from its upright position, in the angular speeds and in torque.
    """

    horizon: int = 120  # steps
    dt: float = 0.05  # s per step
    torque_limit: float = 10.0  # N m
    start_std: float = (
        0.1  # standard deviation of the initial angles (rad) and angular velocities (rad/s), around hanging at rest
    )
    length1: float = 1.0  # m
    length2: float = 1.0  # m
    tip_weight: float = 1.0  # 1/m^2, cost of the tip's distance squared
    spin_weight: float = 0.01  # s^2/rad^2, cost of each angular speed squared
    torque_weight: float = 0.001  # 1/(N m)^2, cost of torque squared
    solved_distance: float = 0.5  # m, largest distance of the tip from its target during the last second
    solved_spin: float = 1.0  # rad/s, largest angular speed of the rods during the last second

    @property
    def action_space(self) -> Box:
        """Torque within its limit, in N m."""
        return Box.symmetric(jnp.array([self.torque_limit]), ["elbow torque (N m)"])

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "4"]:
        """A random state near hanging at rest."""
        return self.start_std * jr.normal(key, (4,))

    def cost(self, x: Float[Array, "4"], u: Float[Array, "1"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of distance from upright, angular speed and torque."""
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
        """Tip within `solved_distance` and rods slower than `solved_spin` for the whole last second."""
        distances = jnp.linalg.norm(jax.vmap(self.tip_offset)(trajectory.xs), axis=-1)
        still = jnp.all(jnp.abs(trajectory.xs[:, 2:]) < self.solved_spin, axis=-1)
        return holds_at_end((distances < self.solved_distance) & still & trajectory.alive, seconds=1.0, dt=self.dt)

    def tip_offset(self, x: Float[Array, "4"]) -> Float[Array, "2"]:
        """Position of the tip relative to its upright position: right and up, in m."""
        first, second = x[0], x[0] + x[1]
        right = self.length1 * jnp.sin(first) + self.length2 * jnp.sin(second)
        up = -self.length1 * (jnp.cos(first) + 1) - self.length2 * (jnp.cos(second) + 1)
        return jnp.stack([right, up])
