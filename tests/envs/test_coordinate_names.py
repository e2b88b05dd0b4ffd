"""Names of coordinates: given, shipped, or read from the joints and actuators of a MuJoCo model."""

import gymnasium as gym
import jax.random as jr
import mujoco
import numpy as np
import pytest

from forethought.core import UsageError
from forethought.envs.coordinate_names import mujoco_names, state_names
from forethought.envs.gym_env import GymEnv
from forethought.envs.mujoco.known_model import known_system
from forethought.envs.shipped import SHIPPED, shipped

MODEL = """<mujoco><worldbody>
  <body><freejoint name="torso"/><geom size="1"/>
    <body><joint name="knee"/><geom size="1"/><body><joint type="slide"/><geom size="1"/></body></body></body>
</worldbody><actuator><motor joint="knee"/></actuator></mujoco>"""


def test_names_of_an_observation_leave_out_the_positions_that_are_not_observed():
    env = GymEnv(gym.make("InvertedPendulum-v5"))
    velocities = ("slider velocity (m/s)", "hinge velocity (rad/s)")
    assert env.space.names == ("slider (m)", "hinge (rad)", *velocities)
    assert env.task.action_space.names == ("slide action",)
    cheetah = gym.make("HalfCheetah-v5")
    observed, actions = mujoco_names(cheetah, 17, 6)
    assert observed[:3] == ("rootz (m)", "rooty (rad)", "bthigh (rad)") and observed[8] == "rootx velocity (m/s)"
    # The simulator says itself where these coordinates lie.
    observation, data = cheetah.reset(seed=0)[0], cheetah.unwrapped.data
    np.testing.assert_allclose(observation[observed.index("bthigh (rad)")], data.joint("bthigh").qpos[0])
    np.testing.assert_allclose(observation[observed.index("ffoot velocity (rad/s)")], data.joint("ffoot").qvel[0])
    assert actions[0] == "bthigh action" and len(set(actions)) == 6


def test_no_names_where_the_observation_is_something_else():
    assert mujoco_names(gym.make("Reacher-v5"), 10, 2)[0] == ()  # sines, cosines and distances
    changed = gym.wrappers.TransformObservation(gym.make("InvertedPendulum-v5"), lambda x: 2 * x, None)
    assert mujoco_names(changed, 4, 1) == ((), ())
    assert mujoco_names(gym.make("Pendulum-v1"), 3, 1) == ((), ())
    assert GymEnv(gym.make("Pendulum-v1")).space.names == ("x[0]", "x[1]", "x[2]")


def test_states_of_a_known_model_are_named_by_its_joints():
    model = mujoco.MjModel.from_xml_string(MODEL)
    names = state_names(model, rewarded=True)
    assert len(names) == model.nq + model.nv + 2
    assert names[2] == "torso z (m)" and names[3] == "torso quaternion w"
    assert names[7:9] == ("knee (rad)", "joint 2 (m)")
    assert names[-3:] == ("joint 2 velocity (m/s)", "reward", "done")
    env, problem = known_system("InvertedPendulum-v5")
    assert env.space.names[1] == "hinge (rad)" and env.space.names[-2:] == ("reward", "done")
    assert env.space.size == len(problem.task.initial(key=jr.key(0)))


def test_names_can_be_given_and_must_fit():
    names = ("cos angle", "sin angle", "angular velocity (rad/s)")
    assert GymEnv(gym.make("Pendulum-v1"), names=names).space.names == names
    with pytest.raises(UsageError, match=r"3 different names.*got 2"):
        GymEnv(gym.make("Pendulum-v1"), names=names[:2])


@pytest.mark.parametrize("name", SHIPPED)
def test_every_coordinate_of_a_shipped_system_has_a_unit_that_fits(name):
    system = shipped(name)
    for i, text in enumerate(system.space.names):
        assert text.endswith("(rad)") == (i in system.space.angles), text
    for i, j in system.space.velocities:
        position, rate = (system.space.names[k].partition(" (")[2].rstrip(")") for k in (i, j))
        assert rate == f"{position}/s"
    assert all(" (" in text for text in system.task.action_space.names)
