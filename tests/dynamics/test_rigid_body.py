"""Rigid bodies against MuJoCo, their energy, finite differences and a pendulum by hand."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import mujoco
import numpy as np
import pytest

from forethought.core import Box, Problem, Result, UsageError
from forethought.dynamics.linearize import FiniteDifferences, linearize
from forethought.dynamics.mujoco.mujoco_dynamics import MujocoDynamics
from forethought.dynamics.mujoco.simulator import Simulator, load_model
from forethought.dynamics.rigid_body import RigidBody, acceleration
from forethought.planning.ilqr import ILQR
from forethought.tasks.function_task import FunctionTask

# A cart that also turns (two joints on one body) and carries two arms; oblique axes, off-center masses, a welded load.
TREE = """
<mujoco>
  <compiler angle="radian"/>
  <option timestep="0.01" gravity="1 -2 -9" integrator="{integrator}"><flag contact="disable"/></option>
  <default><geom type="capsule" size="0.05" density="800"/></default>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body pos="0.1 0.2 0.3" euler="0.3 -0.2 0.5">
      <joint name="slide" type="slide" axis="1 0.2 -0.1" damping="0.4" stiffness="3" springref="0.2"/>
      <joint name="turn" axis="0 0.3 1" pos="0.1 0 0.05" armature="0.03" ref="0.4"/>
      <geom fromto="0 0 0 0.3 0.1 0.2"/>
      <body pos="0 0 0.2"><geom type="box" size="0.1 0.05 0.2" pos="0.05 0 0"/></body>
      <body pos="0.3 0.1 0.2" euler="-0.4 0.1 0.2">
        <joint name="left" axis="0 1 0" damping="0.2"/><geom fromto="0 0 0 0.1 0.2 0.4"/>
        <body pos="0.1 0.2 0.4"><joint name="wrist" axis="1 1 0" armature="0.01"/><geom fromto="0 0 0 0 0 0.3"/></body>
      </body>
      <body pos="-0.2 0 0.1">
        <joint name="right" type="slide" axis="0 0 1" stiffness="20"/><geom fromto="0 0 0 0 -0.3 0"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="turn" gear="2"/><motor joint="wrist"/>
    <general joint="slide" gainprm="1.5" gear="3"/></actuator>
</mujoco>"""
TWO_LINKS = """
<mujoco>
  <option timestep="0.02" integrator="{integrator}"/>
  <worldbody>
    <body><joint name="shoulder" axis="0 1 0" damping="{damping}"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.5" {touch}/>
      <body pos="0 0 -0.5"><joint name="elbow" axis="0 1 0" damping="{damping}" {joint}/>
        <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.4" {touch}/>{more}</body></body>
  </worldbody>
  <actuator>{actuator}</actuator>
