"""A task whose reward and end are coordinates of the state, put there by the simulator that knows them.

States are x = [s; r; done]: r is the reward of the step that led to s; done is 0 while the episode lasts, 1 in the
state that ended it, 2 from then on (`forethought.dynamics.mujoco`).  An episode is over where done is 2, one step after
the state that ended it, so that the reward of the step that led there still counts.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Trajectory
from forethought.tasks.function_task import FunctionTask
from forethought.tasks.wrapped_task import WrappedTask

Reset = Callable[[int], np.ndarray]  # reset(seed) -> the first state [n], on the host


class SimulatedTask(WrappedTask):
    """What a simulator's episode wants: the cost and the termination of `base` where it has them, else those carried.

    `carried`: states are [s; r; done]; the base task's functions see s only.
    """

    base: FunctionTask
    size: int = eqx.field(static=True)  # coordinates of s
    carried: bool = eqx.field(static=True)
    reset: Reset = eqx.field(static=True)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """The simulator's own reset, seeded by `key`."""
        seed = jr.randint(key, (), 0, np.iinfo(np.int32).max)
        shape = jax.ShapeDtypeStruct((self.size + 2 * self.carried,), jnp.result_type(float))
        read = lambda seed: np.asarray(self.reset(int(seed)), shape.dtype)  # noqa: E731
        return jax.pure_callback(read, shape, seed, vmap_method="sequential")

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The base task's, or minus the reward of the step that led to `x`."""
        return -x[-2] if self.base.cost_function is None else self.base.cost(x[: self.size], u, t)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Likewise for the last state."""
        return -x[-2] if self.base.cost_function is None else self.base.final_cost(x[: self.size])

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """Whether the episode is over in `x`."""
        if self.base.termination_function is not None:
            return self.base.terminal(x[: self.size])
        return x[-1] > 1.5 if self.carried else jnp.zeros((), bool)

    def solved(self, trajectory: Trajectory) -> None:
        """None: there is no test of its own."""
        del trajectory
