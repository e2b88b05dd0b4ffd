"""A reference to track: what a task's cost compares the state with at every step."""

from typing import Literal, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

After = Literal["hold", "error"]


class Reference(eqx.Module):
    """Values r_t [k] for the steps t = 0 ... N - 1, called with a step index.

    A planner with horizon H asks at step t for the steps t to t + H, also beyond the end of the episode.  `after` says
    what it gets there: "hold" is the last value, "error" stops with an error that names the step.
    """

    values: Float[Array, "N k"]
    after: After = eqx.field(static=True, default="hold")

    def __check_init__(self) -> None:
        """There is at least one value, and `after` is known."""
        if self.after not in get_args(After):
            raise ValueError(f'Reference.after must be "hold" or "error", got "{self.after}".')
        if not self.values.shape[0]:
            raise ValueError("Reference.values needs at least 1 row, got 0.")

    def __call__(self, t: Int[Array, ""] | int) -> Float[Array, "k"]:
        """The value for step `t`.

        Raises:
            RuntimeError: `t` is beyond the last value and `after` is "error".
        """
        N, t = self.values.shape[0], jnp.asarray(t)
        if self.after == "error":
            t = eqx.error_if(
                t,
                t >= N,
                f"The reference has values for the steps 0 to {N - 1} only, but a later one was asked for; "
                "give it the episode's horizon plus the planner's, or after=\"hold\".",
            )
        return self.values[jnp.clip(t, 0, N - 1)]
