"""Any MuJoCo model as dynamics, simulated by MuJoCo itself.

Symbols
    s = [qpos; qvel; act]   physics state [k], k = nq + nv + na
    x = s, or x = [s; r; done] with a reward function: r is the reward of the step that led to x, and done is 1 from
        the state that ended the episode on, else 0; after that state, s does not change and r = 0
    u = ctrl [nu], held for `frame_skip` steps of the simulator
    dv [2 nv + na]          a small change of s in the tangent space, where a quaternion has three coordinates:
                            ds = G(s) dv, dv = G(s)^+ ds   (see `forethought.dynamics.mujoco.derivatives`)
MuJoCo computes in float64 on the host; the results are converted to the dtype of x.
Source: MuJoCo documentation, "Simulation: the state" and "mjd_transitionFD"; Todorov, Erez & Tassa (2012).
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta, LinearGaussian
from forethought.dynamics.mujoco.derivatives import central_differences, step_derivatives
from forethought.dynamics.mujoco.last_derivative import last_derivative
from forethought.dynamics.mujoco.simulator import Simulator


@runtime_checkable
class RewardFunction(Protocol):
    """Computes the rewards of simulated steps and whether they end the episode; runs on the host."""

    def __call__(
        self, start: np.ndarray, nearly: np.ndarray, after: np.ndarray, us: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rewards [B, T], and whether each step ended the episode [B, T], for B rollouts.

        Args:
            start: initial states, s [B, k].
            nearly: states one simulator step before the end of each control step, s [B, T, k].
            after: states at the end of each control step, s [B, T, k].
            us: actions [B, T, m].
        """
        ...


