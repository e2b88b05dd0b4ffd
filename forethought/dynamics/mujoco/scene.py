"""A MuJoCo arm whose states also hold points of its last link: the dynamics of the reaching and insertion tasks.

Symbols (m motors, one for each joint of the arm; k points on its last link; a coordinates kept of each point)
    q, v [m]        angles of the arm's joints (rad) and their rates (rad/s)
    b [c]           position of a fixture that stands on c slides (m), constant during an episode; c = 0: no fixture
    p [k a]         positions of the points relative to the site `target` of the fixture (m):  p = p0(q) - b
    w [k a]         their velocities (m/s):  w = (dp0/dq) v
    x = [q; v; p; w]         the state of planners and learners, n = 2 m + 2 k a
    s = [q; b; v; 0]         the state of MuJoCo; b = p0(q) - p, the mean over the points
The points make the cost of a task a simple function of the state, and they tell a policy where the fixture is.
Derivatives of MuJoCo's part are finite differences; those of p0 are analytic (`forethought.dynamics.rigid_body`).
"""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta, LinearGaussian
from forethought.dynamics.mujoco.derivatives import central_differences
from forethought.dynamics.mujoco.last_derivative import last_derivative
from forethought.dynamics.mujoco.mujoco_dynamics import MujocoDynamics
from forethought.dynamics.mujoco.simulator import Simulator, load_model
from forethought.dynamics.rigid_body import RigidBody

SCENES = Path(__file__).with_name("scenes")
TARGET = "target"  # the site that points are measured from
STEP = 1e-3  # of the differences, in the units of each coordinate

Joints: TypeAlias = Sequence | np.ndarray | Array  # numbers


