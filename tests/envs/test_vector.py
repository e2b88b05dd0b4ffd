import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from forethought.core import EnvironmentFailure, UsageError
from forethought.envs import GymEnv, collect_vector
from forethought.envs.vector import VectorRun

from .toy_envs import A, B, Linear, Misbehaving, limited

MODES = list(AutoresetMode)
LENGTHS = (3, 5, 8)


class Counting(eqx.Module):
    """Random actions of magnitude 1 to 2, signed; tells in its memory and its sign how long it has been acting."""

    scale: jax.Array

    def init(self, x0, *, key):
        return jnp.zeros((), jnp.int32), x0

    def act(self, x, t, carry, *, key):
        count, x0 = carry
        right = (count == t) & ((t > 0) | (x == x0).all())
        u = self.scale * (1 + jr.uniform(key, (1,)))
        return jnp.where(right, u, 0.0), (count + 1, x0)


RANDOM = Counting(jnp.array(1.0))


def linear_envs(mode, bound=1.0):
    """Three sub-environments that truncate at different times, and terminate where `x[0] > bound`."""
    return SyncVectorEnv([lambda n=n: limited(Linear(bound), n) for n in LENGTHS], autoreset_mode=mode)


def recovered(episodes):
    """`[A B]` by least squares, and the largest residual."""
    x, u, x_next = (np.concatenate([getattr(e, name) for e in episodes]) for name in ("x", "u", "x_next"))
    z = np.hstack([x, u]).astype(float)
    AB, *_ = np.linalg.lstsq(z, x_next.astype(float), rcond=None)
    return AB.T, np.abs(z @ AB - x_next).max()


@pytest.mark.parametrize("mode", MODES)
def test_a_linear_system_is_recovered_exactly(mode):
    envs = linear_envs(mode)
    episodes = collect_vector(envs, RANDOM, key=jr.key(0), steps=300)
    assert sum(map(len, episodes)) in range(300, 303)
    AB, residual = recovered(episodes)
    np.testing.assert_allclose(AB, np.hstack([A, B]), atol=1e-5)
    assert residual < 1e-5
    assert any(e.terminated.any() for e in episodes) and sum(e.truncated.any() for e in episodes) > 10


@pytest.mark.parametrize("mode", MODES)
def test_episodes_are_whole_and_end_once(mode):
    episodes = collect_vector(linear_envs(mode), RANDOM, key=jr.key(1), episodes=20)
    assert len(episodes) == 20
    for episode in episodes:
        np.testing.assert_array_equal(episode.x[1:], episode.x_next[:-1])
        over = episode.terminated | episode.truncated
        assert over[-1] and not over[:-1].any()
        np.testing.assert_array_equal(episode.terminated, episode.x_next[:, 0] > 1)
        assert episode.truncated[-1] == (len(episode) in LENGTHS) or episode.terminated[-1]
        # the controller has a new memory in each episode, else it would not push
        assert (np.abs(episode.u) >= 1).all()


@pytest.mark.parametrize("mode", MODES)
def test_rewards_belong_to_their_steps(mode):
    for episode in collect_vector(linear_envs(mode), RANDOM, key=jr.key(2), episodes=6):
        np.testing.assert_allclose(episode.reward, -(episode.x**2).sum(1) - episode.u[:, 0] ** 2, rtol=1e-5)


def test_a_reset_taken_for_a_step_would_be_seen():
    episodes = collect_vector(linear_envs(AutoresetMode.SAME_STEP), RANDOM, key=jr.key(0), steps=60)
    wrong = eqx.tree_at(lambda e: e.x_next, episodes[0], np.vstack([episodes[0].x_next[:-1], episodes[1].x[:1]]))
    assert recovered([wrong, *episodes[1:]])[1] > 1e-2


def test_the_share_of_each_sub_environment_is_equal():
    never_early = linear_envs(AutoresetMode.NEXT_STEP, bound=np.inf)
    lengths = [len(e) for e in collect_vector(never_early, RANDOM, key=jr.key(0), episodes=7)]
    assert sorted(lengths) == [3, 3, 3, 5, 5, 8, 8]


