"""Any MuJoCo model as dynamics, simulated by MuJoCo itself.

Symbols
    s = [qpos; qvel; act]   physics state [k], k = nq + nv + na
    x = s, or x = [s; r; done] where a judge pays: r is the reward of the step that led to s, done is 0 while the
        episode lasts, 1 in the state that ended it and 2 from then on, where nothing moves and nothing is paid
    u = ctrl [nu], held for `frame_skip` steps of the simulator
    dv [2 nv + na]          a small change of s in the tangent space, where a quaternion has three coordinates:
                            ds = G(s) dv, dv = G(s)^+ ds
MuJoCo computes in float64 on the host, whatever the dtype of the states, which follows x.
Source: MuJoCo documentation, "Simulation: the state" and "mjd_transitionFD"; Todorov, Erez & Tassa (2012).
"""

import copy
import os
import threading
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import mujoco
import mujoco.rollout
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta, LinearGaussian, UsageError

_PHYSICS = mujoco.mjtState.mjSTATE_FULLPHYSICS


@runtime_checkable
class Judge(Protocol):
    """Pays for simulated steps, on the host."""

    def __call__(
        self, start: np.ndarray, nearly: np.ndarray, after: np.ndarray, us: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rewards [B, T] and whether the episode ended [B, T], of B rollouts.

        Args:
            start: where each began, s [B, k].
            nearly: one simulator step before the end of every step, s [B, T, k].
            after: at the end of every step, s [B, T, k].
            us: actions [B, T, m].
        """
        ...


class Simulator:
    """A model, and the threads that roll it out.  It holds no state: rollouts depend on their arguments only.

    A rollout that diverges ends in NaN, where MuJoCo by itself would quietly start again from its default state.
    """

    def __init__(self, model: mujoco.MjModel, *, frame_skip: int = 1, threads: int | None = None):
        """Copy `model`; `threads` are as many as cores may be used, where None."""
        if frame_skip < 1:
            raise ValueError(f"frame_skip must be at least 1 step of the simulator, got {frame_skip}.")
        self.model = _copy(model)
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.frame_skip = frame_skip
        self.threads = _usable_cores() if threads is None else threads
        self.sizes = (self.model.nq, self.model.nv, self.model.na)
        self.size = sum(self.sizes)
        self.lock = threading.RLock()  # compiled functions may call from several threads; the scratch data are one
        self._data = [mujoco.MjData(self.model) for _ in range(max(1, self.threads))]
        self._pool = mujoco.rollout.Rollout(nthread=self.threads if self.threads > 1 else 0)
        self._width = mujoco.mj_stateSize(self.model, _PHYSICS)
        self._limit = min(1.0, self.model.opt.timestep) * mujoco.mjMAXVAL  # what MuJoCo itself calls bad

    @property
    def dt(self) -> float:
        """Seconds per action."""
        return self.model.opt.timestep * self.frame_skip

    def roll(self, start: np.ndarray, us: np.ndarray) -> np.ndarray:
        """The states s [B, T, frame_skip, k] after each simulator step, from s [B, k] under actions [B, T, m]."""
        batch, steps, _ = us.shape
        begin = np.zeros((batch, self._width))
        begin[:, 1 : 1 + self.size] = start  # the time comes first
        controls = np.repeat(us, self.frame_skip, axis=1)
        data = self._data if self.threads > 1 else self._data[:1]
        with self.lock, np.errstate(all="ignore"):
            states, _ = self._pool.rollout(self.model, data, begin, controls)
        states = states[:, :, 1 : 1 + self.size]
        bad = ~np.all(np.abs(states) < self._limit, axis=-1)
        states[np.maximum.accumulate(bad, axis=1)] = np.nan
        return states.reshape(batch, steps, self.frame_skip, self.size)

    def linearise(self, s: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The derivative of s' by [s; u], [k, k + m]."""
        down = np.linalg.pinv(self.tangent(s))
        if self.model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4:  # mjd_transitionFD does not know it
            D = self._differences(s, u, self.tangent(s))
            width = down.shape[0]
            return np.concatenate([D[:, :width] @ down, D[:, width:]], axis=1)
        with self.lock:
            after, A, B = self._transitions(s, u)
        up = self.tangent(after)
        return np.concatenate([up @ A @ down, up @ B], axis=1)

    def _transitions(self, s: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The state s' and its derivatives by dv [2 nv + na, 2 nv + na] and u, in tangent coordinates."""
        model, data = self.model, self._data[0]
        width = 2 * model.nv + model.na
        A, B = np.eye(width), np.zeros((width, model.nu))
        one_A, one_B = np.zeros_like(A), np.zeros_like(B)
        self.put(data, s)
        data.ctrl[:] = u
        for _ in range(self.frame_skip):
            mujoco.mjd_transitionFD(model, data, 1e-6, True, one_A, one_B, None, None)
            A, B = one_A @ A, one_A @ B + one_B
            mujoco.mj_step(model, data)
        return self.get(data), A, B

    def _differences(self, s: np.ndarray, u: np.ndarray, G: np.ndarray, step: float = 1e-6) -> np.ndarray:
        """The same by central differences of rollouts: ds' by [dv; u], [k, 2 nv + na + m]."""
        k, width = G.shape
        moves = np.zeros((width + u.size, k + u.size))
        moves[:width, :k], moves[width:, k:] = G.T, np.eye(u.size)
        z = np.concatenate([s, u]) + step * np.concatenate([moves, -moves])
        ahead, behind = np.split(self.roll(z[:, :k], z[:, None, k:])[:, 0, -1], 2)
        return ((ahead - behind) / (2 * step)).T

    def put(self, data: mujoco.MjData, s: np.ndarray) -> None:
        """Set the physics state; nothing derived from it is computed."""
        nq, nv, _ = self.sizes
        mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:], data.act[:] = s[:nq], s[nq : nq + nv], s[nq + nv :]

    def get(self, data: mujoco.MjData) -> np.ndarray:
        """The physics state s [k]."""
        return np.concatenate([data.qpos, data.qvel, data.act])

    def tangent(self, s: np.ndarray) -> np.ndarray:
        """G(s) [k, 2 nv + na]: how the state moves with its tangent coordinates."""
        nq, nv, _ = self.sizes
        G = np.zeros((self.size, self.size - nq + nv))
        G[nq:, nv:] = np.eye(self.size - nq)
        for kind, at, to in zip(self.model.jnt_type, self.model.jnt_qposadr, self.model.jnt_dofadr, strict=True):
            if kind == mujoco.mjtJoint.mjJNT_FREE:
                G[at : at + 3, to : to + 3] = np.eye(3)
                G[at + 3 : at + 7, to + 3 : to + 6] = _half_turns(s[at + 3 : at + 7])
            elif kind == mujoco.mjtJoint.mjJNT_BALL:
                G[at : at + 4, to : to + 3] = _half_turns(s[at : at + 4])
            else:
                G[at, to] = 1.0
        return G


class MujocoDynamics(eqx.Module):
    """`x' = f(x, u)` by MuJoCo; see the symbols above.  Under `vmap`, calls go to the simulator's threads together."""

    simulator: Simulator = eqx.field(static=True)
    judge: Judge | None = eqx.field(static=True, default=None)

    @property
    def dt(self) -> float:
        """Seconds per action."""
        return self.simulator.dt

    @property
    def size(self) -> int:
        """Coordinates of x."""
        return self.simulator.size + (0 if self.judge is None else 2)

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Delta:
        """The state after one action."""
        del t
        return Delta(self._path(x, u[None])[0])

    def draw(self, *, key: PRNGKeyArray) -> "MujocoDynamics":
        """Itself: the system is known."""
        del key
        return self

    def simulate(self, x0: Float[Array, "n"], us: Float[Array, "S T m"]) -> Float[Array, "S T1 n"]:
        """All candidates in one call of the simulator; see `HasSimulate`."""
        xs = jax.vmap(self._path, (None, 0))(x0, us)
        return jnp.concatenate([jnp.broadcast_to(x0, (us.shape[0], 1, x0.shape[0])), xs], axis=1)

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """`x' = F [x; u] + f` around (x, u), by finite differences; see `HasLinearize`.

        Quaternions are differentiated along the unit sphere, and the reward of a judge by central differences.
        """
        del t
        n, m = x.shape[0], u.shape[0]
        shapes = jax.ShapeDtypeStruct((n,), x.dtype), jax.ShapeDtypeStruct((n, n + m), x.dtype)
        after, F = jax.pure_callback(self._derivative, shapes, x, u, vmap_method="sequential")
        return LinearGaussian(F, after - F @ jnp.concatenate([x, u]), jnp.zeros((n, n), x.dtype))

    def _path(self, x0: Float[Array, "n"], us: Float[Array, "T m"]) -> Float[Array, "T n"]:
        shape = jax.ShapeDtypeStruct((us.shape[0], x0.shape[0]), x0.dtype)
        return jax.pure_callback(self._roll, shape, x0, us, vmap_method="broadcast_all")

    def _roll(self, x0: Any, us: Any) -> np.ndarray:
        """On the host, with any leading axes: x0 [..., n], us [..., T, m]."""
        x0, us = np.asarray(x0), np.asarray(us)
        *batch, T, m = us.shape
        xs = self.roll(x0.reshape(-1, x0.shape[-1]).astype(float), us.reshape(-1, T, m).astype(float))
        with np.errstate(over="ignore"):
            return xs.astype(x0.dtype).reshape(*batch, T, x0.shape[-1])

    def roll(self, x0: np.ndarray, us: np.ndarray) -> np.ndarray:
        """The states x [B, T, n] after each action, on the host and in float64."""
        k = self.simulator.size
        s = x0[:, :k]
        fine = self.simulator.roll(s, us)
        after = fine[:, :, -1]
        if self.judge is None:
            return after
        nearly = fine[:, :, -2] if fine.shape[2] > 1 else np.concatenate([s[:, None], after[:, :-1]], axis=1)
        rewards, ended = self.judge(s, nearly, after, us)
        return _stopped(x0, after, rewards, ended)

    def _derivative(self, x: Any, u: Any) -> tuple[np.ndarray, np.ndarray]:
        dtype, x, u = np.asarray(x).dtype, np.asarray(x, float), np.asarray(u, float)
        k, n, m = self.simulator.size, x.size, u.size
        physics = np.r_[0:k, n : n + m]  # neither r nor done moves anything
        F = np.zeros((n, n + m))
        after = self.roll(x[None], u[None, None])[0, 0]
        if self.judge is None or after[-1] < 2:
            F[:k, physics] = self.simulator.linearise(x[:k], u)
            if self.judge is not None:
                F[k, physics] = self._differences(x, u, np.eye(n + m)[physics])[:, k]
        else:
            F[:k, :k] = np.eye(k)  # the episode is over
        return after.astype(dtype), F.astype(dtype)

    def _differences(self, x: np.ndarray, u: np.ndarray, directions: np.ndarray, step: float = 1e-6) -> np.ndarray:
        """Central differences of x' [D, n] along directions [D, n + m] of [x; u]."""
        z = np.concatenate([x, u]) + step * np.concatenate([directions, -directions])
        ahead, behind = np.split(self.roll(z[:, : x.size], z[:, None, x.size :])[:, 0], 2)
        return (ahead - behind) / (2 * step)


def _stopped(x0: np.ndarray, after: np.ndarray, rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """The states x [B, T, n] where rollouts stand still after the step that ended their episode."""
    was_over = x0[:, -1:] >= 1
    over = np.concatenate([was_over, was_over | np.logical_or.accumulate(ended, axis=1)], axis=1)  # [B, T + 1]
    states = np.concatenate([x0[:, None, :-2], after], axis=1)
    # Where an episode is over already, the last state in which it was not: the latest t whose predecessor went on.
    moved = np.concatenate([np.ones_like(was_over), ~over[:, :-1]], axis=1)
    last = np.maximum.accumulate(np.where(moved, np.arange(moved.shape[1]), 0), axis=1)
    states = np.take_along_axis(states, last[..., None], axis=1)[:, 1:]
    r = np.where(over[:, :-1], 0.0, rewards)
    done = over[:, 1:].astype(float) + over[:, :-1]
    return np.concatenate([states, r[..., None], done[..., None]], axis=-1)


def _half_turns(q: np.ndarray) -> np.ndarray:
    """How a unit quaternion [w, x, y, z] moves with a rotation about its own axes [4, 3]."""
    w, x, y, z = q
    return 0.5 * np.array([[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]])


def load_model(source: str | os.PathLike) -> mujoco.MjModel:
    """The model in an MJCF file, or in a string that is MJCF itself.

    Raises:
        UsageError: there is no such file, or MuJoCo cannot compile it.
    """
    text = os.fspath(source)
    try:
        if text.lstrip().startswith("<"):
            return mujoco.MjModel.from_xml_string(text)
        return mujoco.MjModel.from_xml_path(os.path.expanduser(text))
    except (ValueError, OSError) as error:
        what = "MJCF string" if text.lstrip().startswith("<") else f"model '{text}'"
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"MuJoCo cannot load the {what}: {line}") from error


def _copy(model: mujoco.MjModel) -> mujoco.MjModel:
    """Its own copy, so that switches set here do not reach the caller's."""
    return copy.copy(model)


def _usable_cores() -> int:
    """Cores that this process may use; not every system can tell them from those that exist."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