class ArmScene(eqx.Module):
    """`x' = f(x, u)`; u [m] are the torques of the motors (N m), held for `dt`."""

    simulation: MujocoDynamics  # of s
    body: RigidBody  # the kinematics of s
    points: Float[Array, "k 3"]  # in the frame of the arm's last link, m
    target: Float[Array, "3"]  # position at b = 0, m
    sites: tuple[str, ...] = eqx.field(static=True)  # names of the points in the model
    axes: tuple[int, ...] = eqx.field(static=True)  # coordinates of the points that the state holds

    @staticmethod
    def load(name: str, sites: tuple[str, ...], *, dt: float, axes: tuple[int, ...] = (0, 1, 2)) -> "ArmScene":
        """The scene of a file in `scenes/`.

        Args:
            name: of the file, without ".xml".
            sites: names of the points, all on the last link of the arm.
            dt: s per action.
            axes: coordinates of the points that the state holds; the others must be constant.
        """
        return ArmScene.of(_simulator(name, dt), sites, axes=axes)

    @staticmethod
    def of(simulator: Simulator, sites: tuple[str, ...], *, axes: tuple[int, ...] = (0, 1, 2)) -> "ArmScene":
        """The scene of a model whose joints are those of the arm, followed by those of the fixture.

        Raises:
            ValueError: a point is not on the arm's last link.
        """
        model = simulator.model
        last = model.jnt_bodyid[model.nu - 1]
        wrong = [site for site in sites if model.site(site).bodyid[0] != last]
        if wrong:
            raise ValueError(f"The points {wrong} are not on the arm's last link, '{model.body(last).name}'.")
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        points = np.stack([data.site(site).xpos for site in sites]) - data.xanchor[model.nu - 1]
        free = copy.copy(model)  # contacts and limits of joints do not matter for kinematics
        free.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
        body = RigidBody.from_mujoco(free, frame_skip=simulator.frame_skip)
        target = jnp.asarray(data.site(TARGET).xpos)
        return ArmScene(MujocoDynamics(simulator), body, jnp.asarray(points), target, sites, axes)

    @property
    def simulator(self) -> Simulator:
        """MuJoCo's model and threads."""
        return self.simulation.simulator

    @property
    def dt(self) -> float:
        """Seconds per action."""
        return self.simulation.dt

    @property
    def joints(self) -> int:
        """The number of joints of the arm, m."""
        return self.simulator.model.nu

    @property
    def slides(self) -> int:
        """The number of slides of the fixture, c."""
        return self.simulator.model.nq - self.joints

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Delta:
        """The state after one action; differentiable once."""
        return Delta(self.observe(self.simulation(self.physics(x), u, t).mean))

    def draw(self, *, key: PRNGKeyArray) -> "ArmScene":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def simulate(self, x0: Float[Array, "n"], us: Float[Array, "S T m"]) -> Float[Array, "S T1 n"]:
        """All candidates in one call of the simulator; see `HasSimulate`."""
        after = self.simulation.simulate(self.physics(x0), us)[:, 1:]
        first = jnp.broadcast_to(x0, (us.shape[0], 1, x0.shape[0]))
        return jnp.concatenate([first, jax.vmap(jax.vmap(self.observe))(after)], axis=1)

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """`x' = F [x; u] + f` around (x, u); see `HasLinearize`.

        The derivatives of MuJoCo's part are differences over a whole action, of `STEP` in each coordinate.  They are
        bounded where a contact begins or ends during the action; a product of the derivatives of MuJoCo's own steps is
        not, because the acceleration jumps there.
        """
        del t
        s, k = self.physics(x), self.simulation.size
        shapes = jax.ShapeDtypeStruct((k,), x.dtype), jax.ShapeDtypeStruct((k, k + u.shape[0]), x.dtype)
        s, u = last_derivative(s), last_derivative(u)
        differences = functools.partial(_differences, self.simulator, self.slides)
        after, F = jax.pure_callback(differences, shapes, s, u, vmap_method="broadcast_all")
        by_x = F[:, :k] @ jax.jacfwd(self.physics)(x)
        F = jax.jacfwd(self.observe)(after) @ jnp.concatenate([by_x, F[:, k:]], axis=1)
        f = self.observe(after) - jnp.sum(F * jnp.concatenate([x, u])[None], axis=1)
        return LinearGaussian(F, f, jnp.zeros((x.shape[0], x.shape[0]), x.dtype))

    def at_rest(self, q: Joints, fixture: Joints = ()) -> np.ndarray:
        """The state x [n] at rest with the joints at `q` [m] and the fixture at `fixture` [c]; computed by MuJoCo."""
        data = mujoco.MjData(self.simulator.model)
        data.qpos[:] = [*q, *fixture]
        mujoco.mj_kinematics(self.simulator.model, data)
        p = np.stack([data.site(site).xpos - data.site(TARGET).xpos for site in self.sites])[:, list(self.axes)].ravel()
        return np.concatenate([q, np.zeros(self.joints), p, np.zeros(p.size)])

    def observe(self, s: Float[Array, "k"]) -> Float[Array, "n"]:
        """The state x of the physics state s."""
        m, c = self.joints, self.slides
        q, b, v = s[:m], s[m : m + c], s[m + c : 2 * m + c]
        p, w = jax.jvp(lambda q: self._positions(q, b), (q,), (v,))
        return jnp.concatenate([q, v, p, w])

    def physics(self, x: Float[Array, "n"]) -> Float[Array, "k"]:
        """The physics state s of the state x."""
        m, c = self.joints, self.slides
        q, v = x[:m], x[m : 2 * m]
        none = jnp.zeros(c, x.dtype)
        offsets = self._positions(q, none) - x[2 * m : 2 * m + self.points.shape[0] * len(self.axes)]
        b = jnp.mean(offsets.reshape(-1, len(self.axes)), axis=0)[:c]
        return jnp.concatenate([q, b, v, none])

    def _positions(self, q: Float[Array, "m"], b: Float[Array, "c"]) -> Float[Array, "ka"]:
        """The positions p of the points."""
        T = self.body.frames(jnp.concatenate([q, jnp.zeros_like(b)]))[q.shape[0] - 1]
        points, target = self.points.astype(q.dtype), self.target.astype(q.dtype)
        target = jnp.concatenate([target[: b.shape[0]] + b, target[b.shape[0] :]])
        p = points @ T[:3, :3].T + (T[:3, 3] - target)[None]
        return p[:, np.array(self.axes)].ravel()


def _differences(simulator: Simulator, slides: int, s: Any, u: Any) -> tuple[np.ndarray, np.ndarray]:
    """On the host, with any leading axes: s' [..., k] and its derivatives by [s; u], [..., k, k + m]."""
    s, u = np.asarray(s), np.asarray(u)
    k, m = s.shape[-1], u.shape[-1]
    rows, controls = s.reshape(-1, k).astype(float), u.reshape(-1, m).astype(float)
    step = lambda z: simulator.roll(z[:, :k], z[:, None, k:])[:, 0, -1]  # noqa: E731
    moved = np.r_[0 : k - slides, k : k + m]  # the fixture stays at rest
    moves = np.broadcast_to(np.eye(k + m)[moved], (len(rows), moved.size, k + m))
    F = np.zeros((len(rows), k, k + m))
    F[:, :, moved] = central_differences(step, rows, controls, moves, STEP)
    after = step(np.concatenate([rows, controls], axis=1))
    return after.astype(s.dtype).reshape(s.shape), F.astype(s.dtype).reshape(*s.shape, k + m)


@functools.cache
def _simulator(name: str, dt: float) -> Simulator:
    """One simulator for all instances of a scene, so that functions of them are compiled once."""
    model = load_model(SCENES / f"{name}.xml")
    return Simulator(model, frame_skip=round(dt / model.opt.timestep))
