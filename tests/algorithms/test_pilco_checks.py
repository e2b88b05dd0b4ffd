"""The sentences of PILCO about assumptions that a problem does not meet, one at a time."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.algorithms.pilco_checks import unmet_assumptions
from forethought.core import Gaussian, Transition
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.models.gp.process import GP, condition
from forethought.policies.prediction import PredictedTrajectory
from forethought.tasks.cartpole_swing_up import CartPoleSwingUp

T = 6
SPACE = StateSpace(4, angles=(2,))


def gp(rows=20, *, lengthscale=3.0, noise=0.01):
    z = np.random.default_rng(0).normal(size=(rows, 6))
    ones = np.ones(4)
    hypers = {"lengthscale": np.full((4, 6), lengthscale), "signal": ones, "noise": noise * ones, "offset": 0 * ones}
    return LearnedDynamics(condition(z, z[:, :4], **hypers, dtype=jnp.float32), SPACE)


def predicted(angles, *, std=0.02, cost=None):
    """States at these angles, else at rest, and the task's expected cost of them."""
    mean = np.zeros((T + 1, 4), np.float32)
    mean[:, 2] = angles
    states = jax.vmap(Gaussian)(jnp.asarray(mean), jnp.broadcast_to(std**2 * jnp.eye(4), (T + 1, 4, 4)))
    actions = jax.vmap(Gaussian)(jnp.zeros((T, 1)), jnp.zeros((T, 1, 1)))
    task = CartPoleSwingUp()
    if cost is None:
        cost = jax.vmap(lambda p: task.cost_moments(p, jnp.array(0))[0])(states)
    return PredictedTrajectory(states, actions, jnp.asarray(cost), jnp.full(T + 1, 0.01))


def trial(cost, steps=T):
    flags = np.zeros(steps, bool)
    return Transition(
        np.zeros((steps, 4)), np.zeros((steps, 1)), np.zeros((steps, 4)), np.full(steps, -cost), flags, flags
    )


SWING = np.linspace(0, np.pi, T + 1)
GOOD = {
    "dynamics": gp(),
    "model": GP(),
    "task": CartPoleSwingUp(),
    "start": Gaussian(jnp.zeros(4), 0.01 * jnp.eye(4)),
    "upcoming": predicted(SWING),
    "highest_cost": 1.0,
    "predicted": predicted(SWING, cost=np.full(T + 1, 0.5)),
    "trial": trial(0.52),
}


def notes(**changed):
    return unmet_assumptions(**(GOOD | changed))


def test_a_problem_that_meets_all_assumptions_has_no_notes():
    assert notes() == ()
    assert notes(predicted=None, upcoming=None, trial=trial(0.9)) == ()  # the first rounds
    balanced = predicted(np.full(T + 1, np.pi), std=0.001)  # flat, and at the lowest cost
    assert notes(upcoming=balanced) == ()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dynamics": gp(320)}, "320 rows of data: .* 10 times"),
        ({"dynamics": gp(40), "model": GP(max_exact=30)}, "40 rows .*exactly \\(30, --model.max-exact.* recent"),
        (
            {"start": Gaussian(jnp.zeros(4), jnp.diag(jnp.array([0.01, 0.01, 0.49, 0.01])))},
            "x\\[2\\] starts .* 0.7 rad.*--objective.initial-components",
        ),
        ({"dynamics": gp(lengthscale=0.05)}, "initial states is 2 lengthscales"),
        (
            {"upcoming": predicted(np.linspace(0, 0.1, T + 1))},
            "flat along the whole prediction \\(0.99.*--objective.cost-smoothing",
        ),
        (
            {"upcoming": predicted(SWING, std=0.6)},
            "at step 5 the predicted mean would cost .* too uncertain for so narrow",
        ),
        ({"upcoming": predicted(SWING), "dynamics": gp(noise=0.6)}, "noise alone raises the lowest cost"),
        (
            {"predicted": predicted(SWING, cost=np.full(T + 1, 0.2)), "trial": trial(0.9)},
            "cost 5.4 .* expected 1.2 ± 0.06",
        ),
    ],
)
def test_each_cause_has_its_sentence(changed, words):
    (sentence,) = notes(**changed)
    assert re.search(words, sentence), sentence


def test_the_choice_of_recent_rows_is_not_commented_on():
    assert notes(dynamics=gp(40), model=GP(max_exact=30, sparse="recent")) == ()


def test_many_coordinates():
    from forethought.algorithms.pilco_checks import _dimension

    assert _dimension(StateSpace(10)) is None
    assert "12 coordinates" in _dimension(StateSpace(12))
