"""Names and units of observations and actions of MuJoCo environments, from the joints and actuators of the model."""

import sys
from typing import TYPE_CHECKING

import gymnasium as gym

if TYPE_CHECKING:
    from mujoco import MjModel

Names = tuple[str, ...]
# Coordinates of the position and of the velocity, by type of joint (mjtJoint): free, ball, slide, hinge.
_POSITIONS = (
    ("x (m)", "y (m)", "z (m)", "quaternion w", "quaternion x", "quaternion y", "quaternion z"),
    ("quaternion w", "quaternion x", "quaternion y", "quaternion z"),
    ("(m)",),
    ("(rad)",),
)
_NEUTRAL = (gym.wrappers.TimeLimit, gym.wrappers.OrderEnforcing, gym.wrappers.PassiveEnvChecker)
_SPIN = ("angular velocity x (rad/s)", "angular velocity y (rad/s)", "angular velocity z (rad/s)")
_VELOCITIES = (
    ("velocity x (m/s)", "velocity y (m/s)", "velocity z (m/s)", *_SPIN),
    _SPIN,
    ("velocity (m/s)",),
    ("velocity (rad/s)",),
)


def mujoco_names(env: gym.Env, n: int, m: int) -> tuple[Names, Names]:
    """Names of the `n` observed coordinates and of the `m` actions; empty if the model does not determine them.

    Observations are named if they consist of positions and velocities only; Gymnasium's environments declare this in
    `observation_structure`.
    """
    model = _model(env)
    if model is None:
        return (), ()
    actuators = tuple(_actuator(model, i) for i in range(model.nu))
    parts = dict(getattr(env.unwrapped, "observation_structure", None) or {})
    skipped = int(parts.pop("skipped_qpos", 0) or 0)
    observed = (*_positions(model)[skipped:], *_velocities(model))
    sizes = {"qpos": model.nq - skipped, "qvel": model.nv}
    plain = {name: size for name, size in parts.items() if size} == sizes and len(observed) == n
    return _distinct(observed) if plain else (), _distinct(actuators) if len(actuators) == m else ()


def state_names(model: "MjModel", *, rewarded: bool) -> Names:
    """Names of the state [qpos; qvel; act], followed by [r; done] if `rewarded`."""
    activations = tuple(f"activation {i}" for i in range(model.na))
    return _distinct((*_positions(model), *_velocities(model), *activations, *(("reward", "done") if rewarded else ())))


def _model(env: gym.Env) -> "MjModel | None":
    """The model of an environment, unless a wrapper changes its observations or actions."""
    mujoco = sys.modules.get("mujoco")  # imported by every environment that has a model
    while isinstance(env, _NEUTRAL):
        env = env.env
    model = getattr(env, "model", None)
    return model if mujoco is not None and isinstance(model, mujoco.MjModel) else None


def _positions(model: "MjModel") -> Names:
    return _of_joints(model, _POSITIONS)


def _velocities(model: "MjModel") -> Names:
    return _of_joints(model, _VELOCITIES)


def _of_joints(model: "MjModel", kinds: tuple[tuple[str, ...], ...]) -> Names:
    joints = [(model.joint(i).name or f"joint {i}", kinds[int(model.jnt_type[i])]) for i in range(model.njnt)]
    return tuple(f"{joint} {part}" for joint, parts in joints for part in parts)


def _actuator(model: "MjModel", i: int) -> str:
    """The actuator's name, or that of the joint it moves."""
    joint = model.actuator_trnid[i, 0] if model.actuator_trntype[i] == 0 else -1  # mjTRN_JOINT
    name = model.actuator(i).name or (model.joint(joint).name if joint >= 0 else "")
    return f"{name or f'actuator {i}'} action"


def _distinct(names: Names) -> Names:
    """The names, or an empty tuple if two names are equal."""
    return names if len(set(names)) == len(names) else ()
