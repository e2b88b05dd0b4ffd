"""Experience: transitions and trajectories."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

if TYPE_CHECKING:
    AnyArray = Any  # type checkers accept JAX and NumPy arrays alike; tests check the actual types
else:
    AnyArray = Array | np.ndarray  # episodes are recorded on the host as NumPy arrays


class Transition(eqx.Module):
    """One step of experience; with a leading axis [T] an episode, in order.

    Observations `x`, `x_next` have any one shape and dtype: [n] real numbers, an image, an integer.  Actions `u` are
    [m] real numbers or one integer [].  All six have the same leading axes.
    `terminated`: `x_next` is a terminal state.  `truncated`: a time limit ended the episode in a state that is not
    terminal.
    """

    x: Shaped[AnyArray, "..."]
    u: Shaped[AnyArray, "..."]
    x_next: Shaped[AnyArray, "..."]
    reward: Float[AnyArray, "*b"]
    terminated: Bool[AnyArray, "*b"]
    truncated: Bool[AnyArray, "*b"]

    def __check_init__(self) -> None:
        """Check that the leading axes agree, and that the two observations have the same shape."""
        b, x, u = (np.shape(leaf) for leaf in (self.reward, self.x, self.u))
        if x != np.shape(self.x_next) or x[: len(b)] != b or u[: len(b)] != b:
            raise ValueError(
                f"Transition: x {x}, x_next {np.shape(self.x_next)} and u {u} must begin with the axes of the reward, "
                f"{b}, and x and x_next must have one shape."
            )

    def __len__(self) -> int:
        """The number of steps in an episode."""
        return self.reward.shape[0]


class Trajectory(eqx.Module):
    """States, actions and costs over a horizon of T steps; `costs[T]` is the final cost.

    `alive[t]` is False from the first terminal state on: costs there are zero.
    """

    xs: Shaped[Array, "{us.shape[0]}+1 *n"]
    us: Shaped[Array, "T *m"]
    costs: Float[Array, "T+1"]
    alive: Bool[Array, "T+1"]

    @staticmethod
    def of_episode(episode: Transition) -> "Trajectory":
        """The trajectory of a recorded episode (leading axis [T]); its final cost is zero."""
        xs = jnp.concatenate([episode.x, episode.x_next[-1:]])
        costs = jnp.append(-episode.reward, 0)
        return Trajectory(xs, jnp.asarray(episode.u), costs, jnp.append(True, ~episode.terminated))
