"""A reference to track: the value that a task's cost compares with the state at every step."""

from typing import Literal, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

After = Literal["hold", "error"]


class Reference(eqx.Module):
    """Values r_t [k] for the steps t = 0 ... N - 1, called with a step index.

    At step t, a planner with horizon H uses the values of the steps t to t + H, which may be after the end of the
    episode.  `after` defines these values: "hold" repeats the last value, "error" raises an error that names the step.
    """

    values: Float[Array, "N k"]
    after: After = eqx.field(static=True, default="hold")

    def __check_init__(self) -> None:
        """Check that there is at least one value, and that `after` is "hold" or "error"."""
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
                f"The reference has values for the steps 0 to {N - 1} only, but a later step was requested; "
                "give it the episode's horizon plus the planner's, or after=\"hold\".",
            )
        return self.values[jnp.clip(t, 0, N - 1)]
