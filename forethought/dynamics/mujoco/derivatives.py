"""Derivatives of MuJoCo's steps along whole trajectories: B pairs (s, u) in one call, on the simulator's threads.

Symbols as in `forethought.dynamics.mujoco.simulator`; B pairs, w = 2 nv + na coordinates of the tangent space.
    ds' = D [ds; du]          D [k, k + m] = [G(s') A G(s)^+, G(s') B], A [w, w] and B [w, m] in tangent coordinates
The columns of G are orthogonal, so that G^+ is its transpose with rows scaled.
Source: MuJoCo documentation, "mjd_transitionFD"; it does not support the RK4 integrator, for which central differences
are used.
"""

from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from forethought.dynamics.mujoco.messages import no_warnings
from forethought.dynamics.mujoco.simulator import Simulator

STEP = 1e-6  # of the differences, in the units of each coordinate; float64


def step_derivatives(simulator: Simulator, s: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The derivatives of s' with respect to [s; u], [B, k, k + m], at s [B, k] and u [B, m]."""
    model = simulator.model
    if model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4:
        up = tangents(model, s)
        D = _differences(simulator, s, u, up)
        width = up.shape[2]
        return np.concatenate([_times_inverse(D[:, :, :width], up), D[:, :, width:]], axis=2)
    after, A, B = _transitions(simulator, s, u)
    if model.nq == model.nv:  # no quaternions: G = I
        return np.concatenate([A, B], axis=2)
    up = tangents(model, after)
    return np.concatenate([_times_inverse(up @ A, tangents(model, s)), up @ B], axis=2)


def _transitions(simulator: Simulator, s: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The states s' [B, k]; in tangent coordinates, their derivatives A [B, w, w] (dv) and B [B, w, m] (u)."""
    model, (batch, k) = simulator.model, s.shape
    w, m = 2 * model.nv + model.na, u.shape[1]
    after, A, B = np.empty((batch, k)), np.empty((batch, w, w)), np.empty((batch, w, m))

    def work(data: mujoco.MjData, rows: np.ndarray) -> None:
        for i in rows:
            simulator.put(data, s[i])
            after[i], A[i], B[i] = _transition(simulator, data, u[i])

    with simulator.lock, no_warnings():
        workers = min(len(simulator.data), batch)
        parts = np.array_split(np.arange(batch), workers)
        if workers == 1:
            work(simulator.data[0], parts[0])
        else:  # MuJoCo releases the interpreter lock
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, simulator.data, parts))
    return after, A, B


def _transition(simulator: Simulator, data: mujoco.MjData, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for one state, stored in `data`."""
    model = simulator.model
    w = 2 * model.nv + model.na
    A, B = np.eye(w), np.zeros((w, u.size))
    one_A, one_B = np.empty_like(A), np.empty_like(B)
    data.ctrl[:] = u
    for i in range(simulator.frame_skip):
        mujoco.mjd_transitionFD(model, data, STEP, True, one_A, one_B if u.size else None, None, None)
        A, B = (one_A @ A, one_A @ B + one_B) if i else (one_A.copy(), one_B.copy())
        mujoco.mj_step(model, data)
    return simulator.get(data), A, B


def _differences(simulator: Simulator, s: np.ndarray, u: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Central differences of rollouts: derivatives of s' with respect to [dv; u], [B, k, w + m], for G [B, k, w]."""
    batch, k, w = G.shape
    m = u.shape[1]
    moves = np.zeros((batch, w + m, k + m))
    moves[:, :w, :k], moves[:, w:, k:] = G.transpose(0, 2, 1), np.eye(m)
    return central_differences(lambda z: simulator.roll(z[:, :k], z[:, None, k:])[:, 0, -1], s, u, moves)


def central_differences(f, s: np.ndarray, u: np.ndarray, moves: np.ndarray, step: float = STEP) -> np.ndarray:
    """The derivative of f([s; u]) along D directions, [B, e, D], in one call of f.

    Args:
        f: from [N, k + m] to [N, e].
        s: states [B, k].
        u: actions [B, m].
        moves: directions [B, D, k + m].
        step: factor on the directions.
    """
    batch, D, d = moves.shape
    z = np.concatenate([s, u], axis=1)[:, None]
    ends = f(np.concatenate([z + step * moves, z - step * moves], axis=1).reshape(-1, d)).reshape(batch, 2, D, -1)
    return ((ends[:, 0] - ends[:, 1]) / (2 * step)).transpose(0, 2, 1)


def _times_inverse(D: np.ndarray, G: np.ndarray) -> np.ndarray:
    """`D G^+`."""
    return D @ (G / np.sum(G**2, axis=1, keepdims=True)).transpose(0, 2, 1)


def tangents(model: mujoco.MjModel, s: np.ndarray) -> np.ndarray:
    """G(s) [B, k, w]: derivatives of states [B, k] with respect to their tangent coordinates."""
    nq, nv, (batch, k) = model.nq, model.nv, s.shape
    G = np.zeros((batch, k, k - nq + nv))
    G[:, nq:, nv:] = np.eye(k - nq)
    for kind, at, to in zip(model.jnt_type, model.jnt_qposadr, model.jnt_dofadr, strict=True):
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            G[:, at : at + 3, to : to + 3] = np.eye(3)
            G[:, at + 3 : at + 7, to + 3 : to + 6] = _half_turns(s[:, at + 3 : at + 7])
        elif kind == mujoco.mjtJoint.mjJNT_BALL:
            G[:, at : at + 4, to : to + 3] = _half_turns(s[:, at : at + 4])
        else:
            G[:, at, to] = 1.0
    return G


def _half_turns(q: np.ndarray) -> np.ndarray:
    """Derivatives of unit quaternions [B, 4], (w, x, y, z), with respect to rotations about body axes, [B, 4, 3]."""
    w, x, y, z = q.T
    return 0.5 * np.array([[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]]).transpose(2, 0, 1)
