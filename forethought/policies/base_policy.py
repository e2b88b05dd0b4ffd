"""Base policies: what acts before anything is learned, chosen by its settings."""

from typing import Protocol, runtime_checkable

from forethought.core import Controller, UsageError
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.envs.functions import load_function
from forethought.policies.uniform import Uniform


@runtime_checkable
class BasePolicy(Protocol):
    """Settings of a controller that gathers the first experience."""

    def controller(self, env: Env) -> Controller:
        """The controller for `env`."""
        ...


@settings
class RandomPolicy:
    """Actions drawn uniformly from those allowed."""

    hold: int = 1  # steps for which each random action is held

    def __post_init__(self):
        """Refuse settings that cannot work."""
        if self.hold < 1:
            raise ValueError(f"RandomPolicy.hold must be at least 1, got {self.hold}.")

    def controller(self, env: Env) -> Uniform:
        """See `BasePolicy`."""
        return Uniform(env.task.action_space, self.hold)


@settings
class ControllerFunction:
    """A controller of the user's own, made by a function of the environment."""

    name: str = ""  # "module:function"; function(env) returns the controller

    def controller(self, env: Env) -> Controller:
        """See `BasePolicy`.

        Raises:
            UsageError: no such function, or what it returns is no controller.
        """
        if not self.name:
            raise UsageError("The base policy is a function, and none is named: give --base.name MODULE:FUNCTION.")
        return controller_made_by(self.name, env, "base.name")


def controller_made_by(name: str, env: Env, option: str) -> Controller:
    """The controller that the function `name`, "module:function", makes of `env`; `option` names it in messages.

    Raises:
        UsageError: no such function, or what it returns is no controller.
    """
    function = load_function(name, option)
    assert function is not None
    made = function(env)
    if not isinstance(made, Controller) or isinstance(made, type):
        raise UsageError(f"{option} '{name}' must return a controller (init and act), not {made!r:.60}.")
    return made
