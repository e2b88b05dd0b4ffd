"""The MuJoCo scenes as environments: conditions, repeatability, planning, packaging."""

import fnmatch
import tomllib
from pathlib import Path

import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought
from forethought.core import UsageError
from forethought.dynamics.mujoco.scene import SCENES
from forethought.envs.shipped import NAMESPACE, shipped
from forethought.planning.ilqr import ILQR
from forethought.policies.uniform import Uniform
from forethought.runs.plan_episode import plan_on

PEG = "PegInsertion-v0"
NAMES = ["ArmTwoLink-v0", "ArmSevenJoint-v0", PEG]


def test_the_reset_key_or_an_option_decides_the_condition():
    env, again = shipped(PEG), shipped(PEG)
    controller = Uniform(env.task.action_space)
    starts = [np.asarray(env.start(key=jr.key(0), options={"condition": i}).x) for i in range(4)]
    np.testing.assert_array_equal(starts, env.task.initial_states)
    first = env.run(controller, key=jr.key(1), reset_key=jr.key(5))
    assert any((first.x[0] == start).all() for start in starts)
    jax.tree.map(np.testing.assert_array_equal, first, again.run(controller, key=jr.key(1), reset_key=jr.key(5)))
    other = env.run(controller, key=jr.key(2), reset_key=jr.key(5), steps=3)
    np.testing.assert_array_equal(other.x[0], first.x[0])
    assert (other.u[0] != first.u[0]).any()
    assert np.isfinite(first.x_next).all() and len(first) == 100
    between = env.problem.dynamics.at_rest((0, -0.9, 0.1, 1.58, -0.1, 0.85, 0), (0.03, -0.05))
    np.testing.assert_allclose(env.start(key=jr.key(0), options={"x0": between}).x, between, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"condition": 4}, "conditions 0 to 3; got 4"),
        ({"condition": "left"}, "conditions 0 to 3; got 'left'"),
        ({"slot": 1}, r"x0, the initial state or condition, the index .*'slot'"),
        ({"condition": 1, "x0": np.zeros(26)}, "got .*'condition', 'x0'"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        shipped(PEG).start(key=jr.key(0), options=options)


def test_gymnasium_resets_to_a_condition():
    env = gym.make(NAMESPACE + PEG)
    states = env.unwrapped.system.task.initial_states
    for i in (2, 0):
        np.testing.assert_array_equal(env.reset(seed=0, options={"condition": i})[0], states[i])
    np.testing.assert_array_equal(env.reset(seed=3)[0], env.reset(seed=3)[0])
    with pytest.raises(UsageError, match="x0, the initial state; got"):
        gym.make(NAMESPACE + "PendulumSwingUp-v0").reset(options={"condition": 0})


def test_the_slot_is_moved_by_eight_centimeters():
    system = shipped(PEG)
    slots = np.asarray(jax.jit(jax.vmap(system.problem.dynamics.physics))(system.task.initial_states))[:, 7:9]
    np.testing.assert_allclose(np.abs(slots), 0.08, atol=1e-6)
    assert len(np.unique(np.sign(slots), axis=0)) == 4


def test_instances_share_what_is_compiled():
    assert shipped(PEG).problem.dynamics.simulator is shipped(PEG).problem.dynamics.simulator


def test_the_package_contains_the_scenes():
    root = Path(forethought.__file__).parent
    files = sorted(SCENES.glob("*.xml"))
    assert {"peg_insertion.xml", "seven_joint_arm.xml", "seven_joint_reaching.xml", "two_link_arm.xml"} == {
        file.name for file in files
    }
    settings = tomllib.loads((root.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    for file in files:
        path = file.relative_to(root).as_posix()
        assert any(fnmatch.fnmatch(path, one) for one in settings["package-data"]["forethought"]), path


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:2])
def test_a_plan_with_the_simulator_reaches_the_target(name):
    system = shipped(name)
    planner = ILQR(starts=1, kept=1, rounds=1, samples=4, iterations=40)
    assert plan_on(system, system.problem, planner, name="ilqr", seed=0).success


@pytest.mark.slow
def test_a_plan_around_the_obstacle_does_not_touch_it():
    system = shipped("PointMassObstacle-v0")
    for seed in range(3):
        assert plan_on(system, system.problem, ILQR(starts=4, kept=1), name="ilqr", seed=seed).success


def test_the_straight_way_to_the_goal_is_blocked():
    system = shipped("PointMassObstacle-v0")
    xs = np.linspace(np.asarray(system.task.initial(key=jr.key(0))), np.zeros(4), 40)
    assert jax.jit(jax.vmap(system.task.obstacle_penalty))(jnp.asarray(xs, jnp.float32)).max() > 10
