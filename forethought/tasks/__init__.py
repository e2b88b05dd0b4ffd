"""Tasks (cost, terminal states, initial states): the shipped ones, tasks from plain functions, partly learned tasks."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.tasks.acrobot_swing_up import AcrobotSwingUp
    from forethought.tasks.car_parking import CarParking
    from forethought.tasks.cart_double_pendulum_swing_up import CartDoublePendulumSwingUp
    from forethought.tasks.cartpole_swing_up import CartPoleSwingUp
    from forethought.tasks.constrained import Constrained
    from forethought.tasks.end_effector import EndEffectorReaching
    from forethought.tasks.function_task import FunctionTask
    from forethought.tasks.learned_task import LearnedTask
    from forethought.tasks.pendulum_swing_up import PendulumSwingUp
    from forethought.tasks.point_mass_obstacle import PointMassObstacle
    from forethought.tasks.quadrotor_hover import QuadrotorHover
    from forethought.tasks.reference import Reference
    from forethought.tasks.two_link_reaching import ReacherTwoLink

__all__ = [
    "AcrobotSwingUp",
    "CarParking",
    "CartDoublePendulumSwingUp",
    "CartPoleSwingUp",
    "Constrained",
    "EndEffectorReaching",
    "FunctionTask",
    "LearnedTask",
    "PendulumSwingUp",
    "PointMassObstacle",
    "QuadrotorHover",
    "ReacherTwoLink",
    "Reference",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
