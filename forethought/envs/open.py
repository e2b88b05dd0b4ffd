"""`open_env`: makes an `Env` from an id or an environment object."""

from typing import Any

from forethought.envs.env import Env
from forethought.envs.environment import Environment


def open_env(env: Any, **options: Any) -> Env:
    """The `Env` for an id or an environment object; short for `Environment(env, **options).open()`.

    Args:
        env: a Gymnasium id ("HalfCheetah-v5"; "module:Name-v0" imports the module first), a shipped system
            ("forethought/CartPoleSwingUp-v0"), a `gymnasium.Env`, an `Environment`, or an `Env`.
        **options: the fields of `Environment`: cost, termination, angles, velocities, ...
    Returns:
        A `SystemEnv` for shipped systems (dynamics, cost and termination known), a `GymEnv` for all others.
    Raises:
        UsageError: unknown names (the message suggests the nearest known one), or unsupported spaces.
    """
    return Environment.of(env, **options).open()
