import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core import Buffer, Transition
from forethought.runs import checkpoint

from .test_data import episode


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5))
@settings(max_examples=5, deadline=None)
def test_a_growing_buffer_holds_all_rows_in_order(lengths):
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
    for before in (Buffer.empty(3, 2).append(episode(5)), Buffer.like(episode_row(), 6, ring=True).append(episode(5))):
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


def episode_row():
    return jax.tree.map(lambda leaf: leaf[0], episode(1))


def frames(count, first=0):
    """Rows of every kind of leaf, numbered from `first`."""
    number = np.arange(first, first + count)
    image = np.broadcast_to(number[:, None, None, None], (count, 4, 3, 2)).astype(np.uint8)
    return {
        "image": image,
        "action": number.astype(np.int32),
        "reward": number.astype(np.float32),
        "end": number % 2 == 0,
    }


EXAMPLE = jax.tree.map(lambda leaf: leaf[0], frames(1))


def held(buffer):
    return np.asarray(buffer.rows()["action"]).tolist()


@given(st.lists(st.integers(0, 25), max_size=8), st.sampled_from([1, 5, 8]))
@settings(max_examples=30, deadline=None)
def test_a_ring_holds_the_newest_rows_in_order(counts, capacity):
    buffer, done = Buffer.like(EXAMPLE, capacity, ring=True), 0
    for count in counts:
        buffer, done = buffer.append(frames(count, done)), done + count
        assert buffer.capacity == capacity and int(buffer.size) == min(done, capacity) == int(buffer.mask.sum())
        assert held(buffer) == list(range(max(0, done - capacity), done))
    for leaf, example in zip(jax.tree.leaves(buffer.rows()), jax.tree.leaves(EXAMPLE), strict=True):
        assert leaf.dtype == example.dtype


def test_a_ring_inside_a_compiled_loop_holds_what_it_holds_on_the_host():
    rows = jax.tree.map(lambda leaf: leaf.reshape(10, 3, *leaf.shape[1:]), frames(30))

    @jax.jit
    def run(buffer):
        return jax.lax.scan(lambda buffer, some: (buffer.append(some), None), buffer, rows)[0]

    compiled = run(Buffer.like(EXAMPLE, 8, ring=True))
    on_host = Buffer.like(EXAMPLE, 8, ring=True)
    for i in range(10):
        on_host = on_host.append(frames(3, 3 * i))
    jax.tree.map(np.testing.assert_array_equal, compiled, on_host)
    assert held(compiled) == list(range(22, 30))


def test_rows_of_a_mask_are_appended_to_a_ring():
    buffer = Buffer.like(EXAMPLE, 5, ring=True)
    append = jax.jit(lambda buffer, rows, where: buffer.append(rows, where=where))
    buffer = append(buffer, frames(4), np.array([True, False, True, False]))
    assert held(buffer) == [0, 2]
    buffer = append(buffer, frames(4, 4), np.array([False, True, True, True]))
    assert held(buffer) == [0, 2, 5, 6, 7]
    buffer = append(buffer, frames(4, 8), np.array([False, False, False, True]))
    assert held(buffer) == [2, 5, 6, 7, 11]


def test_episodes_are_numbered_in_turn_or_as_told():
    for ring in (False, True):
        buffer = Buffer.like(EXAMPLE, 16, ring=ring).append(frames(2)).append(frames(3, 2))
        buffer = buffer.append(frames(1, 5), episode=1).append(frames(2, 6))
        assert np.asarray(buffer.episode)[:8].tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
        buffer = buffer.append(frames(2, 8), episode=np.array([7, 9]))
        assert np.asarray(buffer.episode)[8:10].tolist() == [7, 9]


