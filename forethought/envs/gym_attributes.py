"""What a Gymnasium environment says of itself (time limit, time step), and the options that replace or add to it."""

import gymnasium as gym

from forethought.core import UsageError
from forethought.dynamics.space import StateSpace


def state_space(
    n: int,
    angles: tuple[int, ...],
    velocities: tuple[tuple[int, int], ...],
    dt: float,
    names: tuple[str, ...],
    name: str,
) -> StateSpace:
    """The state space of observations [n]; `dt` is used only with velocities.

    Raises:
        UsageError: coordinates that do not exist, or wrong names.
    """
    for what, given in (("angles", angles), ("velocities", tuple(i for pair in velocities for i in pair))):
        wrong = [i for i in given if not 0 <= i < n]
        if wrong:
            raise UsageError(f"{what} {wrong} are not coordinates of {name}, whose observations have 0 to {n - 1}.")
    try:
        return StateSpace(n, tuple(angles), tuple(velocities), dt if velocities else 0.0, names)
    except ValueError as error:
        raise UsageError(str(error)) from error


def horizon_of(env: gym.Env, horizon: int | None, name: str) -> int:
    """Steps in an episode: as given, else the environment's time limit.

    Raises:
        UsageError: neither, or more than the time limit.
    """
    limit = time_limit(env)
    if horizon is None:
        if limit is None:
            raise UsageError(f"{name} has no time limit: pass horizon=STEPS, or register it with max_episode_steps.")
        return limit
    if horizon < 1:
        raise UsageError(f"horizon must be at least 1 step, got {horizon}.")
    if limit is not None and horizon > limit:
        raise UsageError(f"horizon={horizon} is beyond the time limit of {name}, {limit} steps.")
    return horizon


def time_limit(env: gym.Env) -> int | None:
    """Steps after which the environment truncates an episode; None without a time limit."""
    if env.spec is not None and env.spec.max_episode_steps is not None:
        return env.spec.max_episode_steps
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return env._max_episode_steps
        env = env.env
    return None


def own_time_step(env: gym.Env) -> float | None:
    """Seconds per step as the environment defines it (`env.unwrapped.dt`); None if it does not."""
    own = getattr(env.unwrapped, "dt", None)
    return float(own) if isinstance(own, int | float) and own > 0 else None


def time_step(env: gym.Env) -> float | None:
    """Seconds per step: the environment's own, else the time of one picture (`render_fps`), else None."""
    own = own_time_step(env)
    if own is not None:
        return own
    fps = (env.metadata or {}).get("render_fps")
    return 1.0 / fps if isinstance(fps, int | float) and fps > 0 else None


def seconds_of(env: gym.Env, dt: float | None) -> float:
    """Seconds per step: as given, else `time_step`, else 1.

    Raises:
        UsageError: not positive.
    """
    if dt is None:
        return time_step(env) or 1.0
    if not dt > 0:
        raise UsageError(f"dt must be positive seconds per step, got {dt}.")
    return float(dt)
