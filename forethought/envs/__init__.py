"""Gymnasium environments and the shipped systems under one protocol; collection of episodes, and checks."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.envs.checks.check_env import check_env
    from forethought.envs.checks.findings import CheckReport, Finding
    from forethought.envs.env import Env, collect, spaces_of
    from forethought.envs.environment import Environment
    from forethought.envs.episode import Episode, run_episode
    from forethought.envs.gym_env import GymEnv
    from forethought.envs.mujoco.known_model import known_model, known_system
    from forethought.envs.open import open_env
    from forethought.envs.repeatability import carries_state
    from forethought.envs.system_env import SystemEnv
    from forethought.envs.vector import collect_vector

__all__ = [
    "CheckReport",
    "Env",
    "Environment",
    "Episode",
    "Finding",
    "GymEnv",
    "SystemEnv",
    "carries_state",
    "check_env",
    "collect",
    "collect_vector",
    "known_model",
    "known_system",
    "open_env",
    "run_episode",
    "spaces_of",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
