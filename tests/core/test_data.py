import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import Trajectory, Transition


def episode(steps, seed=0, n=3, m=2, terminated=False, dtype=np.float32):
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(steps + 1, n)).astype(dtype)
    ends = np.zeros(steps, bool)
    ends[-1] = True
    return Transition(
        xs[:-1],
        rng.normal(size=(steps, m)).astype(dtype),
        xs[1:],
        rng.normal(size=steps).astype(dtype),
        ends if terminated else np.zeros(steps, bool),
        np.zeros(steps, bool) if terminated else ends,
    )


@pytest.mark.parametrize("terminated", [False, True])
def test_trajectory_of_an_episode(terminated):
    one = episode(6, terminated=terminated)
    trajectory = Trajectory.of_episode(one)
    assert trajectory.xs.shape == (7, 3) and trajectory.us.shape == (6, 2)
    np.testing.assert_array_equal(trajectory.xs[:-1], one.x)
    np.testing.assert_array_equal(trajectory.xs[-1], one.x_next[-1])
    np.testing.assert_array_equal(trajectory.costs, np.append(-one.reward, 0))
    np.testing.assert_array_equal(trajectory.alive, [True] * 6 + [not terminated])
    assert len(one) == 6


def test_lengths_must_agree():
    with pytest.raises(TypeError):
        Trajectory(jnp.zeros((5, 2)), jnp.zeros((5, 1)), jnp.zeros(4), jnp.ones(5, bool))
