"""The shipped MuJoCo scenes as problems: reaching with two arms, and the insertion of a peg into a slot."""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from forethought.core import Problem
from forethought.dynamics.mujoco.scene import ArmScene
from forethought.envs.shipped import SEVEN_JOINTS
from forethought.tasks.end_effector import EndEffectorReaching

DT = 0.05  # s per action
TWO_JOINTS = ("shoulder", "elbow")
GAINS = (3.0, 3.0, 1.0, 1.0, 0.3, 0.3, 0.1)  # of the seven joints: the motors at the shoulder are the strongest
TWO_LINK_STARTS = ((-1.2, 1.0), (-0.4, -1.0), (2.2, 1.0), (1.2, 1.8))  # rad
SEVEN_JOINT_STARTS = (  # rad
    (-0.5, -0.9, 0.0, 1.6, 0.0, 0.7, 0.0),
    (-0.3, -0.3, 0.3, 1.8, 0.0, 0.2, 0.0),
    (0.0, -0.9, -0.3, 1.2, 0.2, 0.9, 0.0),
    (0.1, 0.2, 0.0, 0.6, -0.2, 1.0, 0.0),
)
ABOVE_SLOT = (0.0, -0.9, 0.1, 1.58, -0.1, 0.85, 0.0)  # rad
SLOTS = ((-0.08, -0.08), (-0.08, 0.08), (0.08, 0.08), (0.08, -0.08))  # m, displacement of the slot along x and y
PEG_TOP = 0.12  # m, distance of the second point of the peg from its tip


def two_link_reaching() -> Problem:
    """An arm in a horizontal plane; four initial postures."""
    scene = ArmScene.load("two_link_arm", ("tip",), dt=DT, axes=(0, 1))
    task = EndEffectorReaching(
        initial_states=_states(scene.at_rest(q) for q in TWO_LINK_STARTS),
        joints=TWO_JOINTS,
        goals=((0.0, 0.0),),
        gains=(1.0, 1.0),
        torque_limit=10.0,
        solved_distance=0.03,
        solved_seconds=0.5,
    )
    return Problem(scene, task)


def seven_joint_reaching() -> Problem:
    """An arm in space; four initial postures."""
    scene = ArmScene.load("seven_joint_reaching", ("tip",), dt=DT)
    task = EndEffectorReaching(
        initial_states=_states(scene.at_rest(q) for q in SEVEN_JOINT_STARTS),
        joints=SEVEN_JOINTS,
        goals=((0.0, 0.0, 0.0),),
        gains=GAINS,
        torque_limit=100.0,
        solved_distance=0.03,
        solved_seconds=0.5,
    )
    return Problem(scene, task)


def peg_insertion() -> Problem:
    """The same arm with a peg in its hand; four positions of the slot."""
    scene = ArmScene.load("peg_insertion", ("tip", "peg top"), dt=DT)
    task = EndEffectorReaching(
        initial_states=_states(scene.at_rest(ABOVE_SLOT, slot) for slot in SLOTS),
        joints=SEVEN_JOINTS,
        goals=((0.0, 0.0, 0.0), (0.0, 0.0, PEG_TOP)),
        gains=GAINS,
        torque_limit=100.0,
        solved_distance=0.01,
    )
    return Problem(scene, task)


def _states(states: Iterable[np.ndarray]) -> Float[Array, "C n"]:
    return jnp.asarray(np.stack(list(states)))
