"""A task whose reward and termination are coordinates of the state, computed by a simulator.

States are x = [s; r; done]: r is the reward of the step that led to x, and done is 1 from the state that ended the
episode on, else 0 (`forethought.dynamics.mujoco.mujoco_dynamics`).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Trajectory, UsageError
from forethought.tasks.function_task import FunctionTask
from forethought.tasks.wrapped_task import WrappedTask

Reset = Callable[[int], np.ndarray]  # reset(seed) -> the initial state [n], on the host


class SimulatedTask(WrappedTask):
    """The task of a simulated episode: cost and termination of `base` if defined, else those of the simulator.

    `simulated`: states are [s; r; done]; the functions of the base task take s only.
    """

    base: FunctionTask
    size: int = eqx.field(static=True)  # number of coordinates of s
    simulated: bool = eqx.field(static=True)
    reset: Reset = eqx.field(static=True)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """The simulator's own reset, seeded by `key`."""
        seed = jr.randint(key, (), 0, np.iinfo(np.int32).max)
        shape = jax.ShapeDtypeStruct((self.size + 2 * self.simulated,), jnp.result_type(float))
        read = lambda seed: np.asarray(self.reset(int(seed)), shape.dtype)  # noqa: E731
        return jax.pure_callback(read, shape, seed, vmap_method="sequential")

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The base task's cost; raises `UsageError` if the reward is simulated: it depends on the next state."""
        if self.base.cost_function is None:
            raise UsageError("A simulated reward is known only after the step: use step_cost(task, x, u, x_next, t).")
        return self.base.cost(x[: self.size], u, t)

    def step_cost(
        self, x: Float[Array, "n"], u: Float[Array, "m"], x_next: Float[Array, "n"], t: Int[Array, ""]
    ) -> Float[Array, ""]:
        """The base task's cost, or the negative simulated reward of the step."""
        return -x_next[-2] if self.base.cost_function is None else self.cost(x, u, t)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """The base task's final cost: zero."""
        return self.base.final_cost(x[: self.size])

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """Whether `x` is terminal: by the base task's termination function, else as simulated, else False."""
        if self.base.termination_function is not None:
            return self.base.terminal(x[: self.size])
        return x[-1] > 0.5 if self.simulated else jnp.zeros((), bool)

    def constraint(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, "k"]:
        """The base task's constraints, if it is `constrained`."""
        return self.base.constraint(x[: self.size], u, t)

    def final_constraint(self, x: Float[Array, "n"]) -> Float[Array, "j"]:
        """The base task's constraints of the last state, if it is `constrained`."""
        return self.base.final_constraint(x[: self.size])

    def solved(self, trajectory: Trajectory) -> None:
        """None: the task has no test of success."""
        del trajectory
