"""`open_env`: from what a person calls an environment to a system that episodes can be run on."""

from typing import Any

from forethought.envs.env import Env
from forethought.envs.environment import Environment


def open_env(env: Any, **options: Any) -> Env:
    """The environment that `env` names, or is; short for `Environment(env, **options).open()`.

    Args:
        env: a Gymnasium id ("HalfCheetah-v5"; "module:Name-v0" imports the module first), a shipped system
            ("forethought/CartPoleSwingUp-v0"), a `gymnasium.Env`, an `Environment`, or a system that is one already.
        **options: the fields of `Environment`: cost, termination, angles, velocities, ...
    Returns:
        A `SystemEnv` for shipped systems (dynamics, cost and termination known), a `GymEnv` for all others.
    Raises:
        UsageError: unknown names (the nearest known one is told), or an environment that no planner here can act in.
    """
    return Environment.of(env, **options).open()
