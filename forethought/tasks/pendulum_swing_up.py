"""Pendulum swing-up: from hanging to upright with a motor that is too weak to lift the rod directly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Gaussian, Trajectory
from forethought.core.moments import affine, quadratic_moments, with_sines
from forethought.tasks.costs import holds_at_end, never, quadratic


class PendulumSwingUp(eqx.Module):
    """Bring the rod upright and keep it there; states are those of `forethought.dynamics.pendulum`.

    The cost is quadratic in the distance of the tip from its upright position, in angular speed and in torque.
    """

    horizon: int = 100  # steps
    dt: float = 0.05  # s per step
    torque_limit: float = 2.0  # N m; holding the rod horizontal takes 4.9
    start_std: float = (
        0.1  # standard deviation of the initial angle (rad) and angular velocity (rad/s), around hanging at rest
    )
    length: float = 1.0  # m
    tip_weight: float = 1.0  # 1/m^2, cost of the tip's distance squared
    spin_weight: float = 0.01  # s^2/rad^2, cost of angular speed squared
    torque_weight: float = 0.001  # 1/(N m)^2, cost of torque squared
    solved_distance: float = 0.25  # m, largest distance of the tip from its target during the last second
    solved_spin: float = 1.0  # rad/s, largest angular speed of the rod during the last second

    @property
    def action_space(self) -> Box:
        """Torque within its limit, in N m."""
        return Box.symmetric(jnp.array([self.torque_limit]), ["torque (N m)"])

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "2"]:
        """A random state near hanging at rest."""
        return self.start_std * jr.normal(key, (2,))

    def cost(self, x: Float[Array, "2"], u: Float[Array, "1"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of distance from upright, angular speed and torque."""
        del t
        return self.final_cost(x) + quadratic(u, weight=self.torque_weight)

    def final_cost(self, x: Float[Array, "2"]) -> Float[Array, ""]:
        """The cost of the last state: `cost` without the term for actions."""
        return quadratic(self.tip_offset(x), weight=self.tip_weight) + quadratic(x[1], weight=self.spin_weight)

    def cost_moments(
        self, p: Gaussian, t: Int[Array, ""], *, smoothing: Float[Array, ""] | float = 0.0
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean and variance of the cost for `[x; u] ~ p`, with the angle's sine and cosine taken as Gaussian."""
        del t, smoothing  # a quadratic needs no smoothing
        waves = with_sines(p, (0,))  # [angle, spin, torque, sin, cos]
        A = jnp.zeros((4, 5), p.mean.dtype).at[jnp.arange(4), jnp.array([3, 4, 1, 2])].set(1.0)
        A = A * jnp.array([self.length, self.length, 1.0, 1.0], p.mean.dtype)[:, None]
        measured = affine(waves, A, jnp.array([0, self.length, 0, 0], p.mean.dtype))  # tip, spin, torque
        weights = [self.tip_weight, self.tip_weight, self.spin_weight, self.torque_weight]
        return quadratic_moments(measured, jnp.diag(jnp.array(weights, p.mean.dtype)))

    def terminal(self, x: Float[Array, "2"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """Tip within `solved_distance` and rod slower than `solved_spin` for the whole last second."""
        distances = jnp.linalg.norm(jax.vmap(self.tip_offset)(trajectory.xs), axis=-1)
        still = jnp.abs(trajectory.xs[:, 1]) < self.solved_spin
        return holds_at_end((distances < self.solved_distance) & still & trajectory.alive, seconds=1.0, dt=self.dt)

    def tip_offset(self, x: Float[Array, "2"]) -> Float[Array, "2"]:
        """Position of the tip relative to its upright position: right and up, in m."""
        return self.length * jnp.stack([jnp.sin(x[0]), -jnp.cos(x[0]) - 1])
