"""Reward and termination of simulated steps, computed by the Gymnasium MuJoCo environment itself."""

from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from forethought.core import UsageError
from forethought.dynamics.mujoco.messages import no_warnings
from forethought.dynamics.mujoco.simulator import Simulator
from forethought.envs.mujoco.replay_check import EPISODES, REMEDY, recorded_episode, require_replayable
from forethought.tasks.function_task import first_line

_NEUTRAL = (gym.wrappers.TimeLimit, gym.wrappers.OrderEnforcing, gym.wrappers.PassiveEnvChecker)


class StateObservation(gym.Wrapper):
    """The environment with its physics state [qpos; qvel; act] as observation; with [r; done] = 0 if `rewarded`."""

    def __init__(self, env: gym.Env, rewarded: bool):
        super().__init__(env)
        self._data, self._extra = require_mujoco(env).data, np.zeros(2 if rewarded else 0)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, self._state().shape, np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """The initial state."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._state(), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """The environment's step; r = done = 0 in the observation, because a plan starts with these values."""
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._state(), float(reward), terminated, truncated, info

    def _state(self) -> np.ndarray:
        data = self._data
        return np.concatenate([data.qpos, data.qvel, data.act, self._extra])


class Replay:
    """The reward function that steps a second instance of the environment through the simulated states.

    The instance's own `step` runs, wrappers included, but its simulation is replaced by the simulated state.  Only the
    last simulator step is run, to compute the derived quantities that the environment may read (positions of bodies,
    contact forces).  It is skipped too if the environment gives the same rewards with NaN in all derived quantities
    (`plain`).  In the initial state of a rollout, derived quantities are those after a reset; in an episode they lag
    behind by one simulator step.
    """

    def __init__(self, env: gym.Env, simulator: Simulator, *, rewards: bool = True, ends: bool = True):
        """Check that `env` can be replayed.

        Args:
            env: an instance that nothing else uses.
            simulator: the simulator of the environment's model.
            rewards: whether the rewards will be used.
            ends: whether terminations will be used; if False, rollouts continue after a termination.

        Raises:
            UsageError: the environment's step does more than hold the action and simulate, or its reward or
                termination depends on more than state, action and next state.
        """
        self._env, self._simulator, self._ends = require_mujoco(env), simulator, ends
        self._step = _without_neutral(env).step
        self._nearly = self._after = np.zeros(simulator.size)
        self._dtype = self._env.action_space.dtype
        name = name_of(env)
        simulate = self._env.do_simulation
        self._require_held(env, name)
        self._env.do_simulation = simulate
        episodes = [recorded_episode(env, simulator, seed=seed, name=name) for seed in range(EPISODES)]
        self._env.do_simulation = self._land
        self.plain = False
        self.plain = all(self._ignores_derived(seed) for seed in range(8))
        require_replayable(self, episodes, simulator, name=name, rewards=rewards, ends=ends)

    def __call__(
        self, start: np.ndarray, nearly: np.ndarray, after: np.ndarray, us: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rewards and terminations [B, T]; see `RewardFunction`.  Zero after a termination, NaN after divergence."""
        with self._simulator.lock, no_warnings():
            return self._replay(start, nearly, after, us)

    def _replay(
        self, start: np.ndarray, nearly: np.ndarray, after: np.ndarray, us: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        rewards, ended = np.zeros(us.shape[:2]), np.zeros(us.shape[:2], bool)
        actions = us.astype(self._dtype)
        possible = np.isfinite(after).all(axis=-1)
        for b in range(us.shape[0]):
            self._begin(start[b])
            for t in range(us.shape[1]):
                if not possible[b, t]:
                    rewards[b, t:] = np.nan
                    break
                self._nearly, self._after = nearly[b, t], after[b, t]
                _, rewards[b, t], over, _, _ = self._step(actions[b, t])
                if over and self._ends:
                    ended[b, t] = True
                    break
        return rewards, ended

    def _land(self, ctrl: np.ndarray, n_frames: int) -> None:
        """Replaces `do_simulation`: runs the last simulator step, then sets the simulated state."""
        del n_frames
        model, data = self._env.model, self._env.data
        if not self.plain:
            self._place(self._nearly)
        data.ctrl[:] = ctrl
        if not self.plain:
            mujoco.mj_step(model, data)
            mujoco.mj_rnePostConstraint(model, data)
        self._place(self._after)

    def _begin(self, s: np.ndarray) -> None:
        if self.plain:
            self._place(s)
            return
        mujoco.mj_resetData(self._env.model, self._env.data)
        self._place(s)
        mujoco.mj_forward(self._env.model, self._env.data)

    def _place(self, s: np.ndarray) -> None:
        data, (nq, nv, na) = self._env.data, self._simulator.sizes
        data.qpos[:], data.qvel[:] = s[:nq], s[nq : nq + nv]
        if na:
            data.act[:] = s[nq + nv :]

    def _ignores_derived(self, seed: int) -> bool:
        """Whether a random step has the same reward and termination if all derived quantities are NaN."""
        rng, size = np.random.default_rng(seed), self._simulator.size
        self._env.reset(seed=seed)
        start = self._simulator.get(self._env.data)[None] + 0.1 * rng.standard_normal((1, size))
        u = rng.uniform(self._env.action_space.low, self._env.action_space.high)[None, None]
        fine = self._simulator.roll(start, u)
        if fine.shape[2] < 2 or not np.isfinite(fine).all():
            return False
        steps = start, fine[:, :, -2], fine[:, :, -1], u
        expected = self(*steps)
        self.plain = True
        _spoil(self._env.data)
        try:
            without = self(*steps)
        except Exception:  # third-party code may fail on NaN
            return False
        finally:
            self.plain = False
            mujoco.mj_resetData(self._env.model, self._env.data)
        return all(np.array_equal(a, b) for a, b in zip(without, expected, strict=True))

    def _require_held(self, env: gym.Env, name: str) -> None:
        """Try one step: the environment must simulate `frame_skip` steps under the unchanged action."""
        seen: list[tuple[np.ndarray, int]] = []
        self._env.do_simulation = lambda ctrl, n: seen.append((np.array(ctrl, float), n))
        action = 0.3 * self._env.action_space.low + 0.7 * self._env.action_space.high
        try:
            env.reset(seed=0)
            self._step(action.astype(self._dtype))
        except Exception as error:  # third-party code may raise any exception
            raise UsageError(f"{name} cannot be replayed: its step raised {first_line(error)}.") from error
        held = len(seen) == 1 and np.allclose(seen[0][0], action) and seen[0][1] == self._simulator.frame_skip
        if not held:
            raise UsageError(f"{name} does more than hold its action and simulate, so it cannot be replayed: {REMEDY}.")


def require_mujoco(env: gym.Env) -> Any:
    """The MuJoCo environment inside all wrappers; raises `UsageError` if there is none."""
    inner = env.unwrapped
    if not all(hasattr(inner, part) for part in ("model", "data", "frame_skip", "do_simulation")):
        remedy = "give a Gymnasium MuJoCo environment, an MJCF file, or a shipped system"
        raise UsageError(f"{name_of(env)} has no known model (it is not a MuJoCo environment): {remedy}.")
    return inner


def name_of(env: gym.Env) -> str:
    """The registered id, else the name of the class."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def _without_neutral(env: gym.Env) -> gym.Env:
    """The environment without outer wrappers that change neither reward nor termination."""
    while isinstance(env, _NEUTRAL):
        env = env.env
    return env


def _spoil(data: mujoco.MjData) -> None:
    """Set every array of derived quantities to NaN."""
    for name in dir(data):
        value = None if name.startswith("_") else getattr(data, name)
        if isinstance(value, np.ndarray) and value.dtype == np.float64:
            value.fill(np.nan)
