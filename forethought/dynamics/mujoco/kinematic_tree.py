"""The kinematic tree of a compiled MuJoCo model, and the features of a model that `RigidBody` does not support.

Each joint has one link.  Bodies welded to a link belong to it.  A body with several joints becomes several links, of
which only the last has mass.  Links have the numbers of their joints in MuJoCo, so parents precede their children.
"""

from collections.abc import Iterator

import mujoco
import numpy as np

from forethought.core import UsageError

_JOINTS = {mujoco.mjtJoint.mjJNT_FREE: "free", mujoco.mjtJoint.mjJNT_BALL: "ball"}
_INTEGRATORS = {
    mujoco.mjtIntegrator.mjINT_EULER,
    mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
    mujoco.mjtIntegrator.mjINT_RK4,
}


def require_tree(model: mujoco.MjModel) -> None:
    """Raise if the model has other parts than hinges, slides and motors.

    Raises:
        UsageError: the model has unsupported parts; the message names all of them.
    """
    found = [*_more_than_joints(model), *_more_than_passive(model), *_more_than_motors(model)]
    if found:
        remedy = "leave it out, or simulate with MujocoDynamics"
        raise UsageError(
            f"RigidBody supports hinges, slides and motors only; this model has {'; '.join(found)}: {remedy}."
        )


def switched_off(model: mujoco.MjModel, what: str) -> bool:
    """Whether the model's `<flag>` disables it."""
    return bool(model.opt.disableflags & int(getattr(mujoco.mjtDisableBit, f"mjDSBL_{what.upper()}")))


def link_parents(model: mujoco.MjModel) -> tuple[int, ...]:
    """The parent of every link, -1 for the world."""
    parents: list[int] = []
    for body in range(1, model.nbody):
        first = model.body_jntadr[body]
        for joint in range(first, first + model.body_jntnum[body]):
            parents.append(int(joint) - 1 if joint > first else _link_of(model, int(model.body_parentid[body])))
    return tuple(parents)


def link_inertias(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """Pseudo-inertias [nv, 4, 4] of the links about their joints, in world axes, for the pose in `data`."""
    P = np.zeros((model.nv, 4, 4))
    for body in range(1, model.nbody):
        link = _link_of(model, body)
        if link >= 0:
            R, mass = data.ximat[body].reshape(3, 3), model.body_mass[body]
            center = data.xipos[body] - data.xanchor[link]
            moments = model.body_inertia[body]
            second = (R * (0.5 * np.sum(moments) - moments)) @ R.T + mass * np.outer(center, center)
            P[link] += np.block([[second, mass * center[:, None]], [mass * center[None], np.array([[mass]])]])
    return P


def motor_gears(model: mujoco.MjModel) -> np.ndarray:
    """Generalized force for each unit of control [nv, nu]."""
    B = np.zeros((model.nv, model.nu))
    for i in range(model.nu):
        B[model.jnt_dofadr[model.actuator_trnid[i, 0]], i] = model.actuator_gear[i, 0] * model.actuator_gainprm[i, 0]
    return B


def _link_of(model: mujoco.MjModel, body: int) -> int:
    """The link that a body belongs to."""
    while body and not model.body_jntnum[body]:
        body = int(model.body_parentid[body])
    return int(model.body_jntadr[body] + model.body_jntnum[body] - 1) if body else -1


def _more_than_joints(model: mujoco.MjModel) -> Iterator[str]:
    for i in range(model.njnt):
        if (kind := mujoco.mjtJoint(model.jnt_type[i])) in _JOINTS:
            yield f"a {_JOINTS[kind]} joint{_name(model.joint(i).name)}"
    if not model.njnt:
        yield "no joint"
    if model.ntendon:
        yield "tendons"
    if model.nflex:
        yield "flexible bodies"
    if model.nplugin:
        yield "plugins"
    if switched_off(model, "constraint"):
        return
    if model.neq and not switched_off(model, "equality"):
        yield 'equality constraints (<flag equality="disable"/> leaves them out)'
    if np.any(model.dof_frictionloss) and not switched_off(model, "frictionloss"):
        yield 'dry friction (<flag frictionloss="disable"/> leaves it out)'
    if np.any(model.jnt_limited) and not switched_off(model, "limit"):
        names = ", ".join(model.joint(i).name or str(i) for i in np.flatnonzero(model.jnt_limited))
        yield f'joint limits of {names} (<flag limit="disable"/> leaves them out)'
    if not switched_off(model, "contact") and _touch(model):
        yield 'geoms that can collide (<flag contact="disable"/> switches that off)'


def _more_than_passive(model: mujoco.MjModel) -> Iterator[str]:
    if mujoco.mjtIntegrator(model.opt.integrator) not in _INTEGRATORS:
        yield f"integrator {mujoco.mjtIntegrator(model.opt.integrator).name} (supported: Euler, implicitfast, RK4)"
    if model.opt.density or model.opt.viscosity:
        yield "a surrounding fluid"
    if model.ngravcomp:
        yield "gravity compensation"
    if np.any(model.dof_dampingpoly) or np.any(model.jnt_stiffnesspoly):
        yield "nonlinear damping or stiffness"


def _more_than_motors(model: mujoco.MjModel) -> Iterator[str]:
    if model.na or model.nu != model.nactuator or model.opt.disableactuator or switched_off(model, "actuation"):
        yield "actuators with states, several controls, or switched off"
    joint = {int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)}
    for i in range(model.nactuator):
        motor = (
            model.actuator_gaintype[i] == mujoco.mjtGain.mjGAIN_FIXED
            and model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_NONE
            and int(model.actuator_trntype[i]) in joint
            and not model.actuator_forcelimited[i]
            and not model.actuator_armature[i]
            and not np.any(model.actuator_damping[i])
        )
        if not motor:
            yield f"an actuator that is not a plain motor at a joint{_name(model.actuator(i).name)}"
    if np.any(model.jnt_actfrclimited):
        yield "limits of joints' actuator forces"


def _touch(model: mujoco.MjModel) -> bool:
    """Whether MuJoCo would look for contacts between any two geoms."""
    weld, parent = model.body_weldid, model.body_parentid
    body, kind, meets = weld[model.geom_bodyid], model.geom_contype, model.geom_conaffinity
    agree = (kind[:, None] & meets[None]) | (meets[:, None] & kind[None])
    above = weld[parent[body]]  # MuJoCo ignores contacts of a parent and its child, unless the parent is the world
    child = (above[:, None] == body[None]) & (body[None] != 0) & (not switched_off(model, "filterparent"))
    return bool(np.any(agree.astype(bool) & (body[:, None] != body[None]) & ~child & ~child.T)) or model.npair > 0


def _name(name: str) -> str:
    return f" ('{name}')" if name else ""
