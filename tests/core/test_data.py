import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core import Buffer, Trajectory, Transition


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


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5))
@settings(max_examples=5, deadline=None)
def test_a_buffer_holds_exactly_what_was_put_in_in_order(lengths):
    buffer, episodes = Buffer.empty(3, 2, capacity=4), [episode(steps, seed) for seed, steps in enumerate(lengths)]
    for one in episodes:
        buffer = buffer.append(one)
    total = sum(lengths)
    expected = jax.tree.map(lambda *a: np.concatenate(a), *episodes)
    jax.tree.map(np.testing.assert_array_equal, buffer.rows(), expected)
    assert int(buffer.size) == total == int(buffer.mask.sum())
    np.testing.assert_array_equal(buffer.episode[:total], np.repeat(np.arange(len(lengths)), lengths))
    assert all(not np.asarray(leaf[total:]).any() for leaf in jax.tree.leaves(buffer.data)), "padding is zero"


def test_capacity_doubles_so_shapes_change_log_n_times():
    buffer, capacities = Buffer.empty(3, 2, capacity=8), []
    for _ in range(30):
        buffer = buffer.append(episode(10))
        capacities.append(buffer.capacity)
    assert sorted(set(capacities)) == [16, 32, 64, 128, 256, 512]
    assert Buffer.empty(3, 2, capacity=8).append(episode(100)).capacity == 128
    assert Buffer.empty(3, 2, capacity=8).append(episode(8)).capacity == 8


def test_appending_leaves_the_old_buffer_as_it_was():
    before = Buffer.empty(3, 2).append(episode(5))
    rows = before.rows()
    before.append(episode(7, seed=1))
    jax.tree.map(np.testing.assert_array_equal, before.rows(), rows)
    assert int(before.size) == 5


def test_precision_and_flags_are_kept(dtype):
    buffer = Buffer.empty(3, 2, dtype=dtype).append(episode(5, terminated=True, dtype=np.dtype(dtype)))
    assert buffer.data.x.dtype == buffer.data.reward.dtype == dtype
    assert buffer.data.terminated.dtype == bool
    rows = buffer.rows()
    assert rows.terminated[-1] and not rows.truncated.any() and not rows.terminated[:-1].any()


def test_rows_of_the_wrong_width_are_refused():
    with pytest.raises((ValueError, TypeError)):
        Buffer.empty(3, 2).append(episode(5, n=4))


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
