"""One policy for several tasks: a shared trunk, and a head for each task."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray, Shaped

from forethought.core import Conditional, Discrete, Observations, Spaces, UsageError
from forethought.networks.convolution import Convolutions, channels_last
from forethought.networks.trunk import Trunk
from forethought.policies.network import on_trunk


class TaskHeads(eqx.Module):
    """A trunk and the heads of K tasks with discrete actions and images of one height and width."""

    trunk: Trunk
    heads: tuple[Conditional, ...]  # policies of the features

    @staticmethod
    def init(
        tasks: Sequence[Spaces],
        *,
        convolutions: Convolutions | None = None,
        units: int | None,
        who: str,
        key: PRNGKeyArray,
    ) -> "TaskHeads":
        """Untrained policies of these tasks; `convolutions` and `units` as in `Trunk.init`.

        Raises:
            UsageError: observations that are not images of one size, or actions that are not discrete.
        """
        trunk_key, *keys = jr.split(key, len(tasks) + 1)
        observations = common_observations(tasks, who)
        trunk = Trunk.init(observations, convolutions=convolutions, units=units, who=who, key=trunk_key)
        heads = [on_trunk(trunk, task.actions, who=who, key=k).head for task, k in zip(tasks, keys, strict=True)]
        return TaskHeads(trunk, tuple(heads))

    def policy(self, task: int) -> "TaskPolicy":
        """The policy of one task, from 0."""
        return TaskPolicy(self.trunk, self.heads[task])


class TaskPolicy(eqx.Module):
    """The policy of one task: `head(trunk(x))`; channels that the task lacks are zeros."""

    trunk: Trunk
    head: Conditional

    def __call__(self, x: Shaped[Array, "*n"]) -> Any:
        """The distribution of the action."""
        return self.head(self.trunk(with_channels(x, self.trunk.inputs.observations)))

    def draw(self, *, key: PRNGKeyArray) -> "TaskPolicy":
        """Itself: its weights are certain."""
        del key
        return self


def common_observations(tasks: Sequence[Spaces], who: str) -> Observations:
    """Images with the most channels of all tasks.

    Raises:
        UsageError: observations that are not images of one size and dtype, or actions that are not discrete.
    """
    for task in tasks:
        if not task.observations.is_image or not isinstance(task.actions, Discrete):
            raise UsageError(f"{who}: one policy for several tasks needs images and discrete actions in all of them.")
    first, kinds = tasks[0].observations, {_size(task.observations) for task in tasks}
    if len(kinds) > 1:
        shown = ", ".join(sorted({str(task.observations) for task in tasks}))
        raise UsageError(f"{who}: one policy for several tasks needs images of one size and type, not {shown}.")
    most = max(tasks, key=lambda task: task.observations.size).observations
    return Observations(most.shape, first.dtype)


def with_channels(x: Shaped[Array, "*n"], wanted: Observations) -> Shaped[Array, "*wider"]:
    """An image with the channels of `wanted`; those that it lacks are zeros."""
    return jnp.pad(x, [(0, most - own) for own, most in zip(x.shape, wanted.shape, strict=True)])


def _size(observations: Observations) -> tuple[str, int, int]:
    height, width, _ = channels_last(observations.shape)
    return observations.dtype, height, width