def test_unfinished_episodes_are_cut():
    episodes = collect_vector(linear_envs(AutoresetMode.NEXT_STEP, bound=np.inf), RANDOM, key=jr.key(0), steps=6)
    assert [len(e) for e in episodes] == [2, 2, 2]
    assert all(e.truncated.tolist() == [False, True] and not e.terminated.any() for e in episodes)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_key_gives_the_same_episodes(mode):
    runs = [collect_vector(linear_envs(mode), RANDOM, key=jr.key(s), steps=30) for s in (3, 3, 4)]
    jax.tree.map(np.testing.assert_array_equal, runs[0], runs[1])
    assert (runs[0][0].x[0] != runs[2][0].x[0]).all()


def test_other_processes():
    envs = gym.vector.AsyncVectorEnv(
        [lambda: limited(Linear(1.0), 4)] * 2, autoreset_mode=AutoresetMode.SAME_STEP, context="spawn"
    )
    try:
        assert recovered(collect_vector(envs, RANDOM, key=jr.key(0), steps=40))[1] < 1e-5
    finally:
        envs.close()


def test_failures_name_the_sub_environment():
    def vector(change):
        return SyncVectorEnv([lambda: limited(Linear()), lambda: limited(Misbehaving(3, change))])

    with pytest.raises(EnvironmentFailure, match="coordinate 0 .* is nan at step 3, in sub-environment 1") as caught:
        collect_vector(vector(lambda x, r: (x * np.nan, r)), RANDOM, key=jr.key(0), steps=20)
    assert len(caught.value.episode) == 2
    with pytest.raises(EnvironmentFailure, match="reward inf in sub-environment 1 at step 3") as caught:
        collect_vector(vector(lambda x, r: (x, np.inf)), RANDOM, key=jr.key(0), steps=20)
    assert len(caught.value.episode) == 2


def test_wrong_use():
    envs = linear_envs(AutoresetMode.NEXT_STEP)
    with pytest.raises(UsageError, match="either steps or episodes"):
        collect_vector(envs, RANDOM, key=jr.key(0))
    envs.metadata = {}
    with pytest.raises(UsageError, match="does not say how it resets.*AutoresetMode.NEXT_STEP"):
        collect_vector(envs, RANDOM, key=jr.key(0), steps=3)


@pytest.mark.parametrize("mode", MODES)
def test_batches_hold_steps_in_order_with_every_seam_marked(mode):
    run = VectorRun(linear_envs(mode), RANDOM, key=jr.key(0))
    for _ in range(2):
        while run.recorded < 40:
            run.step()
        rows = run.batch(40)
        assert len(rows) == 40 and run.recorded == 0
        over = rows.terminated | rows.truncated
        assert over[-1]  # a step may be both: the time limit falls on a terminal state
        np.testing.assert_array_equal(rows.x[1:][~over[:-1]], rows.x_next[:-1][~over[:-1]])
        assert recovered([rows])[1] < 1e-5


def test_rules_stand_in_for_those_of_the_sub_environments():
    """Our cost, our end, and our time limit, which is shorter; the environment itself would go on."""
    rules = GymEnv(
        limited(Linear(), 8),
        cost=lambda x, u: jnp.abs(x[0]),
        termination=lambda x: x[0] > 1.0,
        horizon=4,
        make=lambda **_: limited(Linear(), 8),
    )
    run = VectorRun(rules.vector(3), RANDOM, rules=rules, key=jr.key(0))
    while run.steps < 90:
        run.step()
    episodes = [episode for _, episode in run.done]
    rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *episodes)
    np.testing.assert_allclose(rows.reward, -np.abs(rows.x[:, 0]), rtol=1e-5)
    np.testing.assert_array_equal(rows.terminated, rows.x_next[:, 0] > 1.0)
    assert max(map(len, episodes)) == 4 and rows.terminated.any() and recovered(episodes)[1] < 1e-5
    assert rules.vector(3) is rules.vector(3)
    with pytest.raises(UsageError, match="DISABLED"):
        VectorRun(linear_envs(AutoresetMode.NEXT_STEP), RANDOM, rules=rules, key=jr.key(0))
