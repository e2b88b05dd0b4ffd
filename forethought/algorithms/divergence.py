"""Whether the predictions of a newly fitted model stay finite within the planning horizon."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from forethought.core import Planner, Problem, Regression, Transition
from forethought.planning.particles import Propagation, expected_cost

TEST_SEQUENCES = 8  # action sequences that a new model is tested on
TEST_HORIZON = 20  # steps of each, where the planner has no horizon


def divergence_notes(
    problem: Problem, planner: Planner, model: Regression, episode: Transition, *, learn_reward: bool
) -> tuple[str, ...]:
    """A warning where the predictions for the actions of `episode` diverge within the planner's horizon."""
    horizon = getattr(planner, "horizon", None) or TEST_HORIZON
    # On the host: episodes differ in length, and each length would compile these again.
    x0 = jnp.asarray(np.pad(np.asarray(episode.x[0]), (0, int(learn_reward))))
    starts = np.linspace(0, len(episode) - 1, TEST_SEQUENCES).astype(int)
    us = jnp.asarray(np.asarray(episode.u)[(starts[:, None] + np.arange(horizon)) % len(episode)])
    particles: int = getattr(planner, "particles", getattr(model, "members", 1))
    propagation: Propagation = getattr(planner, "propagation", "ts-inf")
    cost = _expected_cost(problem, x0, us, particles=particles, propagation=propagation)
    diverged = int(jnp.sum(~jnp.isfinite(cost)))
    if 2 * diverged <= TEST_SEQUENCES:
        return ()
    return (
        f"Model predictions diverge: within {horizon} steps they are not finite for {diverged} of the "
        f"{TEST_SEQUENCES} action sequences tested, so plans cannot be compared. More data, a shorter planning "
        "horizon or other units of the observations may help.",
    )


@eqx.filter_jit
def _expected_cost(problem: Problem, x0, us, *, particles: int, propagation: Propagation) -> Float[Array, "S"]:
    return expected_cost(problem, x0, us, particles=particles, propagation=propagation, key=jr.key(0))
