"""Constraints as options of environments: what tasks and planners see, the count in episodes, records, bad input."""

import equinox as eqx
import gymnasium as gym
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.core import Transition, UsageError
from forethought.core.constraints import has_constraints, risk_of
from forethought.envs.checks.check_env import check_env
from forethought.envs.constrained import RISK, constrained_problem
from forethought.envs.environment import Environment
from forethought.envs.open import open_env
from forethought.envs.violations import Violations, violation_values
from forethought.policies.uniform import Uniform

PENDULUM = "forethought/PendulumSwingUp-v0"
NOW = jnp.array(0)


def slow(x, u):
    """At most 1 rad/s."""
    return jnp.abs(x[1]) - 1.0


def still(x, u):
    return jnp.abs(x[1]) - 0.01


def slow_and_gentle(x, u):
    return jnp.array([jnp.abs(x[1]) - 1.0, jnp.abs(u[0]) - 0.5])


def as_bool(x, u):
    return x[0] > 1


def as_matrix(x, u):
    return jnp.zeros((2, 2))


def with_if(x, u):
    return 1.0 if x[0] > 0 else 0.0


def price(x, u):
    return jnp.sum(x**2)


def ends(x):
    return x[0] < -99


@pytest.mark.parametrize("env", [PENDULUM, "Pendulum-v1"])
def test_the_task_has_the_constraint(env):
    opened = open_env(env, constraint=slow_and_gentle, risk=0.2)
    x = jnp.array([0.0, 1.5, 0.0])[: opened.space.size]
    task = opened.task
    assert has_constraints(task) and risk_of(task) == 0.2
    np.testing.assert_allclose(task.constraint(x, jnp.array([0.7]), NOW), [0.5, 0.2], rtol=1e-5)
    np.testing.assert_allclose(task.final_constraint(x), [0.5, -0.5], rtol=1e-5)  # with no action
    assert risk_of(open_env(env, constraint=slow).task) == RISK
    assert not has_constraints(open_env(env).task)


def test_a_delayed_environment_judges_the_action_that_acts():
    for env in (PENDULUM, "Pendulum-v1"):
        opened = open_env(env, constraint=slow_and_gentle, action_delay=2)
        n = opened.space.size - 2
        s = jnp.concatenate([jnp.array([0.0, 1.5, 0.0])[:n], jnp.array([0.1, 0.9])])
        np.testing.assert_allclose(opened.task.constraint(s, jnp.zeros(1), NOW), [0.5, 0.4], rtol=1e-5)


def test_a_problem_of_a_simulator_is_constrained_in_its_own_state():
    from forethought.envs.mujoco.known_model import known_model

    problem = constrained_problem(known_model("InvertedPendulum-v5"), slow)
    x = jnp.array([0.0, 2.5, 0.0, 0.0, 0.0, 0.0])  # [qpos; qvel; r; done]
    np.testing.assert_allclose(problem.task.constraint(x, jnp.zeros(1), NOW), [1.5])
    with pytest.raises(UsageError, match="give the constraint"):
        constrained_problem(problem, risk=0.1)


def test_violations_of_episodes_against_a_loop():
    env = open_env(PENDULUM, constraint=slow_and_gentle)
    episodes = [env.run(Uniform(env.task.action_space), key=jr.key(i), steps=steps) for i, steps in enumerate((3, 30))]
    bad, largest = [], -np.inf
    for episode in episodes:
        xs = np.concatenate([episode.x, episode.x_next[-1:]])
        us = np.concatenate([episode.u[:, 0], [0.0]])
        values = np.maximum(np.abs(xs[:, 1]) - 1, np.abs(us) - 0.5)
        np.testing.assert_allclose(violation_values(env.task, episode), values, rtol=1e-4, atol=1e-6)
        bad.append(int(np.sum(values > 0)))
        largest = max(largest, values.max())
    found = Violations.of(env.task, episodes)
    assert (found.total, found.episodes, found.steps) == (2, sum(b > 0 for b in bad), sum(bad)) and sum(bad) > 0
    assert found.largest == pytest.approx(largest, rel=1e-4)
    assert "violated in" in str(found) and str(found.steps) in str(found)
    assert Violations.of(open_env(PENDULUM).task, episodes) is None


def test_violations_count_what_is_not_a_number_and_say_when_all_is_kept():
    env = open_env(PENDULUM, constraint=slow)
    still = Transition(
        np.zeros((4, 2)), np.zeros((4, 1)), np.zeros((4, 2)), np.zeros(4), np.zeros(4, bool), np.zeros(4, bool)
    )
    kept = Violations.of(env.task, [still])
    assert kept.episodes == 0 and kept.largest == -1 and "kept in all 1 episodes, with 1 to spare" in str(kept)
    lost = Transition(
        np.full((4, 2), np.nan),
        *[getattr(still, name) for name in ("u", "x_next", "reward", "terminated", "truncated")],
    )
    assert Violations.of(env.task, [lost]).steps == 4


