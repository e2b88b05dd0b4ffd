"""What a saved state imagines is what the search expected, though the state is kept in float32."""

import dataclasses

import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.pilco import PILCO
from forethought.envs.shipped import shipped
from forethought.envs.system_env import with_observation_noise
from forethought.models.gp.process import GP


@pytest.mark.slow
def test_the_state_imagines_what_the_search_expected():
    env = with_observation_noise(shipped("CartPoleSwingUp-v0"), 0.01)
    pilco = PILCO(model=GP(restarts=1), basis=5, newcomers=1, scouting=3, survivors=1, evaluations=5, first_horizon=1.0)
    pilco = dataclasses.replace(pilco, trial_steps=10)
    state = pilco.init(env, key=jr.key(0))
    for i in range(2):
        state, info = pilco.iterate(state, env, key=jr.key(i))
    assert info.notes == () or all(isinstance(note, str) for note in info.notes)
    seen = pilco.imagined(state, env, key=jr.key(0))
    assert seen.cost.dtype == np.float64 and len(seen.cost) == env.task.horizon + 1
    # the initial states' moments are of other draws
    assert seen.cost.sum() == pytest.approx(float(state.predicted), rel=0.01)
