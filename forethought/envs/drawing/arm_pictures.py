"""Pictures of the MuJoCo arms: parallel projections of their geoms, drawn without OpenGL.

A view projects a point r [3] (m) to (r[across], r[up]) plus a shift; geoms are drawn in the order of their depth, and
colored by their group: 0 arm, 1 last link or peg, 2 slot, which is drawn in section.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from forethought.core import Problem
from forethought.dynamics.mujoco.scene import TARGET, ArmScene
from forethought.envs.drawing.pictures import target
from forethought.envs.drawing.renderers import BLUE, FAINT, GRAY, GREEN, INK, ORANGE, Canvas, Color

COLORS: dict[int, Color] = {0: INK, 1: BLUE, 2: GRAY}
FAR = 1e3  # m; farther points are drawn here, so that the coordinates of any state are finite


@dataclass(frozen=True)
class View:
    """A parallel projection."""

    across: int  # the world's axis that points to the right
    up: int
    depth: int
    toward: int  # 1 if the depth axis points toward the viewer, else -1
    shift: tuple[float, float]  # m

    def __call__(self, r: np.ndarray) -> np.ndarray:
        """The projection [2] of r [3]."""
        return np.clip(r[[self.across, self.up]], -FAR, FAR) + self.shift


ABOVE = View(across=0, up=1, depth=2, toward=1, shift=(0.0, 0.0))
RIGHT_ABOVE = View(across=0, up=1, depth=2, toward=1, shift=(0.35, 0.0))
LEFT_SIDE = View(across=0, up=2, depth=1, toward=-1, shift=(-0.62, 0.05))


def two_link_arm(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From above; the arcs are the torques."""
    scene, task = problem.dynamics, problem.task
    canvas, data = Canvas(scale=230), _pose(scene, x)
    canvas.ring((0, 0), 0.75, FAINT, 0.006)
    target(canvas, ABOVE(data.site(TARGET).xpos), task.solved_distance)
    _geoms(canvas, scene, data, ABOVE)
    if u is not None:
        directions = np.cumsum(np.asarray(x[:2], float)) + np.pi
        for anchor, torque, toward in zip(data.xanchor, u, directions, strict=True):
            canvas.turn_arrow(ABOVE(anchor), 0.11, float(torque) / task.torque_limit, toward=float(toward))
    canvas.title("Two-link arm", seconds)
    return canvas.picture()


def seven_joint_arm(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From the side (left) and from above (right)."""
    canvas, scene, data = _two_views(problem, x)
    for view in (LEFT_SIDE, RIGHT_ABOVE):
        target(canvas, view(data.site(TARGET).xpos), problem.task.solved_distance)
        _geoms(canvas, scene, data, view)
    _torques(canvas, problem, u)
    canvas.title("Seven-joint arm", seconds)
    return canvas.picture()


def peg_insertion(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From the side (left) and from above (right)."""
    canvas, scene, data = _two_views(problem, x)
    for view in (LEFT_SIDE, RIGHT_ABOVE):
        _geoms(canvas, scene, data, view)
        canvas.disc(view(data.site(TARGET).xpos), 0.005, GREEN)
    _torques(canvas, problem, u)
    canvas.title("Peg insertion", seconds)
    return canvas.picture()


def _two_views(problem: Problem, x: np.ndarray) -> tuple[Canvas, ArmScene, mujoco.MjData]:
    canvas, scene = Canvas(scale=330), problem.dynamics
    canvas.stroke((0, -0.6), (0, 0.48), FAINT, 0.004)
    return canvas, scene, _pose(scene, x)


def _pose(scene: ArmScene, x: np.ndarray) -> mujoco.MjData:
    """The positions of all geoms and sites; the fixture is where the points of the state show it."""
    data, m, c = mujoco.MjData(scene.simulator.model), scene.joints, scene.slides
    data.qpos[:m] = x[:m]
    mujoco.mj_kinematics(scene.simulator.model, data)
    if c:
        offset = data.site(scene.sites[0]).xpos - data.site(TARGET).xpos - x[2 * m : 2 * m + 3]
        data.qpos[m:] = np.clip(offset[:c], -FAR, FAR)
        mujoco.mj_kinematics(scene.simulator.model, data)
    return data


def _geoms(canvas: Canvas, scene: ArmScene, data: mujoco.MjData, view: View) -> None:
    """All geoms, the farthest first; of the slot, those in front of its hole are left out."""
    model, center = scene.simulator.model, data.site(TARGET).xpos
    depth = view.toward * data.geom_xpos[:, view.depth]
    for i in np.lexsort((depth, model.geom_group != 2)):  # the slot first: it is in section
        color, size, r = COLORS[int(model.geom_group[i])], model.geom_size[i], data.geom_xpos[i]
        if model.geom_type[i] == mujoco.mjtGeom.mjGEOM_BOX:  # parallel to the world's axes
            half = size[[view.across, view.up]]
            aside = abs(r[view.depth] - center[view.depth]) > size[view.depth]
            if not aside:
                canvas.box(view(r), 2 * half, FAINT if view.up == 1 and model.geom(i).name == "floor" else color)
        elif model.geom_type[i] == mujoco.mjtGeom.mjGEOM_CAPSULE:
            along = data.geom_xmat[i].reshape(3, 3)[:, 2] * size[1]
            canvas.stroke(view(r - along), view(r + along), color, 2 * size[0])
        else:
            canvas.disc(view(r), size[0], color)
    for anchor in data.xanchor[: scene.joints]:
        canvas.disc(view(anchor), 0.012, ORANGE)


def _torques(canvas: Canvas, problem: Problem, u: np.ndarray | None) -> None:
    """One bar for each torque at the bottom, relative to the largest that is allowed."""
    if u is None:
        return
    for i, torque in enumerate(np.asarray(u, float)):
        place, share = 0.1 + 0.125 * i, float(np.clip(torque / problem.task.torque_limit, -1, 1))
        canvas.stroke((place - 0.05, -0.55), (place + 0.05, -0.55), FAINT, 0.006)
        canvas.box((place, -0.55 + 0.03 * share), (0.04, 0.06 * abs(share)), ORANGE)
