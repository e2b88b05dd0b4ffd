"""The names of an environment's coordinates and actions as plain values, which are stored with each episode."""

from typing import Any

import numpy as np

from forethought.core import Box
from forethought.envs.env import Env


def names_of(env: Env) -> dict[str, Any]:
    """Names of states and actions, and the limits of the actions where they are finite."""
    actions = env.task.action_space
    if not isinstance(actions, Box):
        return {"states": list(env.space.names), "choices": actions.n}
    low, high = np.asarray(actions.low).tolist(), np.asarray(actions.high).tolist()
    limits = {"low": low, "high": high} if np.isfinite([low, high]).all() else {}
    return {"states": list(env.space.names), "actions": list(actions.names), **limits}