@pytest.mark.parametrize("ring", [False, True])
def test_samples_are_uniform_over_the_rows_held(ring):
    buffer = Buffer.like(EXAMPLE, 16, ring=ring).append(frames(12))
    if ring:
        buffer = buffer.append(frames(10, 12))  # rows 6 to 21 are left
    drawn = jax.jit(lambda buffer, key: buffer.sample(20_000, key=key))(buffer, jr.key(0))
    numbers, counts = np.unique(drawn["action"], return_counts=True)
    assert numbers.tolist() == held(buffer)
    expected = 20_000 / len(numbers)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 40  # 99.9% quantile at 15 degrees of freedom: 37.7
    assert drawn["image"].dtype == jnp.uint8 and drawn["image"].shape == (20_000, 4, 3, 2)
    np.testing.assert_array_equal(drawn["image"][:, 0, 0, 0], drawn["action"])


def test_many_lengths_share_few_programs():
    buffer = Buffer.like(EXAMPLE, 64, ring=True)
    from forethought.core import buffer as module

    compiled = module._overwrite_compiled._cached._cache_size
    before = compiled()
    for count in range(1, 60):
        buffer = buffer.append(frames(count))
    assert compiled() - before <= 7


@pytest.mark.parametrize("ring", [False, True])
def test_rows_that_do_not_fit_are_refused(ring):
    buffer = Buffer.like(EXAMPLE, 4, ring=ring)
    for change, said in (
        ({"image": np.zeros((2, 4, 3), np.uint8)}, r"image.*shape \[2, 4, 3\].*\[2, 4, 3, 2\]"),
        ({"reward": np.zeros((2, 1), np.float32)}, r"reward.*shape \[2, 1\]"),
        ({"reward": np.zeros(3, np.float32)}, r"shape"),
        ({"action": np.array([0.5, 1.5])}, r"action.*float.*int32"),
        ({"image": np.zeros((2, 4, 3, 2), np.float32)}, r"image.*float32.*uint8"),
        ({"more": np.zeros(2)}, r"structure"),
    ):
        with pytest.raises(ValueError, match=said):
            buffer.append({**frames(2), **change})
    with pytest.raises(ValueError, match="empty"):
        buffer.sample(2, key=jr.key(0))
    with pytest.raises(ValueError, match="capacity"):
        Buffer.like(EXAMPLE, 0, ring=ring)
    with pytest.raises((ValueError, TypeError)):
        Buffer.empty(3, 2).append(episode(5, n=4))


def test_only_a_ring_selects_and_it_has_room_for_all_rows_of_a_compiled_append():
    with pytest.raises(ValueError, match="where.*ring"):
        Buffer.like(EXAMPLE, 4).append(frames(2), where=np.ones(2, bool))
    with pytest.raises(ValueError, match="5 rows at once do not fit a ring of 4"):
        Buffer.like(EXAMPLE, 4, ring=True).append(frames(5), where=np.ones(5, bool))


@pytest.mark.parametrize("ring", [False, True])
def test_images_pass_through_a_checkpoint(tmp_path, ring):
    """An interrupted run goes on with the same rows, in the same places, of the same dtypes."""
    buffer = Buffer.like(EXAMPLE, 8, ring=ring).append(frames(6)).append(frames(5, 6))
    checkpoint.save(tmp_path, {"buffer": buffer}, checkpoint.TrainingProgress(1), "settings")
    skeleton = {"buffer": Buffer.like(EXAMPLE, 8, ring=ring)}
    restored = checkpoint.load(tmp_path, 1, skeleton, "settings")[0]["buffer"]
    assert restored.data["image"].dtype == jnp.uint8
    for one, other in ((buffer, restored), (buffer.append(frames(3, 11)), restored.append(frames(3, 11)))):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        jax.tree.map(np.testing.assert_array_equal, one, other)
        assert held(one) == held(other)


def test_transitions_of_any_shape():
    row = Transition(*map(jnp.asarray, (np.zeros((4, 4), np.uint8), 1, np.zeros((4, 4), np.uint8), 0.0, False, False)))
    assert Buffer.like(row, 4).data.u.dtype == jnp.int32
    with pytest.raises(ValueError, match="one shape"):
        Transition(row.x, row.u, row.x[0], row.reward, row.terminated, row.truncated)
    with pytest.raises(ValueError, match="axes of the reward"):
        Transition(row.x, row.u, row.x, *(jnp.zeros(3, kind) for kind in (float, bool, bool)))
