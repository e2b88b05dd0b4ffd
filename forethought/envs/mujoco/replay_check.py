"""Checks that rewards and terminations of an environment can be replayed, before a planner uses them.

Both must be functions of state, action and next state.  Replays of recorded episodes detect a dependence on the time,
on the previous action or on a counter.  They must give
    the recorded values, from the start and from the middle of the episode (another time, other previous actions);
    the same values in any order and after any number of repetitions (nothing is stored between steps).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from forethought.core import UsageError
from forethought.dynamics.mujoco.simulator import Simulator
from forethought.tasks.function_task import first_line

EPISODES, STEPS = 2, 50  # number of recorded episodes, maximum steps of each
REPEATED = 1200  # total number of replayed steps; detects counters up to the usual time limits
TOLERANCE = 1e-4  # of rewards and states, relative to the largest; above the error of the contact solver
REMEDY = "pass cost=... and termination=..., or plan with the MJCF file as the model"

Replayed = tuple[np.ndarray, np.ndarray]  # rewards and terminations [B, T]


@dataclass(frozen=True)
class RecordedEpisode:
    """An episode of the environment itself."""

    xs: np.ndarray  # states s [T + 1, k]
    us: np.ndarray  # [T, m]
    rewards: np.ndarray  # [T]
    ended: np.ndarray  # [T]


def recorded_episode(env: gym.Env, simulator: Simulator, *, seed: int, name: str) -> RecordedEpisode:
    """An episode of random actions, with all wrappers.

    Raises:
        UsageError: the environment raised.
    """
    inner: Any = env.unwrapped
    data, actions = inner.data, inner.action_space
    rng, rows = np.random.default_rng(seed), []
    try:
        env.reset(seed=seed)
        xs = [simulator.get(data)]
        for _ in range(STEPS):
            u = rng.uniform(actions.low, actions.high).astype(actions.dtype)
            _, reward, ended, truncated, _ = env.step(u)
            xs.append(simulator.get(data))
            rows.append((u, float(reward), bool(ended)))
            if ended or truncated:
                break
    except Exception as error:  # code of others may raise anything
        raise UsageError(f"{name} cannot be replayed: an episode raised {first_line(error)}.") from error
    us, rewards, ends = (np.array(part) for part in zip(*rows, strict=True))
    return RecordedEpisode(np.array(xs), us, rewards, ends)


def require_replayable(
    replay: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Replayed],
    episodes: list[RecordedEpisode],
    simulator: Simulator,
    *,
    name: str,
    rewards: bool,
    ends: bool,
) -> None:
    """Raise `UsageError` unless replays reproduce the rewards and terminations that will be used."""
    halves = [(episode, first) for episode in episodes for first in (0, len(episode.us) // 2)]
    tries = [(episode, first, _steps(episode, simulator, first, name)) for episode, first in halves]
    used = [i for i, wanted in enumerate((rewards, ends)) if wanted]
    before = [[replay(*steps)[i] for i in used] for _, _, steps in tries]
    for (episode, first, _), replayed in zip(tries, before, strict=True):
        for i, found in zip(used, replayed, strict=True):
            # Quantities derived from the initial state may differ: see `Replay`.
            if not _close(found[0, 1:], (episode.rewards, episode.ended)[i][first + 1 :]):
                what = ("reward", "end")[i]
                raise UsageError(
                    f"The {what} of {name} cannot be replayed: computed from states and actions alone it differs from "
                    "the recorded one. It may depend on the time, on earlier steps or on the reset: "
                    f"{REMEDY}."
                )
    done = 0
    while done < REPEATED:
        for (_, _, steps), expected in reversed(list(zip(tries, before, strict=True))):
            again = [replay(*steps)[i] for i in used]
            if not all(_close(a, b) for a, b in zip(again, expected, strict=True)):
                raise UsageError(
                    f"{name} cannot be replayed: its reward or end differs when the same steps are simulated again, so "
                    f"it depends on earlier steps (a counter, the previous action): {REMEDY}."
                )
            done += steps[3].shape[1]


def _steps(
    episode: RecordedEpisode, simulator: Simulator, first: int, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Arguments of a `RewardFunction`: steps of an episode from `first` on, each simulated from its recorded state."""
    starts, us = episode.xs[first:-1], episode.us[first:]
    fine = simulator.roll(starts, us[:, None].astype(float))[:, 0]
    after = fine[:, -1]
    if not _close(after, episode.xs[first + 1 :]):
        what = "its states are not those that MuJoCo computes from state and action"
        raise UsageError(f"{name} does more than hold its action and simulate, for {what}: {REMEDY}.")
    nearly = fine[:, -2] if fine.shape[1] > 1 else starts
    return starts[:1], nearly[None], after[None], us[None]


def _close(found: np.ndarray, expected: np.ndarray) -> bool:
    if expected.dtype == bool:
        return np.array_equal(found, expected)
    return np.allclose(found, expected, rtol=0, atol=TOLERANCE * np.max(np.abs(expected), initial=0), equal_nan=True)