class MujocoDynamics(eqx.Module):
    """`x' = f(x, u)` by MuJoCo; see the symbols above.  Under `vmap`, the batch is simulated by several threads."""

    simulator: Simulator = eqx.field(static=True)
    reward_function: RewardFunction | None = eqx.field(static=True, default=None)

    @property
    def dt(self) -> float:
        """Seconds per action."""
        return self.simulator.dt

    @property
    def size(self) -> int:
        """Coordinates of x."""
        return self.simulator.size + (0 if self.reward_function is None else 2)

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Delta:
        """The state after one action; differentiable once, with the derivatives of `linearize`."""
        del t
        return Delta(self._path(x, u[None])[0])

    def draw(self, *, key: PRNGKeyArray) -> "MujocoDynamics":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def simulate(self, x0: Float[Array, "n"], us: Float[Array, "S T m"]) -> Float[Array, "S T1 n"]:
        """All candidates in one call of the simulator; differentiable once; see `HasSimulate`."""
        xs = jax.vmap(self._path, (None, 0))(x0, us)
        return jnp.concatenate([jnp.broadcast_to(x0, (us.shape[0], 1, x0.shape[0])), xs], axis=1)

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """`x' = F [x; u] + f` around (x, u), by finite differences; see `HasLinearize`.

        Under `vmap` the whole batch is one call on all threads, such as the derivatives along a trajectory.
        Quaternions are differentiated in the tangent space of the unit sphere, rewards by central differences.
        """
        del t
        (after,), (F,) = self._derivatives(x, u[None])
        return LinearGaussian(F, after - F @ jnp.concatenate([x, u]), jnp.zeros((x.shape[0], x.shape[0]), x.dtype))

    def _derivatives(
        self, x0: Float[Array, "n"], us: Float[Array, "T m"]
    ) -> tuple[Float[Array, "T n"], Float[Array, "T n d"]]:
        """The states x' after each action, and the derivatives F [n, n + m] of each with respect to [x; u] before it.

        The derivatives cannot be differentiated again.
        """
        (n,), (T, m) = x0.shape, us.shape
        shapes = jax.ShapeDtypeStruct((T, n), x0.dtype), jax.ShapeDtypeStruct((T, n, n + m), x0.dtype)
        x0, us = last_derivative(x0), last_derivative(us)
        return jax.pure_callback(self._derivatives_on_host, shapes, x0, us, vmap_method="broadcast_all")

    def _path(self, x0: Float[Array, "n"], us: Float[Array, "T m"]) -> Float[Array, "T n"]:
        """The states after each action; differentiable, with one call for the derivatives of all steps."""

        @jax.custom_jvp
        def path(x0, us):
            shape = jax.ShapeDtypeStruct((us.shape[0], x0.shape[0]), x0.dtype)
            return jax.pure_callback(self._roll, shape, x0, us, vmap_method="broadcast_all")

        @path.defjvp
        def _derivative(primals, tangents):
            (x0, us), (dx0, dus) = primals, tangents
            xs, F = self._derivatives(x0, us)

            def step(dx, along):
                F, du = along
                dx = jnp.sum(F * jnp.concatenate([dx, du])[None], axis=1)
                return dx, dx

            return xs, jax.lax.scan(step, dx0, (F, dus))[1]

        return path(x0, us)

    def _roll(self, x0: Any, us: Any) -> np.ndarray:
        """The states after each action, on the host, with any leading axes: x0 [..., n], us [..., T, m]."""
        x0, us = np.asarray(x0), np.asarray(us)
        *batch, T, m = us.shape
        x0_rows = x0.reshape(-1, x0.shape[-1])  # explicit sizes instead of -1: a model without actuators has m = 0
        xs = self.roll(x0_rows.astype(float), us.reshape(len(x0_rows), T, m).astype(float))
        with np.errstate(over="ignore"):
            return xs.astype(x0.dtype).reshape(*batch, T, x0.shape[-1])

    def roll(self, x0: np.ndarray, us: np.ndarray) -> np.ndarray:
        """The states x [B, T, n] after each action, on the host and in float64."""
        k = self.simulator.size
        s = x0[:, :k]
        fine = self.simulator.roll(s, us)
        after = fine[:, :, -1]
        if self.reward_function is None:
            return after
        nearly = fine[:, :, -2] if fine.shape[2] > 1 else np.concatenate([s[:, None], after[:, :-1]], axis=1)
        rewards, ended = self.reward_function(s, nearly, after, us)
        return _stopped(x0, after, rewards, ended)

    def _derivatives_on_host(self, x0: Any, us: Any) -> tuple[np.ndarray, np.ndarray]:
        """On the host, with any leading axes: x' [..., T, n] and its derivatives by [x; u], [..., T, n, n + m]."""
        x0, us = np.asarray(x0), np.asarray(us)
        (*batch, T, m), n, dtype = us.shape, x0.shape[-1], x0.dtype
        starts = x0.reshape(-1, n).astype(float)
        after = self.roll(starts, us.reshape(len(starts), T, m).astype(float))
        x = np.concatenate([starts[:, None], after[:, :-1]], axis=1).reshape(-1, n)
        F = self._step_derivatives(x, us.reshape(len(x), m).astype(float))
        with np.errstate(over="ignore"):
            return after.astype(dtype).reshape(*batch, T, n), F.astype(dtype).reshape(*batch, T, n, n + m)

    def _step_derivatives(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The derivatives [B, n, n + m] of x' by [x; u], at x [B, n] and u [B, m]."""
        n, m, k = x.shape[1], u.shape[1], self.simulator.size
        physics = np.r_[0:k, n : n + m]  # r and done have no effect on the dynamics
        F = np.zeros((x.shape[0], n, n + m))
        if self.reward_function is None:
            F[:, :k, physics] = step_derivatives(self.simulator, x, u)
        else:
            on = np.flatnonzero(x[:, -1] < 0.5)
            F[:, np.arange(k), np.arange(k)] = 1.0  # after the end of an episode
            if on.size:
                F[np.ix_(on, np.arange(k), physics)] = step_derivatives(self.simulator, x[on, :k], u[on])
                F[np.ix_(on, [k], physics)] = self._reward_derivative(x[on], u[on], np.eye(n + m)[physics])
        return F

    def _reward_derivative(self, x: np.ndarray, u: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The derivatives [B, 1, D] of r along D directions of [x; u], [D, n + m]."""
        n = x.shape[1]
        moves = np.broadcast_to(directions, (x.shape[0], *directions.shape))
        return central_differences(lambda z: self.roll(z[:, :n], z[:, None, n:])[:, 0, -2:-1], x, u, moves)


def _stopped(x0: np.ndarray, after: np.ndarray, rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """The states x [B, T, n] of rollouts, constant after the step that ended the episode."""
    was_over = x0[:, -1:] > 0.5
    over = np.concatenate([was_over, was_over | np.logical_or.accumulate(ended, axis=1)], axis=1)  # [B, T + 1]
    states = np.concatenate([x0[:, None, :-2], after], axis=1)
    # After the end of an episode, its terminal state is repeated: that of the latest t at whose start it still ran.
    moved = np.concatenate([np.ones_like(was_over), ~over[:, :-1]], axis=1)
    last = np.maximum.accumulate(np.where(moved, np.arange(moved.shape[1]), 0), axis=1)
    states = np.take_along_axis(states, last[..., None], axis=1)[:, 1:]
    r = np.where(over[:, :-1], 0.0, rewards)
    return np.concatenate([states, r[..., None], over[:, 1:, None]], axis=-1)
