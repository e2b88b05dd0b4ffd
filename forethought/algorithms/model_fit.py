"""A model of the dynamics fitted to logged data, without an environment: what `forethought fit` writes as a run.

It does not act.  `forethought report` shows the model, `forethought plan ENV --model RUN` plans with it.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.algorithms.model_learning import Learned, LearningReport, ModelLearning
from forethought.algorithms.protocol import Info
from forethought.core import Box, Buffer, Controller, Problem, Regression, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env, spaces_of
from forethought.envs.logged.logged_env import no_environment
from forethought.models.ensemble import Ensemble
from forethought.models.recalibration import Recalibrated


@settings
class ModelFit:
    """Settings of a model that is fitted to logged data."""

    model: Regression = Ensemble()
    held_out: float = 0.2  # share of the episodes that the model is not fitted to, but tested on
    recalibrate: bool = False  # multiply each predicted std by a temperature fitted to held-out episodes

    def __post_init__(self):
        """Refuse a share that leaves nothing to fit to."""
        if not 0 <= self.held_out < 1:
            raise ValueError(f"ModelFit.held_out must be at least 0 and less than 1, got {self.held_out}.")
        if self.recalibrate and self.held_out == 0:
            raise ValueError("ModelFit.recalibrate needs held-out episodes: held_out must be greater than 0.")

    def init(self, env: Env, *, key: PRNGKeyArray) -> Learned:
        """A model that was never fitted."""
        learned = ModelLearning(self.model).init(env, key=key)
        if not self.recalibrate:
            return learned
        model = Recalibrated(learned.dynamics.model, jnp.ones(env.space.size))
        return eqx.tree_at(lambda known: known.dynamics.model, learned, model)

    def fit(
        self, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray
    ) -> tuple[Learned, LearningReport, Buffer]:
        """The model fitted to `episodes`, without temperature; its report, and the data as a buffer."""
        actions = env.task.action_space
        box = isinstance(actions, Box)
        buffer = Buffer.empty(env.space.size, actions.size) if box else Buffer.like(spaces_of(env).example())
        buffer = buffer.append(jax.tree.map(lambda *parts: np.concatenate(parts), *episodes))
        learning = ModelLearning(self.model)
        learned, report = learning.fit(buffer, learning.init(env, key=key), key=key)
        return learned, report, buffer

    def iterate(self, state: Learned, env: Env, *, key: PRNGKeyArray) -> tuple[Learned, Info]:
        """Refused: a model alone takes no steps.

        Raises:
            UsageError: always.
        """
        del state, key
        raise no_environment(env.name)

    def problem(self, state: Learned, env: Env) -> Problem:
        """The learned dynamics, and the task of `env`."""
        return Problem(state.dynamics, env.task)

    def controller(self, state: Learned, env: Env) -> Controller:
        """Refused: a model alone does not act.

        Raises:
            UsageError: always.
        """
        del state
        raise no_environment(env.name)


def split_episodes(episodes: Sequence[Any], share: float) -> tuple[list[Any], list[int]]:
    """The episodes, and the indices of those to hold out: a `share` of them, at least one, evenly spread.

    The end of a single episode is held out, as an episode of its own.
    """
    episodes = list(episodes)
    if share == 0:
        return episodes, []
    if len(episodes) == 1:
        whole = episodes[0]
        start = len(whole) - max(1, round(share * len(whole)))
        if start < 1:
            return episodes, []
        return [jax.tree.map(lambda a, part=part: a[part], whole) for part in (slice(start), slice(start, None))], [1]
    count = min(max(1, round(share * len(episodes))), len(episodes) - 1)
    return episodes, [int((i + 0.5) * len(episodes) / count) for i in range(count)]
