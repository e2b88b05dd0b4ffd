"""The first policy of a model-free algorithm, from the controller of another run.

A policy of the same network is taken over.  Any other controller is imitated: the policy is fitted to what the
controller did in the last episodes of its run (behavior cloning); a controller that is itself a policy names the action
that it would take now.  No real step is taken for it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.algorithms.demonstrations import actions_along
from forethought.algorithms.protocol import StartsFromPolicy
from forethought.core import Transition, UsageError
from forethought.envs.env import Env
from forethought.envs.episode import join_pieces
from forethought.learners.behavior_cloning import BehaviorCloning
from forethought.policies.acting import Acting
from forethought.registry import MODEL_FREE
from forethought.runs import transitions
from forethought.runs.run import Run, sizes

MOST_STEPS = 10_000  # newest steps of the run that are imitated


@dataclass(frozen=True)
class StartingPolicy:
    """The controller of the run at `path`, as the first policy."""

    path: str

    @staticmethod
    def of(algorithm: Any, env: Env, path: str | Path) -> "StartingPolicy":
        """The controller of the run at `path`."""
        del algorithm, env
        return StartingPolicy(str(path))

    @property
    def record(self) -> str:
        """The directory of the run."""
        return self.path

    def add_to(self, algorithm: Any, state: Any, env: Env, *, key: PRNGKeyArray) -> tuple[Any, tuple[str, ...]]:
        """The state with this policy, and a note for the user.

        Raises:
            UsageError: an algorithm without such a policy, no run, a run with other observations or actions, or one
                without recorded experience to imitate.
        """
        if not isinstance(algorithm, StartsFromPolicy):
            kind = type(algorithm).__name__
            raise UsageError(f"an initial policy is for {', '.join(MODEL_FREE)}; {kind} does not start from one.")
        source = Run(self.path, env=env)
        _require_same_sizes(source.info.get("sizes", {}), sizes(env), self.path, env.name)
        controller, policy = source.controller, algorithm.policy_of(state)
        if isinstance(controller, Acting) and _same_shapes(controller.policy, policy):
            return algorithm.with_policy(state, controller.policy), (f"starts from the policy of {self.path}.",)
        rows = _last_steps(source.path)
        us = actions_along(controller, rows, key=key) if isinstance(controller, Acting) else rows.u
        space = env.task.action_space
        fitted, report = BehaviorCloning().fit(policy, rows.x, us, len(rows), space=space, key=key)
        note = (
            f"starts from a policy that imitates the last {len(rows):,} steps of {self.path}; root mean square error "
            f"of its actions {float(report.error):.2g} of half their range."
        )
        return algorithm.with_policy(state, fitted), (note,)


def _last_steps(path: Path) -> Transition:
    """The newest recorded episodes of a run, up to `MOST_STEPS` steps, at least one episode."""
    episodes: list[Transition] = []
    for episode in reversed(transitions.load_episodes(path / "transitions")):
        if episodes and sum(map(len, episodes)) + len(episode) > MOST_STEPS:
            break
        episodes.insert(0, episode)
    if not episodes:
        raise UsageError(f"{path} has no recorded episodes that a policy could imitate.")
    return join_pieces(episodes)


def _require_same_sizes(theirs: dict[str, int], ours: dict[str, int], path: str | Path, name: str) -> None:
    def shown(sizes: dict[str, int]) -> str:
        return f"observations of {sizes['observation']} and actions of {sizes['action']} numbers"

    if theirs != ours:
        raise UsageError(f"the controller of {path} has {shown(theirs)}; {name} has {shown(ours)}.")


def _same_shapes(a: Any, b: Any) -> bool:
    """Whether one policy may stand in for the other: the same kind of network, of the same sizes."""
    (a, static_a), (b, static_b) = (eqx.partition(policy, eqx.is_array) for policy in (a, b))
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (a, b)]
    structures: list[Any] = [jax.tree.structure(tree) for tree in (a, b)]
    return structures[0] == structures[1] and shapes[0] == shapes[1] and static_a == static_b
