"""The MuJoCo scenes: their states against MuJoCo itself, their geometry, and their behavior under any torques."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from forethought.core import HasLinearize, HasSimulate, Trajectory
from forethought.dynamics.mujoco.scene import SCENES as SCENE_FILES
from forethought.dynamics.mujoco.scene import TARGET, ArmScene
from forethought.dynamics.mujoco.simulator import Simulator
from forethought.envs.shipped import shipped

SCENES = ["ArmTwoLink-v0", "ArmSevenJoint-v0", "PegInsertion-v0"]
every_scene = pytest.mark.parametrize("name", SCENES)
NOW = jnp.array(0)


@functools.cache
def problem_of(name):
    return shipped(name).problem


@eqx.filter_jit
def step(scene, x, u):
    return scene(x, u, NOW).mean


@eqx.filter_jit
def physics(scene, x):
    return scene.physics(x)


@eqx.filter_jit
def observe(scene, s):
    return scene.observe(s)


def random_states(scene, rng, count, spread=0.3):
    """Physics states near the first initial state."""
    start = np.asarray(physics(scene, problem_states(scene)[0]), float)
    moving = np.r_[0 : scene.joints, scene.joints + scene.slides : 2 * scene.joints + scene.slides]
    s = np.tile(start, (count, 1))
    s[:, moving] += spread * rng.normal(size=(count, moving.size))
    return s


def problem_states(scene):
    (name,) = [name for name in SCENES if problem_of(name).dynamics.simulator is scene.simulator]
    return problem_of(name).task.initial_states


def placed(scene, s):
    """MuJoCo's own data in a state."""
    data = mujoco.MjData(scene.simulator.model)
    scene.simulator.put(data, s)
    mujoco.mj_forward(scene.simulator.model, data)
    return data


def upright(slot=(0.0, 0.0), up=0.0):
    """The angles that hold the peg upright in the middle of the slot, its tip `up` m above the floor.

    The wrist is 0.24 m above the tip; the slot's floor is at (0.45, 0, -0.35) + slot; links of 0.35 m and 0.3 m.
    """
    x, y, z = 0.45 + slot[0], slot[1], -0.35 + 0.24 + up
    r = np.hypot(x, y)
    d = np.hypot(r, z)
    elbow = np.pi - np.arccos((0.35**2 + 0.3**2 - d**2) / (2 * 0.35 * 0.3))
    lift = np.arctan2(-z, r) - np.arccos((0.35**2 + d**2 - 0.3**2) / (2 * 0.35 * d))
    return np.array([np.arctan2(y, x), lift, 0, elbow, 0, np.pi / 2 - lift - elbow, 0])


def peg_on_floor(slot=(0.0, 0.0), up=0.0):
    """The state at rest with these angles."""
    return problem_of("PegInsertion-v0").dynamics.at_rest(upright(slot, up), slot)


@every_scene
def test_points_and_their_velocities_are_those_of_mujoco(name):
    scene, rng = problem_of(name).dynamics, np.random.default_rng(0)
    m = scene.joints
    assert isinstance(scene, HasSimulate) and isinstance(scene, HasLinearize)
    for s in random_states(scene, rng, 3):
        if scene.slides:
            s[m : m + 2] = rng.uniform(-0.1, 0.1, 2)
        data, axes = placed(scene, s), list(scene.axes)
        x = np.asarray(observe(scene, jnp.asarray(s, jnp.float32)))
        points = [data.site(site).xpos - data.site(TARGET).xpos for site in scene.sites]
        jacobian = np.zeros((3, scene.simulator.model.nv))
        rates = []
        for site in scene.sites:
            mujoco.mj_jacSite(scene.simulator.model, data, jacobian, None, data.site(site).id)
            rates.append(jacobian @ data.qvel)
        expected = np.concatenate(
            [data.qpos[:m], data.qvel[:m], np.stack(points)[:, axes].ravel(), np.stack(rates)[:, axes].ravel()]
        )
        np.testing.assert_allclose(x, expected, atol=2e-6)
        np.testing.assert_allclose(physics(scene, jnp.asarray(x)), s, atol=2e-6)


@every_scene
def test_a_step_is_that_of_mujoco_and_simulate_joins_steps(name):
    task, scene = problem_of(name).task, problem_of(name).dynamics
    us = np.asarray(task.action_space.high) * np.random.default_rng(1).uniform(-0.3, 0.3, (3, scene.joints))
    x0 = task.initial_states[1]
    data = placed(scene, np.asarray(physics(scene, x0), float))
    x, xs = x0, [x0]
    for u in us:
        data.ctrl[:] = u
        for _ in range(scene.simulator.frame_skip):
            mujoco.mj_step(scene.simulator.model, data)
        x = step(scene, x, jnp.asarray(u, jnp.float32))
        xs.append(x)
    np.testing.assert_allclose(x[: scene.joints], data.qpos[: scene.joints], atol=1e-5)
    rolled = eqx.filter_jit(lambda scene, x, us: scene.simulate(x, us))(scene, x0, jnp.asarray(us[None], jnp.float32))
    np.testing.assert_allclose(rolled[0], np.stack(xs), atol=1e-5)


