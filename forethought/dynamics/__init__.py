"""Dynamics p(x' given x, u): equations of motion, rigid bodies, MuJoCo, learned dynamics; and state spaces."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.dynamics.car import Car
    from forethought.dynamics.cart_double_pendulum import CartDoublePendulum
    from forethought.dynamics.cartpole import CartPole
    from forethought.dynamics.double_pendulum import Acrobot
    from forethought.dynamics.learned import LearnedDynamics, fit_dynamics, one_step_error
    from forethought.dynamics.linearize import FiniteDifferences
    from forethought.dynamics.mujoco.mujoco_dynamics import MujocoDynamics
    from forethought.dynamics.mujoco.scene import ArmScene
    from forethought.dynamics.mujoco.simulator import load_model
    from forethought.dynamics.pendulum import Pendulum
    from forethought.dynamics.point_mass import PointMass
    from forethought.dynamics.quadrotor import PlanarQuadrotor
    from forethought.dynamics.reacher import TwoLinkArm
    from forethought.dynamics.residual import Physics
    from forethought.dynamics.rigid_body import RigidBody
    from forethought.dynamics.space import StateSpace

__all__ = [
    "Acrobot",
    "ArmScene",
    "Car",
    "CartDoublePendulum",
    "CartPole",
    "FiniteDifferences",
    "LearnedDynamics",
    "MujocoDynamics",
    "Pendulum",
    "Physics",
    "PlanarQuadrotor",
    "PointMass",
    "RigidBody",
    "StateSpace",
    "TwoLinkArm",
    "fit_dynamics",
    "load_model",
    "one_step_error",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