def test_the_option_is_recorded_and_read():
    environment = Environment("Pendulum-v1", constraint="tests.envs.test_constrained:slow", risk=0.1)
    record = environment.record()
    assert (record["constraint"], record["risk"]) == ("tests.envs.test_constrained:slow", 0.1)
    assert Environment.from_record(record) == environment
    assert "constraint" not in Environment("Pendulum-v1").record()  # so that earlier runs resume


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"risk": 0.1}, "give the constraint"),
        ({"constraint": slow, "risk": 1.0}, "risk must be a probability"),
        ({"constraint": as_bool}, "how far a limit is exceeded"),
        ({"constraint": as_matrix}, r"shape \[2, 2\]"),
        ({"constraint": with_if}, "jnp.where"),
        ({"constraint": "tests.envs.test_constrained:slwo"}, "did you mean .slow"),
    ],
)
@pytest.mark.parametrize("env", [PENDULUM, "Pendulum-v1"])
def test_bad_constraints_are_refused_in_one_line(env, options, message):
    with pytest.raises(UsageError, match=message) as refusal:
        open_env(env, **options)
    assert "\n" not in str(refusal.value)


def test_an_environment_without_a_place_for_constraints_refuses_them():
    with pytest.raises(UsageError, match="takes only the option horizon"):
        Environment("MinAtar/Breakout-v1", constraint=slow).open()


def test_an_algorithm_that_keeps_no_constraints_refuses_them(tmp_path):
    with pytest.raises(UsageError, match="SAC does not keep constraints.*pets"):
        ft.train(ft.SAC(), PENDULUM, constraint=slow, env_steps=100, out=tmp_path / "run", progress=False)


def test_training_counts_violations_and_evaluation_can_be_given_a_constraint(tmp_path):
    """No plan of 3 steps keeps a speed that the random first episode exceeds; it is counted."""
    algorithm = ft.PETS(
        model=ft.Ensemble(members=1, hidden=(8,), max_epochs=1),
        planner=ft.RandomShooting(horizon=3, population=4, particles=1),
        trial_steps=20,
        round_steps=20,
    )
    run = ft.train(algorithm, PENDULUM, constraint=still, risk=0.0, iterations=2, out=tmp_path / "run", progress=False)
    line = run.metrics[0]
    assert line["violated_steps"] > 0 and line["violated_episodes"] == 1 and line["largest_violation"] > 0
    again = ft.load(tmp_path / "run", constraint=slow_and_gentle)
    assert "tests.envs.test_constrained:still" in ft.load(tmp_path / "run").foreign_code
    evaluation = again.evaluate(episodes=1)
    assert evaluation.violations.total == 1
    assert evaluation.as_json()["violations"]["steps"] == evaluation.violations.steps


class Drifting(gym.Env):
    """Observes integers, to which real constraints apply too."""

    observation_space = gym.spaces.Box(-9, 9, (2,), np.int64)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.int64), {}

    def step(self, action):
        return np.full(2, 3, np.int64), 0.0, False, False, {}


def test_whole_numbers_and_choices_can_be_constrained():
    env = open_env(Drifting(), constraint=lambda x, u: x[0] + 0.5 * u - 3.2, cost=price, termination=ends, horizon=3)
    episode = env.run(Uniform(env.task.action_space), key=jr.key(0))
    values = violation_values(env.task, episode)
    np.testing.assert_allclose(values[1:3], 3 + 0.5 * episode.u[1:] - 3.2, rtol=1e-5)
    assert values[3] == pytest.approx(-0.2, abs=1e-5)  # the resting choice, 0


def wrong_sign(x, u):
    return 1.0 - jnp.abs(x[1])


def test_the_check_tells_what_random_actions_do_and_a_wrong_sign():
    for function, level in ((slow, "ok"), (wrong_sign, "warn")):
        report = check_env(PENDULUM, constraint=function, episodes=1)
        (finding,) = [one for one in report.findings if one.name == "constraint"]
        assert finding.level == level and ("sign" in finding.remedy) == (level == "warn")


def brake(env):
    """A backup that holds one action."""
    return Held()


def no_controller(env):
    return 3


class Held(eqx.Module):
    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return jnp.array([-0.77]), carry


def test_an_algorithm_acts_by_its_backup_where_no_plan_is_feasible():
    """In the first case no state is allowed, in the second every one."""
    for limit, held in ((lambda x, u: 1.0 + 0.0 * x[0], True), (lambda x, u: -1.0 + 0.0 * x[0], False)):
        env = open_env(PENDULUM, constraint=limit)
        algorithm = ft.KnownMPC(
            planner=ft.RandomShooting(horizon=2, population=4, particles=1), backup=f"{__name__}:brake"
        )
        controller = algorithm.controller(algorithm.init(env, key=jr.key(0)), env)
        episode = env.run(controller, key=jr.key(1), steps=3)
        assert np.allclose(episode.u, -0.77) == held


def test_a_backup_that_is_no_controller_is_refused_by_the_name_of_its_option():
    env = open_env(PENDULUM, constraint=slow)
    for name, message in (
        ("no_controller", "backup .* must return a controller"),
        ("brak", "for backup; did you mean"),
    ):
        algorithm = ft.KnownMPC(backup=f"{__name__}:{name}")
        with pytest.raises(UsageError, match=message):
            algorithm.controller(algorithm.init(env, key=jr.key(0)), env)
