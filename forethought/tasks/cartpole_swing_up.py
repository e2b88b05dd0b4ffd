"""Cart-pole swing-up: from hanging to balanced over the middle of the rail."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Gaussian, Trajectory
from forethought.core.moments import affine, saturating_moments, with_sines
from forethought.tasks.costs import holds_at_end, never, saturating


class CartPoleSwingUp(eqx.Module):
    """Bring the tip of the pole to its target above the middle of the rail, and keep it there.

    States are those of `forethought.dynamics.cartpole`.  The cost saturates with the distance of the tip from that
    target; actions cost nothing.
    Source: Deisenroth & Rasmussen, PILCO (2011), and the authors' released scenario.
    """

    horizon: int = 40  # steps
    dt: float = 0.1  # s per step
    force_limit: float = 10.0  # N
    start_std: float = 0.1  # standard deviation of each coordinate of the initial state, around hanging at rest
    pole_length: float = 0.5  # m
    cost_width: float = 0.25  # m, distance of the tip from its target at which the cost is 0.39
    solved_distance: float = 0.25  # m, largest distance of the tip from its target during the last second
    solved_speed: float = 0.5  # m/s, largest speed of the tip during the last second

    @property
    def action_space(self) -> Box:
        """Force within its limit, in N."""
        return Box.symmetric(jnp.array([self.force_limit]), ["force (N)"])

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "4"]:
        """A random state near hanging at rest."""
        return self.start_std * jr.normal(key, (4,))

    def cost(self, x: Float[Array, "4"], u: Float[Array, "1"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The saturating cost of the distance of the tip from its target, in [0, 1)."""
        del u, t
        return self.final_cost(x)

    def final_cost(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """The cost of the last state: as `cost`."""
        return saturating(jnp.sum(self.tip_offset(x) ** 2), width=self.cost_width)

    def cost_moments(
        self, p: Gaussian, t: Int[Array, ""], *, smoothing: Float[Array, ""] | float = 0.0
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean and variance of the cost for `[x; u] ~ p`, with the tip approximated by a Gaussian; `smoothing` in m."""
        del t
        waves = with_sines(Gaussian(p.mean[:4], p.cov[:4, :4]), (2,))  # [x; sin; cos]
        length = self.pole_length
        A = jnp.array([[1.0, 0, 0, 0, length, 0], [0, 0, 0, 0, 0, -length]], p.mean.dtype)
        tip = affine(waves, A, jnp.array([0, -length], p.mean.dtype))
        return saturating_moments(tip, width=self.cost_width, smoothing=smoothing)

    def terminal(self, x: Float[Array, "4"]) -> Bool[Array, ""]:
        """False: only the time limit ends an episode."""
        del x
        return never()

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""]:
        """Tip within `solved_distance` of its target and slower than `solved_speed` for the whole last second.

        A pole that swings through upright is five times faster and leaves the disc in a third of a second.  As in the
        cost, only the tip counts: the cart may move, which balancing requires.
        """
        distances = jnp.linalg.norm(jax.vmap(self.tip_offset)(trajectory.xs), axis=-1)
        speeds = jnp.linalg.norm(jax.vmap(self.tip_velocity)(trajectory.xs), axis=-1)
        holds = (distances < self.solved_distance) & (speeds < self.solved_speed) & trajectory.alive
        return holds_at_end(holds, seconds=1.0, dt=self.dt)

    def tip_offset(self, x: Float[Array, "4"]) -> Float[Array, "2"]:
        """Position of the tip relative to its target (upright over the middle of the rail): right and up, in m."""
        position, _, angle, _ = x
        return jnp.stack([position + self.pole_length * jnp.sin(angle), -self.pole_length * (jnp.cos(angle) + 1)])

    def tip_velocity(self, x: Float[Array, "4"]) -> Float[Array, "2"]:
        """The velocity of the tip: right and up, in m/s."""
        _, velocity, angle, spin = x
        return jnp.stack(
            [velocity + self.pole_length * jnp.cos(angle) * spin, self.pole_length * jnp.sin(angle) * spin]
        )