@every_scene
def test_free_motion_is_that_of_the_equations_and_loses_the_work_of_friction(name):
    """The equations of motion in JAX are an independent reference; contacts and limits are far away."""
    scene = problem_of(name).dynamics
    m, h = scene.joints, scene.simulator.model.opt.timestep
    s = random_states(scene, np.random.default_rng(2), 1)[0]
    fine = scene.simulator.roll(s[None], np.zeros((1, 1, m)))[0, 0]
    with jax.enable_x64(True):
        body = ArmScene.of(scene.simulator, scene.sites, axes=scene.axes).body
        np.testing.assert_allclose(fine[-1], jax.jit(lambda x: body(x, jnp.zeros(m), NOW).mean)(s), atol=1e-9)
        energies = np.asarray(jax.jit(jax.vmap(body.energy))(jnp.asarray(np.vstack([s, fine]))))
    v = fine[:, m + scene.slides : 2 * m + scene.slides]
    lost = h * np.sum(scene.simulator.model.dof_damping[:m] * v**2)
    np.testing.assert_allclose(energies[0] - energies[-1], lost, rtol=0.15)  # of the integrator's first order


@eqx.filter_jit
def linearized(scene, x, u):
    return scene.linearize(x, u, NOW)


@pytest.mark.parametrize("name", ["ArmTwoLink-v0", "PegInsertion-v0"])
def test_derivatives_of_free_motion_are_those_of_mujoco(name):
    """`mjd_transitionFD`, through the derivative of a step."""
    scene = problem_of(name).dynamics
    with jax.enable_x64(True):
        scene = ArmScene.of(scene.simulator, scene.sites, axes=scene.axes)
        x = np.array(observe(scene, jnp.asarray(random_states(scene, np.random.default_rng(4), 1)[0])))
        u = 0.05 * np.asarray(problem_of(name).task.action_space.high, float)
        found = linearized(scene, jnp.asarray(x), jnp.asarray(u))
        D = jax.jit(jax.jacfwd(lambda z: scene(z[: x.size], z[x.size :], NOW).mean))(np.concatenate([x, u]))
        F, f, D, after = (np.asarray(a) for a in (found.F, found.f, D, step(scene, jnp.asarray(x), jnp.asarray(u))))
    np.testing.assert_allclose(F, D, atol=1e-4 * np.abs(D).max())
    np.testing.assert_allclose(F @ np.concatenate([x, u]) + f, after, atol=1e-9)


def test_derivatives_in_contact_are_bounded_and_say_that_the_floor_is_in_the_way():
    """Upright on the floor: where a contact ends, the product of the derivatives of MuJoCo's steps can be 7e4."""
    scene = problem_of("PegInsertion-v0").dynamics
    u, loose = jnp.array([0, 20.0, 0, 0, 0, 0, 0]), jnp.full(7, 5.0)
    states = [jnp.asarray(peg_on_floor(up=up), jnp.float32) for up in (-1e-4, 0.05)]
    on, above = (np.asarray(linearized(scene, x, u).F) for x in states)
    assert above[16, 27] < -5e-4 and abs(on[16, 27]) < 1e-5  # height of the tip by the torque of the lift, m/(N m)
    ends = np.asarray(linearized(scene, states[0], loose).F)
    assert max(np.abs(F).max() for F in (on, above, ends)) < 300


def test_the_clearance_is_four_millimeters_on_each_side():
    scene = problem_of("PegInsertion-v0").dynamics
    model, data = (
        scene.simulator.model,
        placed(scene, np.asarray(physics(scene, jnp.asarray(peg_on_floor((0.08, -0.08), up=0.02), jnp.float32)))),
    )
    peg = model.geom("peg").id
    gaps = [
        mujoco.mj_geomDistance(model, data, peg, model.geom(f"wall {side}").id, 1.0, None)
        for side in ("+x", "-x", "+y", "-y")
    ]
    np.testing.assert_allclose(gaps, 4e-3, atol=1e-5)
    floor = mujoco.mj_geomDistance(model, data, peg, model.geom("floor").id, 1.0, None)
    np.testing.assert_allclose(floor, 0.02, atol=1e-5)
    assert data.ncon == 0


def test_the_slot_resists_the_strongest_torques():
    """Pressed down beside the hole with the full torque of the lift, the peg stays out of the slot."""
    scene = problem_of("PegInsertion-v0").dynamics
    x = scene.at_rest(upright(up=0.11), (-0.05, 0.0))
    s = np.asarray(physics(scene, jnp.asarray(x, jnp.float32)), float)
    u = np.array([0, 100, 0, 0, 0, 0, 0.0])
    after = scene.simulator.roll(s[None], np.tile(u, (1, 20, 1)))[0].reshape(-1, s.size)
    data = [placed(scene, one) for one in after]
    assert any(one.ncon for one in data)
    assert min(one.contact.dist.min() for one in data if one.ncon) > -0.005


