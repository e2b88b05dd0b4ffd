"""The systems that come with the library, by name.

Listing them imports nothing heavy; JAX, the dynamics and the pictures are loaded when one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forethought.envs.system_env import SystemEnv

NAMESPACE = "forethought/"


@dataclass(frozen=True)
class Shipped:
    """A shipped system: how to make it, and one line about it."""

    description: str
    make: Callable[[], SystemEnv]


def shipped(name: str) -> SystemEnv:
    """The shipped system `name`, with or without the namespace: "CartPoleSwingUp-v0", "forethought/CartPoleSwingUp-v0".

    Raises:
        UsageError: there is none of that name.
    """
    short = name.removeprefix(NAMESPACE)
    if short not in SHIPPED:
        from forethought.core.errors import UsageError, nearest

        raise UsageError(f"No shipped environment is called '{name}'; {nearest(short, SHIPPED)}")
    return SHIPPED[short].make()


def _cart_pole_swing_up() -> SystemEnv:
    from forethought.core import Problem
    from forethought.dynamics.cartpole import CartPole
    from forethought.dynamics.space import StateSpace
    from forethought.envs.system_env import SystemEnv
    from forethought.tasks.cartpole import CartPoleSwingUp

    return SystemEnv(
        "forethought/CartPoleSwingUp-v0", Problem(CartPole(), CartPoleSwingUp()), StateSpace(4, angles=(2,))
    )


SHIPPED = {
    "CartPoleSwingUp-v0": Shipped("swing a pole up by pushing its cart, and balance it", _cart_pole_swing_up),
}
