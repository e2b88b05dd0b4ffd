"""One-step predictions of real steps, and dynamics that are recalibrated by them."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from forethought.core import Dynamics, Transition
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.models.recalibration import Recalibrated, temperatures


def one_step_predictions(
    dynamics: Dynamics, space: StateSpace, steps: Transition, *, start: int = 0
) -> tuple[Float[np.ndarray, "T n"], Float[np.ndarray, "T n"]]:
    """Residuals (real minus predicted next state, angles wrapped) and predicted standard deviations of T steps.

    Args:
        dynamics: the model.
        space: of the states.
        steps: consecutive real steps, leading axis [T].
        start: step of the episode at which they begin.
    """
    count = len(steps)
    capacity = 1 << max(5, (count - 1).bit_length())  # episodes of any length share few compilations
    padded = jax.tree.map(lambda a: np.resize(np.asarray(a), (capacity, *a.shape[1:])), steps)
    residual, std = _predict(dynamics, space, padded, start + jnp.arange(capacity))
    return np.asarray(residual)[:count], np.asarray(std)[:count]


@eqx.filter_jit
def _predict(dynamics: Dynamics, space: StateSpace, steps: Transition, t: Int[Array, "T"]) -> tuple[Array, Array]:
    extra = getattr(dynamics, "n_extra", 0)  # the reward, where it is learned

    def one(step: Transition, t: Int[Array, ""]) -> tuple[Array, Array]:
        y = dynamics(jnp.pad(step.x, (0, extra)), step.u, t)
        return space.difference(step.x_next, y.mean[: space.size]), y.std[: space.size]

    return jax.vmap(one)(steps, t)


def recalibrated(dynamics: LearnedDynamics, space: StateSpace, episodes: Sequence[Transition]) -> LearnedDynamics:
    """The dynamics with a temperature for each coordinate, fitted to episodes that the model has not seen.

    Raises:
        ValueError: positions are integrated from velocities, so that not every coordinate has its own output.
    """
    if dynamics.space.velocities:
        raise ValueError("recalibrated needs dynamics in which every coordinate is learned.")
    found = [one_step_predictions(dynamics, space, episode) for episode in episodes]
    residual, std = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
    tau = jnp.pad(jnp.asarray(temperatures(residual, std), std.dtype), (0, dynamics.n_extra), constant_values=1)
    return eqx.tree_at(lambda d: d.model, dynamics, Recalibrated(dynamics.model, tau))
