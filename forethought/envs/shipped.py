"""The systems that are part of the library, by name.

Listing them imports no large package: dynamics, task and picture are given as "module:attribute" and loaded when a
system is created.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forethought.envs.system_env import SystemEnv

NAMESPACE = "forethought/"


@dataclass(frozen=True)
class Shipped:
    """The parts of a shipped system."""

    description: str  # one line
    picture: str  # "module:function" in forethought.envs.drawing; a function without module is in `pictures`
    horizon: int  # steps in an episode; equals the task's, so that registration need not load the task
    names: tuple[str, ...]  # of the coordinates of the state, with units
    dynamics: str = ""  # "module:class" in forethought.dynamics
    task: str = ""  # "module:class" in forethought.tasks
    problem: str = ""  # "module:function" in forethought.envs, in place of dynamics and task
    angles: tuple[int, ...] = ()  # indices of the coordinates that are angles
    velocities: tuple[tuple[int, int], ...] = ()  # (i, j): coordinate j is the rate of change of coordinate i


def _arm(
    description: str, picture: str, problem: str, joints: tuple[str, ...], points: tuple[str, ...], axes: str
) -> Shipped:
    """An arm with a state of `forethought.dynamics.mujoco.scene`; episodes of 100 steps."""
    m, k = len(joints), len(points) * len(axes)
    names = (
        *(f"{joint} angle (rad)" for joint in joints),
        *(f"{joint} angular velocity (rad/s)" for joint in joints),
        *(f"{point} {axis} from target (m)" for point in points for axis in axes),
        *(f"{point} velocity {axis} (m/s)" for point in points for axis in axes),
    )
    velocities = (*((i, m + i) for i in range(m)), *((i, i + k) for i in range(2 * m, 2 * m + k)))
    angles = tuple(range(m))
    return Shipped(description, picture, 100, names, problem=problem, angles=angles, velocities=velocities)


SEVEN_JOINTS = (
    "shoulder pan",
    "shoulder lift",
    "upper arm roll",
    "elbow",
    "forearm roll",
    "wrist flex",
    "wrist roll",
)

SHIPPED = {
    "CartPoleSwingUp-v0": Shipped(
        "swing a pole up by pushing its cart, and balance it over the middle of the rail",
        dynamics="cartpole:CartPole",
        task="cartpole_swing_up:CartPoleSwingUp",
        picture="cart_pole",
        horizon=40,
        names=("cart position (m)", "cart velocity (m/s)", "pole angle (rad)", "pole angular velocity (rad/s)"),
        angles=(2,),
        velocities=((0, 1), (2, 3)),
    ),
    "PendulumSwingUp-v0": Shipped(
        "swing a rod upright with a motor too weak to lift it directly",
        dynamics="pendulum:Pendulum",
        task="pendulum_swing_up:PendulumSwingUp",
        picture="pendulum",
        horizon=100,
        names=("angle (rad)", "angular velocity (rad/s)"),
        angles=(0,),
        velocities=((0, 1),),
    ),
    "AcrobotSwingUp-v0": Shipped(
        "swing two hinged rods upright with one motor, at the hinge between them",
        dynamics="double_pendulum:Acrobot",
        task="acrobot_swing_up:AcrobotSwingUp",
        picture="acrobot",
        horizon=120,
        names=(
            "shoulder angle (rad)",
            "elbow angle (rad)",
            "shoulder angular velocity (rad/s)",
            "elbow angular velocity (rad/s)",
        ),
        angles=(0, 1),
        velocities=((0, 2), (1, 3)),
    ),
    "CartDoublePendulum-v0": Shipped(
        "swing two hinged rods upright by pushing the cart that they hang from",
        dynamics="cart_double_pendulum:CartDoublePendulum",
        task="cart_double_pendulum_swing_up:CartDoublePendulumSwingUp",
        picture="cart_double_pendulum",
        horizon=100,
        names=(
            "cart position (m)",
            "cart velocity (m/s)",
            "inner rod angle (rad)",
            "outer rod angle (rad)",
            "inner rod angular velocity (rad/s)",
            "outer rod angular velocity (rad/s)",
        ),
        angles=(2, 3),
        velocities=((0, 1), (2, 4), (3, 5)),
    ),
    "ReacherTwoLink-v0": Shipped(
        "bring the tip of a two-link arm to a point and stop there",
        dynamics="reacher:TwoLinkArm",
        task="two_link_reaching:ReacherTwoLink",
        picture="reacher",
        horizon=60,
        names=(
            "shoulder angle (rad)",
            "elbow angle (rad)",
            "shoulder angular velocity (rad/s)",
            "elbow angular velocity (rad/s)",
        ),
        angles=(0, 1),
        velocities=((0, 2), (1, 3)),
    ),
    "CarParking-v0": Shipped(
        "park a car that cannot move sideways",
        dynamics="car:Car",
        task="car_parking:CarParking",
        picture="car",
        horizon=80,
        names=("position x (m)", "position y (m)", "heading (rad)", "speed (m/s)"),
        angles=(2,),
    ),
    "QuadrotorHover-v0": Shipped(
        "fly a planar quadrotor to a point and hover there",
        dynamics="quadrotor:PlanarQuadrotor",
        task="quadrotor_hover:QuadrotorHover",
        picture="quadrotor",
        horizon=80,
        names=(
            "position x (m)",
            "height (m)",
            "roll angle (rad)",
            "velocity x (m/s)",
            "vertical velocity (m/s)",
            "roll rate (rad/s)",
        ),
        angles=(2,),
        velocities=((0, 3), (1, 4), (2, 5)),
    ),
    "PointMassObstacle-v0": Shipped(
        "push a mass to a point without touching an obstacle",
        dynamics="point_mass:PointMass",
        task="point_mass_obstacle:PointMassObstacle",
        picture="point_mass",
        horizon=100,
        names=("position x (m)", "position y (m)", "velocity x (m/s)", "velocity y (m/s)"),
        velocities=((0, 2), (1, 3)),
    ),
    "ArmTwoLink-v0": _arm(
        "bring the tip of a two-link arm to a point and stop there; simulated by MuJoCo",
        "arm_pictures:two_link_arm",
        "mujoco.scenes:two_link_reaching",
        ("shoulder", "elbow"),
        ("tip",),
        "xy",
    ),
    "ArmSevenJoint-v0": _arm(
        "bring the tip of a seven-joint arm to a point and stop there; simulated by MuJoCo",
        "arm_pictures:seven_joint_arm",
        "mujoco.scenes:seven_joint_reaching",
        SEVEN_JOINTS,
        ("tip",),
        "xyz",
    ),
    "PegInsertion-v0": _arm(
        "push a peg to the floor of a slot with a seven-joint arm, clearance 4 mm; simulated by MuJoCo",
        "arm_pictures:peg_insertion",
        "mujoco.scenes:peg_insertion",
        SEVEN_JOINTS,
        ("tip", "peg top"),
        "xyz",
    ),
}


def shipped(name: str) -> SystemEnv:
    """The shipped system `name`, with or without namespace: "CartPoleSwingUp-v0" or "forethought/CartPoleSwingUp-v0".

    Raises:
        UsageError: there is no system of this name.
    """
    from forethought.core import Problem, UsageError, nearest
    from forethought.dynamics.space import StateSpace
    from forethought.envs.system_env import SystemEnv

    short = name.removeprefix(NAMESPACE)
    if short not in SHIPPED:
        raise UsageError(f"No shipped environment is called '{name}'; {nearest(short, SHIPPED)}")
    parts = SHIPPED[short]
    if parts.problem:
        problem = _load(f"forethought.envs.{parts.problem}")()
    else:
        dynamics, task = _load(f"forethought.dynamics.{parts.dynamics}"), _load(f"forethought.tasks.{parts.task}")
        problem = Problem(dynamics(), task())
    module, _, function = parts.picture.rpartition(":")
    picture = _load(f"forethought.envs.drawing.{module or 'pictures'}:{function}")
    dt = problem.task.dt if parts.velocities else 0.0
    space = StateSpace(len(parts.names), parts.angles, parts.velocities, dt, parts.names)
    return SystemEnv(NAMESPACE + short, problem, space, picture)


def _load(reference: str) -> Any:
    """The attribute that "module:attribute" names."""
    module, attribute = reference.split(":")
    return getattr(importlib.import_module(module), attribute)