def test_the_slot_is_as_good_as_fixed():
    """Random torques with the peg in the slot, compared with a slot without slides."""
    scene = problem_of("PegInsertion-v0").dynamics
    text = re.sub(r"<inertial.*?/>|<joint name=.slot.*?/>", "", (SCENE_FILES / "peg_insertion.xml").read_text())
    arm = {"seven_joint_arm.xml": (SCENE_FILES / "seven_joint_arm.xml").read_bytes()}
    fixed = Simulator(mujoco.MjModel.from_xml_string(text, arm), frame_skip=20, threads=1)
    us = np.random.default_rng(0).uniform(-30, 30, (10, 6, 7))
    s = np.concatenate([upright(), np.zeros(11)])
    found = scene.simulator.roll(np.tile(s, (10, 1)), us)[:, -1, -1]
    expected = fixed.roll(np.tile(s[:14], (10, 1)), us)[:, -1, -1]
    assert np.abs(expected[:, :7] - s[:7]).max() > 0.1
    np.testing.assert_allclose(found[:, :7], expected[:, :7], atol=1e-5)
    np.testing.assert_allclose(found[:, 7:9], 0, atol=1e-5)


def test_a_hand_made_plan_inserts_the_peg_in_every_condition():
    """A proportional controller of the joints: first above the slot, then down.  The task can be solved."""
    problem = problem_of("PegInsertion-v0")
    gains, limit = np.array([60, 60, 30, 60, 30, 30, 10.0]), problem.task.torque_limit
    for x in np.asarray(problem.task.initial_states):
        s = np.asarray(physics(problem.dynamics, jnp.asarray(x)), float)
        slot, states, us = s[7:9], [s], []
        for t in range(problem.task.horizon):
            up = 0.15 if t < 40 else max(0.15 - 0.005 * (t - 40), 0)
            us.append(np.clip(gains * (upright(slot, up) - s[:7]), -limit, limit))
            s = problem.dynamics.simulator.roll(s[None], us[-1][None, None])[0, 0, -1]
            states.append(s)
        xs = jax.jit(jax.vmap(problem.dynamics.observe))(jnp.asarray(np.stack(states), jnp.float32))
        plan = Trajectory(xs, jnp.asarray(np.stack(us)), jnp.zeros(len(us) + 1), jnp.ones(len(us) + 1, bool))
        assert problem.task.solved(plan), xs[-1, 14:17]


@every_scene
def test_no_torques_make_states_that_are_not_finite(name):
    """Episodes of random torques, of random signs, of constant torques, and one without; half start in the slot."""
    task, scene = problem_of(name).task, problem_of(name).dynamics
    N = 32 if name == "ArmSevenJoint-v0" else 100  # its arm is that of the peg
    rng, limit = np.random.default_rng(3), np.asarray(task.action_space.high, float)
    x0 = np.asarray(task.initial_states)[np.arange(N) % 4]
    if scene.slides:
        x0[::2] = peg_on_floor()
    starts = np.asarray(jax.jit(jax.vmap(scene.physics))(jnp.asarray(x0)), float)
    us = rng.uniform(-1, 1, (N, task.horizon, scene.joints))
    us[N // 4 : N // 2] = np.sign(us[N // 4 : N // 2])
    us[N // 2 : -N // 4] = us[N // 2 : -N // 4, :1]
    us[-1] = 0
    states = scene.simulator.roll(starts, us * limit)[:, :, -1]
    assert np.isfinite(states).all()
    ranges = scene.simulator.model.jnt_range[: scene.joints]
    assert (states[..., : scene.joints] > ranges[:, 0] - 0.2).all()  # limits of joints are soft
    assert (states[..., : scene.joints] < ranges[:, 1] + 0.2).all()
    np.testing.assert_allclose(states[-1, -1, : scene.joints], starts[-1, : scene.joints], atol=1e-6)
    if scene.slides:
        assert np.abs(states[..., 7:9] - starts[:, None, 7:9]).max() < 1e-4


def test_points_must_be_on_the_last_link():
    model = mujoco.MjModel.from_xml_string("""<mujoco><worldbody><site name="target"/><body><joint/><geom size="1"/>
      <site name="elbow"/><body pos="1 0 0"><joint name="j"/><geom size="1"/><site name="tip"/></body></body>
      </worldbody><actuator><motor joint="j"/><motor joint="j"/></actuator></mujoco>""")
    assert ArmScene.of(Simulator(model, threads=1), ("tip",)).sites == ("tip",)
    with pytest.raises(ValueError, match="elbow.* not on the arm's last link"):
        ArmScene.of(Simulator(model, threads=1), ("tip", "elbow"))
