"""Batches end where single solves do, whoever is slow."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import Problem, Result, UsageError
from forethought.dynamics.pendulum import Pendulum
from forethought.planning import batch
from forethought.planning.batch import solve_batch
from forethought.planning.ilqr import ILQR, solve, start
from forethought.tasks.pendulum_swing_up import PendulumSwingUp


def test_a_batch_is_its_problems_one_by_one(monkeypatch):
    sizes = []
    advance = batch._advance
    monkeypatch.setattr(
        batch, "_advance", lambda s, p, lanes, c: sizes.append(len(lanes.done)) or advance(s, p, lanes, c)
    )
    with jax.enable_x64(True):
        problem, settings = Problem(Pendulum(), PendulumSwingUp()), ILQR(horizon=15, starts=1)
        x0s = jnp.stack([jnp.linspace(2.0, 4.0, 7), jnp.linspace(-1.0, 2.0, 7)], axis=1)
        plans, steps = solve_batch(settings, problem, x0s, lanes=4, chunk=3)
        one = eqx.filter_jit(lambda x0: solve(settings, problem, start(settings, problem, x0, jnp.zeros((15, 1))), 500))
        for i, x0 in enumerate(x0s):
            alone = one(x0)
            np.testing.assert_allclose(plans.cost[i], alone.cost, rtol=1e-9)
            np.testing.assert_allclose(plans.xs[i, 0], x0)
            assert steps[i] == alone.steps and plans.result[i] == Result.converged
        assert len(set(steps.tolist())) > 1, "the test wants problems of unlike difficulty"
        assert set(sizes) <= {4, 2, 1} and sizes == sorted(sizes, reverse=True)


def test_lanes_are_a_power_of_two():
    with pytest.raises(UsageError, match="power of two"):
        solve_batch(ILQR(), Problem(Pendulum(), PendulumSwingUp()), jnp.zeros((3, 2)), lanes=12)
