"""Cart-double-pendulum swing-up: two hinged rods from hanging to standing upright over the middle of the rail."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Gaussian, Trajectory
from forethought.core.moments import affine, saturating_moments, with_sines
from forethought.tasks.costs import holds_at_end, never, saturating


class CartDoublePendulumSwingUp(eqx.Module):
    """Bring the tip of the second rod to its target above the middle of the rail, and keep it there.

    States are those of `forethought.dynamics.cart_double_pendulum`.  The cost saturates with the distance of the tip
    from that target; actions cost nothing.
    Source: Deisenroth, Fox & Rasmussen (2015), and the authors' released scenario.
    Differs: the release's cost takes the rods to be 1 m long.
    """

    horizon: int = 100  # steps
    dt: float = 0.05  # s per step
    force_limit: float = 20.0  # N
    start_std: float = 0.1  # standard deviation of the initial position and velocities, around hanging at rest
    start_angle_std: float = 0.01  # rad, standard deviation of the initial angle of each rod
    length1: float = 0.6  # m
    length2: float = 0.6  # m
    cost_width: float = 0.5  # m, distance of the tip from its target at which the cost is 0.39
    solved_distance: float = 0.25  # m, largest distance of the tip from its target during the last second
    solved_speed: float = 0.5  # m/s, largest speed of the tip during the last second

    @property
    def action_space(self) -> Box:
        """Force within its limit, in N."""
        return Box.symmetric(jnp.array([self.force_limit]), ["force (N)"])

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "6"]:
        """A random state near hanging at rest."""
        spread = jnp.full(6, self.start_std).at[2:4].set(self.start_angle_std)
        return spread * jr.normal(key, (6,))

    def cost(self, x: Float[Array, "6"], u: Float[Array, "1"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The saturating cost of the distance of the tip from its target, in [0, 1)."""
        del u, t
        return self.final_cost(x)

    def final_cost(self, x: Float[Array, "6"]) -> Float[Array, ""]:
        """The cost of the last state: as `cost`."""
        return saturating(jnp.sum(self.tip_offset(x) ** 2), width=self.cost_width)

    def cost_moments(
        self, p: Gaussian, t: Int[Array, ""], *, smoothing: Float[Array, ""] | float = 0.0
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean and variance of the cost for `[x; u] ~ p`, with the tip approximated by a Gaussian; `smoothing` in m."""
        del t
        waves = with_sines(Gaussian(p.mean[:6], p.cov[:6, :6]), (2, 3))  # [x; sin1; sin2; cos1; cos2]
        l1, l2 = self.length1, self.length2
        A = jnp.array([[1.0, 0, 0, 0, 0, 0, l1, l2, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, -l1, -l2]], p.mean.dtype)
        tip = affine(waves, A, jnp.array([0, -l1 - l2], p.mean.dtype))
        return saturating_moments(tip, width=self.cost_width, smoothing=smoothing)

    def terminal(self, x: Float[Array, "6"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """Tip within `solved_distance` of its target and slower than `solved_speed` for the whole last second."""
        distances = jnp.linalg.norm(jax.vmap(self.tip_offset)(trajectory.xs), axis=-1)
        speeds = jnp.linalg.norm(jax.vmap(self.tip_velocity)(trajectory.xs), axis=-1)
        holds = (distances < self.solved_distance) & (speeds < self.solved_speed) & trajectory.alive
        return holds_at_end(holds, seconds=1.0, dt=self.dt)

    def tip_offset(self, x: Float[Array, "6"]) -> Float[Array, "2"]:
        """Position of the tip relative to its target (upright over the middle of the rail): right and up, in m."""
        position, _, angle1, angle2, _, _ = x
        right = position + self.length1 * jnp.sin(angle1) + self.length2 * jnp.sin(angle2)
        return jnp.stack([right, -self.length1 * (jnp.cos(angle1) + 1) - self.length2 * (jnp.cos(angle2) + 1)])

    def tip_velocity(self, x: Float[Array, "6"]) -> Float[Array, "2"]:
        """The velocity of the tip: right and up, in m/s."""
        _, velocity, angle1, angle2, spin1, spin2 = x
        along1, along2 = self.length1 * spin1, self.length2 * spin2
        right = velocity + along1 * jnp.cos(angle1) + along2 * jnp.cos(angle2)
        return jnp.stack([right, along1 * jnp.sin(angle1) + along2 * jnp.sin(angle2)])
