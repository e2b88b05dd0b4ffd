"""MuJoCo as a batch simulator: rollouts on several threads; no state is kept between calls.

Symbols: physics state s = [qpos; qvel; act] [k], k = nq + nv + na; controls u = ctrl [m], held for `frame_skip` steps.
MuJoCo computes in float64 on the host.
Source: MuJoCo documentation, "Simulation: the state" and "mujoco.rollout".
"""

import copy
import os
import threading

import mujoco
import mujoco.rollout
import numpy as np

from forethought.core import UsageError
from forethought.dynamics.mujoco.messages import no_warnings, python_warnings

_PHYSICS = mujoco.mjtState.mjSTATE_FULLPHYSICS


class Simulator:
    """A model and its simulation threads.  It keeps no state: rollouts depend on their arguments only.

    A rollout that diverges ends in NaN; MuJoCo by default would reset to its default state.

    The contact solver starts from zero in a rollout, but from its last solution in an environment; with contacts, the
    results differ in the last digits (see `forethought.envs.mujoco.known_model`).
    """

    def __init__(self, model: mujoco.MjModel, *, frame_skip: int = 1, threads: int | None = None):
        """Copy `model`; `threads`: None means one per available core."""
        if frame_skip < 1:
            raise ValueError(f"frame_skip must be at least 1 step of the simulator, got {frame_skip}.")
        self.model = _copy(model)
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.frame_skip = frame_skip
        self.threads = _usable_cores() if threads is None else threads
        self.sizes = (self.model.nq, self.model.nv, self.model.na)
        self.size = sum(self.sizes)
        self.lock = threading.RLock()  # several threads may call at once, and they share the scratch data
        self.data = [mujoco.MjData(self.model) for _ in range(max(1, self.threads))]  # scratch, one for each thread
        self._pool = mujoco.rollout.Rollout(nthread=self.threads if self.threads > 1 else 0)
        self._width = mujoco.mj_stateSize(self.model, _PHYSICS)
        self._limit = min(1.0, self.model.opt.timestep) * mujoco.mjMAXVAL  # MuJoCo treats larger values as invalid

    @property
    def dt(self) -> float:
        """Seconds per action."""
        return self.model.opt.timestep * self.frame_skip

    def roll(self, start: np.ndarray, us: np.ndarray) -> np.ndarray:
        """The states s [B, T, frame_skip, k] after each simulator step, from s [B, k] under actions [B, T, m]."""
        batch, steps, _ = us.shape
        begin = np.zeros((batch, self._width))
        begin[:, 1 : 1 + self.size] = start  # column 0 is the time
        controls = np.repeat(us, self.frame_skip, axis=1)
        data = self.data if self.threads > 1 else self.data[:1]
        with self.lock, no_warnings(), np.errstate(all="ignore"):
            states, _ = self._pool.rollout(self.model, data, begin, controls)
        states = states[:, :, 1 : 1 + self.size]
        bad = ~np.all(np.abs(states) < self._limit, axis=-1)
        states[np.maximum.accumulate(bad, axis=1)] = np.nan
        return states.reshape(batch, steps, self.frame_skip, self.size)

    def put(self, data: mujoco.MjData, s: np.ndarray) -> None:
        """Set the physics state, without computing derived quantities."""
        nq, nv, _ = self.sizes
        mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:], data.act[:] = s[:nq], s[nq : nq + nv], s[nq + nv :]

    def get(self, data: mujoco.MjData) -> np.ndarray:
        """The physics state s [k]."""
        return np.concatenate([data.qpos, data.qvel, data.act])


def load_model(source: str | os.PathLike) -> mujoco.MjModel:
    """The model of an MJCF file or MJCF string.

    Raises:
        UsageError: there is no such file, or MuJoCo cannot compile the model.
    """
    text = os.fspath(source)
    try:
        with python_warnings():
            if text.lstrip().startswith("<"):
                return mujoco.MjModel.from_xml_string(text)
            return mujoco.MjModel.from_xml_path(os.path.expanduser(text))
    except (ValueError, OSError) as error:
        what = "MJCF string" if text.lstrip().startswith("<") else f"model '{text}'"
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"MuJoCo cannot load the {what}: {line}") from error


def _copy(model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy, so that changed flags do not affect the caller's model."""
    return copy.copy(model)


def _usable_cores() -> int:
    """Number of cores that this process may use; all cores if the system does not report it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