</mujoco>"""
NO_TOUCH = 'contype="0"'
NOW = jnp.array(0)


def two_links(**changes):
    text = {"integrator": "Euler", "damping": 0.0, "joint": "", "more": "", "touch": NO_TOUCH}
    return load_model(TWO_LINKS.format(**text | {"actuator": '<motor joint="elbow" gear="5"/>'} | changes))


def tree(integrator="Euler"):
    return load_model(TREE.format(integrator=integrator))


def somewhere(model, dtype, seed=0):
    generator = np.random.default_rng(seed)
    return [jnp.asarray(generator.normal(size=size), dtype) for size in (model.nv, model.nv, model.nv, model.nu)]


@eqx.filter_jit
def after(body, x, u):
    return body(x, u, NOW).mean


@eqx.filter_jit
def everything(body, q, v, a, u):
    explicit = dataclasses.replace(body, implicit_damping=False)
    passive = -body.damping * v - body.stiffness * (q - body.rest)
    needed = body.inverse_dynamics(q, v, a) - passive
    kinetic = body.energy(jnp.concatenate([q, v])), body.energy(jnp.concatenate([q, 0 * v]))
    return needed, body.mass_matrix(q), acceleration(explicit, q, v, u), body.frames(q)[:, :3, 3], kinetic


def test_forces_masses_accelerations_and_places_are_mujocos(dtype):
    model = tree()
    data = mujoco.MjData(model)
    body = RigidBody.from_mujoco(model)
    q, v, a, u = somewhere(model, dtype)
    needed, M, found, places, energies = everything(body, q, v, a, u)
    data.qpos[:], data.qvel[:], data.qacc[:] = q, v, a
    mujoco.mj_inverse(model, data)
    expected_force = data.qfrc_inverse.copy()
    data.ctrl[:] = u
    mujoco.mj_forward(model, data)
    columns = np.eye(model.nv)
    expected_M = np.zeros_like(columns)
    for i in range(model.nv):
        mujoco.mj_mulM(model, data, expected_M[i], columns[i])
    close = partial(
        np.testing.assert_allclose, **({"atol": 1e-9} if dtype == jnp.float64 else {"rtol": 1e-3, "atol": 1e-3})
    )
    close(needed, expected_force)
    close(M, expected_M)
    close(found, data.qacc)
    hinges = np.array(body.hinges)
    close(places[hinges], data.xanchor[hinges])
    close(energies[0] - energies[1], 0.5 * data.qvel @ expected_M @ data.qvel)
    assert found.dtype == dtype and body.parents == (-1, 0, 1, 2, 1)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("implicitfast", "RK4")]


@pytest.mark.parametrize("integrator", ["Euler", *SLOW])
def test_trajectories_are_mujocos(integrator):
    with jax.enable_x64(True):
        model = tree(integrator)
        q, v, _, _ = somewhere(model, jnp.float64)
        us = jr.normal(jr.key(0), (10, 3))
        x0 = 0.5 * jnp.concatenate([q, v])
        body = RigidBody.from_mujoco(model, frame_skip=2)
        xs = jax.jit(lambda x0: jax.lax.scan(lambda x, u: (body(x, u, NOW).mean,) * 2, x0, us)[1])(x0)
        expected = MujocoDynamics(Simulator(model, threads=1, frame_skip=2)).simulate(x0, us[None])[0, 1:]
        np.testing.assert_allclose(xs, expected, atol=1e-9)
        assert body.dt == 0.02 and np.abs(xs[-1] - x0).max() > 0.5


@pytest.mark.parametrize("integrator", ["Euler", SLOW[1]])
def test_derivatives_by_state_and_action_agree_with_differences(integrator):
    with jax.enable_x64(True):
        model = tree(integrator)
        body = RigidBody.from_mujoco(model)
        q, v, _, u = somewhere(model, jnp.float64)
        x = jnp.concatenate([q, v])
        exact = eqx.filter_jit(linearize)(body, x, u, NOW)
        differences = eqx.filter_jit(linearize)(FiniteDifferences(body), x, u, NOW)
        np.testing.assert_allclose(exact.F, differences.F, atol=1e-7)
        np.testing.assert_allclose(exact(jnp.concatenate([x, u])).mean, after(body, x, u), atol=1e-10)


def equations(jaxpr) -> int:
    """Operations of a traced function, inner ones included: what a compiler has to work on."""
    inner = [getattr(value, "jaxpr", value) for eqn in jaxpr.eqns for value in jax.tree.leaves(eqn.params)]
    return len(jaxpr.eqns) + sum(equations(each) for each in inner if hasattr(each, "eqns"))


def chain(links, integrator):
    """Links one after the other, hinged about alternating axes."""
    body = ""
    for i in range(links):
        axis = "0 1 0" if i % 2 else "0 0 1"
        shape = '<geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.3" contype="0"/>'
        body = f'<body pos="0 0 -0.3"><joint axis="{axis}" damping="0.1"/>{shape}{body}</body>'
    option = f'<option timestep="0.02" integrator="{integrator}"/>'
    return RigidBody.from_mujoco(load_model(f"<mujoco>{option}<worldbody>{body}</worldbody></mujoco>"))


def test_runge_kutta_takes_no_more_to_compile_than_euler():
    """Its four stages are one loop: unrolled, derivatives of a four-link body took minutes to compile."""

    def work(integrator):
        body = chain(4, integrator)
        derivative = jax.jacfwd(lambda x: body(x, jnp.zeros(0), NOW).mean)
        return equations(jax.make_jaxpr(derivative)(jnp.zeros(8)).jaxpr)

    assert work("RK4") < 1.1 * work("Euler")


@pytest.mark.slow
def test_derivatives_backwards_and_by_masses_agree_with_differences():
    with jax.enable_x64(True):
        body = RigidBody.from_mujoco(two_links(damping=0.1))
        x, u = jnp.array([0.3, -0.5, 1.0, 2.0]), jnp.array([0.7])

        @jax.jit
        def angle(factor, u):
            heavier = eqx.tree_at(lambda b: b.inertia, body, body.inertia * factor)
            return heavier(x, u, NOW).mean[3]

        one, h = jnp.ones(()), 1e-5
        by_factor, by_u = jax.jit(jax.grad(angle, argnums=(0, 1)))(one, u)
        np.testing.assert_allclose(by_factor, (angle(one + h, u) - angle(one - h, u)) / (2 * h), rtol=1e-6)
        np.testing.assert_allclose(by_u[0], (angle(one, u + h) - angle(one, u - h)) / (2 * h), rtol=1e-6)


@eqx.filter_jit
def gain(body, x):
    x_end = jax.lax.fori_loop(0, 50, lambda _, x: body(x, jnp.zeros(1), NOW).mean, x)
    return body.energy(x_end) - body.energy(x)


def test_energy_is_conserved_without_damping_and_lost_with_it():
    with jax.enable_x64(True):
        x = jnp.array([2.0, 1.0, -1.0, 3.0])

        def change(damping):
            body = RigidBody.from_mujoco(two_links(integrator="RK4", damping=damping), frame_skip=10)
            body = dataclasses.replace(body, dt=0.02)  # ten substeps of 2 ms
            return float(gain(body, x))

        assert abs(change(0.0)) < 1e-5
        assert change(0.5) < -0.5


def test_a_rod_swings_as_a_pendulum(dtype):
    rod = '<mujoco><option timestep="0.01"/><worldbody><body><joint axis="0 1 0"/>{}</body></worldbody></mujoco>'
    mass = '<inertial pos="0 0 -0.5" mass="2" diaginertia="0.1 0.1 0.1"/>'
    body = RigidBody.from_mujoco(load_model(rod.format(mass)))
    x = after(body, jnp.array([0.3, 0.0], dtype), jnp.zeros(0, dtype))
    spin = -0.01 * 2 * 9.81 * 0.5 * np.sin(0.3) / (0.1 + 2 * 0.5**2)
    np.testing.assert_allclose(x, [0.3 + 0.01 * spin, spin], rtol=1e-5)
    assert x.dtype == dtype


POSITION = '<position joint="elbow" kp="5"/>'
UNSUPPORTED = {
    "a free joint": {"more": '</body></body><body><freejoint name="f"/><geom size="1" contype="0"/><body>'},
    "a ball joint": {"more": '<body><joint type="ball"/><geom size="1" contype="0"/></body>'},
    "joint limits of elbow": {"joint": 'range="-1 1" limited="true"'},
    "dry friction": {"joint": 'frictionloss="1"'},
    "geoms that can collide": {"touch": "", "more": '<body pos="0 0 -0.4"><joint/><geom size="0.1"/></body>'},
    "no plain motor": {"actuator": POSITION},
    "integrator mjINT_IMPLICIT ": {"integrator": "implicit"},
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_what_is_not_supported_is_named(what):
    with pytest.raises(UsageError, match=what) as error:
        RigidBody.from_mujoco(two_links(**UNSUPPORTED[what]))
    assert "\n" not in str(error.value) and "MujocoDynamics" in str(error.value)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="frame_skip"):
        RigidBody.from_mujoco(two_links(), frame_skip=0)


def test_what_the_model_switches_off_is_not_asked_for():
    model = two_links(joint='range="-1 1" limited="true" frictionloss="1"', touch="")
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_LIMIT | mujoco.mjtDisableBit.mjDSBL_FRICTIONLOSS)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_GRAVITY)
    assert not np.any(RigidBody.from_mujoco(model).gravity)


@pytest.mark.slow
def test_ilqr_reaches_with_an_arm():
    """The hand gets to a place that is given in the world, and rests there."""
    with jax.enable_x64(True):
        model = two_links(damping=0.1, actuator='<motor joint="shoulder"/><motor joint="elbow"/>')
        body, target = RigidBody.from_mujoco(model), jnp.array([0.6, 0.0, -0.3])

        def hand(q):
            return (body.frames(q)[-1] @ jnp.array([0, 0, -0.4, 1]))[:3]

        def cost(x, u):
            return jnp.sum((hand(x[:2]) - target) ** 2) + 0.01 * x[2:] @ x[2:] + 1e-7 * u @ u

        task = FunctionTask(60, body.dt, Box.symmetric(jnp.full(2, 20.0)), cost, lambda x: jnp.zeros((), bool))
        problem, planner = Problem(body, task), ILQR(starts=1)
        plan, _ = jax.jit(lambda x0: planner.plan(problem, x0, planner.init(problem), key=jr.key(0)))(jnp.zeros(4))
        assert int(plan.result) == Result.converged
        np.testing.assert_allclose(hand(plan.xs[-1, :2]), target, atol=0.02)
