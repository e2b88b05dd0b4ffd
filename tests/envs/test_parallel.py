import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from forethought.core import Problem
from forethought.dynamics.space import StateSpace
from forethought.envs.gym_env import GymEnv
from forethought.envs.parallel import EpisodeSummary, advance_copies, joined, own_system, start_copies
from forethought.envs.system_env import SystemEnv
from forethought.runs.monitored_env import MonitoredEnv
from tests.envs.toy_envs import Linear, limited
from tests.linear import QuadraticTask, double_integrator

HORIZON, COPIES, STEPS = 8, 4, 30


class Scattered(QuadraticTask):
    """Episodes begin anywhere."""

    def initial(self, *, key):
        return 0.3 * jr.normal(key, (2,))


ENV = SystemEnv("double integrator", Problem(double_integrator(), Scattered(horizon=HORIZON)), StateSpace(2))


def act(x, *, key):
    return -0.5 * x[:1] + 0.1 * jr.normal(key, (1,))


advance = eqx.filter_jit(lambda env, copies, key: advance_copies(env, copies, act, STEPS, key=key))


def test_rows_are_steps_of_the_system_and_resets_are_none():
    copies = start_copies(ENV, COPIES, key=jr.key(0))
    after, rows, ended = jax.tree.map(np.asarray, advance(ENV, copies, jr.key(1)))
    over = rows.terminated | rows.truncated
    A, B = np.asarray(ENV.problem.dynamics.A), np.asarray(ENV.problem.dynamics.B)
    np.testing.assert_allclose(rows.x_next, rows.x @ A.T + rows.u @ B.T, atol=1e-5)
    np.testing.assert_allclose(rows.reward, -(rows.x**2).sum(-1) - 0.1 * (rows.u**2).sum(-1), rtol=1e-4)
    x, before = rows.x[1:], rows.x_next[:-1]
    np.testing.assert_array_equal(x[~over[:-1]], before[~over[:-1]])
    assert (x[over[:-1]] != before[over[:-1]]).all()
    np.testing.assert_array_equal(after.x, np.where(over[-1][:, None], after.x, rows.x_next[-1]))
    assert not bool(rows.terminated.any()) and (np.asarray(ended.over) == over).all()


def test_first_episodes_end_at_different_times_and_all_others_at_the_horizon():
    _, rows, ended = advance(ENV, start_copies(ENV, COPIES, key=jr.key(0)), jr.key(1))
    for b in range(COPIES):
        ends = np.flatnonzero(rows.truncated[:, b]) + 1
        assert ends[0] == HORIZON * (b + 1) // COPIES and set(np.diff(ends)) == {HORIZON}
    summary = EpisodeSummary.of(ended)
    assert summary.steps == STEPS * COPIES and len(summary.returns) == len(summary.lengths) == int(ended.over.sum())
    last = np.flatnonzero(ended.over[:, -1])
    expected = rows.reward[: last[0] + 1, -1].sum()
    np.testing.assert_allclose(ended.returns[last[0], -1], expected, rtol=1e-5)
    both = joined([summary, summary])
    assert both.steps == 2 * summary.steps and len(both.returns) == 2 * len(summary.returns)
    assert joined([]).steps == 0


def test_terminal_states_end_an_episode_and_are_no_truncation():
    env = SystemEnv("fenced", Problem(double_integrator(), Scattered(horizon=HORIZON, edge=0.5)), StateSpace(2))
    _, rows, _ = advance(env, start_copies(env, COPIES, key=jr.key(0)), jr.key(1))
    outside = np.abs(np.asarray(rows.x_next[..., 0])) > 0.5
    np.testing.assert_array_equal(rows.terminated, outside)
    assert outside.any() and not bool((rows.terminated & rows.truncated).any())


def test_the_same_key_gives_the_same_steps():
    runs = [advance(ENV, start_copies(ENV, COPIES, key=jr.key(0)), jr.key(seed))[1] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].u, runs[1].u)
    assert (np.asarray(runs[0].u) != np.asarray(runs[2].u)).any()


def test_own_systems_are_found_behind_a_monitor():
    assert own_system(ENV) is ENV and own_system(MonitoredEnv(ENV, lambda *_: None)) is ENV
    assert own_system(GymEnv(limited(Linear()))) is None
