import importlib

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.core import UsageError
from forethought.envs.arcade import minatar_env as module
from forethought.envs.arcade.minatar_games import IDS, full_id, minatar_game
from forethought.envs.parallel import advance_copies, start_copies
from forethought.policies import Uniform

BREAKOUT = "MinAtar/Breakout-v1"


@pytest.fixture(scope="module")
def env():
    pytest.importorskip("pgx")
    return ft.open_env(BREAKOUT)


@pytest.fixture(scope="module")
def rows(env):
    """The steps of some copies under random actions, and the episodes that ended."""

    def act(x, *, key):
        return jr.randint(key, (), 0, 3)

    advance = eqx.filter_jit(lambda copies, key: advance_copies(env, copies, act, 60, key=key)[1:])
    return jax.tree.map(np.asarray, advance(start_copies(env, 8, key=jr.key(0)), jr.key(1)))


def test_a_brick_that_disappears_is_a_reward_of_one(rows):
    steps, _ = rows
    bricks, after = (xs[..., 3].sum((-1, -2)) for xs in (steps.x, steps.x_next))
    assert steps.x.dtype == bool and steps.x.shape == (60, 8, 10, 10, 4)
    np.testing.assert_array_equal(bricks - after, steps.reward)  # no wall is completed in so few steps
    assert steps.reward.sum() > 0


def test_copies_continue_until_the_ball_is_lost(rows):
    steps, ended = rows
    over = steps.terminated | steps.truncated
    same = (steps.x[1:] == steps.x_next[:-1]).all((-1, -2, -3))
    assert same[~over[:-1]].all() and over.any() and (ended.over == over).all()
    fresh = steps.x[1:][over[:-1]]
    assert (fresh[..., 3].sum((-1, -2)) == 30).all() and fresh[..., 0].sum() == len(fresh)
    np.testing.assert_array_equal(steps.x_next[steps.terminated][..., 9, :, 1].any(-1), True)  # on the lowest row


def test_an_episode_depends_on_its_keys_alone(env):
    controller = Uniform(env.task.action_space)
    first, again, other = (env.run(controller, key=jr.key(key)) for key in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True))
    assert len(first) != len(other) or not np.array_equal(first.x, other.x)
    assert first.terminated[-1] and not first.truncated.any()


def test_the_horizon_truncates(env):
    short = ft.open_env(BREAKOUT, horizon=3)
    episode = short.run(Uniform(short.task.action_space), key=jr.key(0))
    assert len(episode) == 3 and episode.truncated[-1] and env.task.horizon == module.HORIZON


def test_a_picture_shows_the_objects(env):
    frames = []
    episode = env.run(Uniform(env.task.action_space), key=jr.key(0), frames=frames)
    assert len(frames) == len(episode) + 1
    x, picture, side = episode.x[0], frames[0], module.SIDE
    (column,) = np.flatnonzero(x[9, :, 0])
    assert picture.shape == (10 * side, 10 * side, 3)
    np.testing.assert_array_equal(picture[-1, side * column], module.COLORS[0])
    np.testing.assert_array_equal(picture[0, 0], 0)


@pytest.mark.parametrize("spelling", ["minatar/breakout", "MinAtar/Breakout", "minatar/Breakout-v1", BREAKOUT])
def test_ids_may_be_short(spelling):
    assert full_id(spelling) == BREAKOUT and minatar_game(spelling) is IDS[BREAKOUT]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("minatar/Brekout", f"did you mean '{BREAKOUT}'"),
        ("MinAtar/Breakout-v0", f"did you mean '{BREAKOUT}'"),
        ("MinAtar/Chess", "known: Asterix, Breakout"),
    ],
)
def test_a_wrong_id_is_answered_with_the_nearest_one(wrong, hint):
    with pytest.raises(UsageError, match=hint):
        ft.open_env(wrong)


def test_space_invaders_may_be_written_in_other_ways():
    assert {full_id(f"minatar/{name}") for name in ("space_invaders", "SpaceInvaders")} == {"MinAtar/SpaceInvaders-v1"}


def test_other_options_are_refused():
    with pytest.raises(UsageError, match="takes only the option horizon, not cost"):
        ft.open_env(BREAKOUT, cost="module:function")


def test_a_missing_extra_is_answered_with_the_command(monkeypatch):
    def missing(name):
        raise ImportError(name)

    module._pgx_game.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'forethought\[games\]'"):
        module.minatar_env(BREAKOUT)
