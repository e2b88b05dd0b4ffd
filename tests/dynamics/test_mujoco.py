import jax
import jax.numpy as jnp
import jax.random as jr
import mujoco
import numpy as np
import pytest

from forethought.core import HasSimulate, UsageError
from forethought.dynamics.mujoco import mujoco_dynamics
from forethought.dynamics.mujoco.derivatives import step_derivatives
from forethought.dynamics.mujoco.messages import python_warnings
from forethought.dynamics.mujoco.mujoco_dynamics import MujocoDynamics
from forethought.dynamics.mujoco.simulator import Simulator, load_model

CART = """
<mujoco>
  <option timestep="0.01" gravity="0 0 0"/>
  <worldbody><body><joint name="slide" type="slide" axis="1 0 0"/><geom size="0.1" mass="2"/></body></worldbody>
  <actuator><motor joint="slide" ctrlrange="-3 3"/></actuator>
</mujoco>"""

# A free body with a hinged arm and a ball-jointed tail: every kind of joint, a quaternion of each kind.
TUMBLER = """
<mujoco>
  <option timestep="0.005" integrator="{integrator}"/>
  <worldbody>
    <body pos="0 0 1">
      <freejoint/><geom type="box" size="0.1 0.2 0.3" mass="1"/>
      <body pos="0.2 0 0"><joint name="arm" type="hinge" axis="0 1 0" damping="0.1"/>
        <geom contype="0" type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.2"/></body>
      <body pos="-0.2 0 0"><joint type="ball" damping="0.001"/>
        <geom contype="0" type="capsule" fromto="0 0 0 0 0 -0.3" size="0.02" mass="0.2"/></body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="arm" ctrlrange="-1 1"/>
    <general joint="arm" dyntype="filter" dynprm="0.05" gainprm="1" ctrlrange="-1 1"/>
  </actuator>
</mujoco>"""
NOW = jnp.array(0)


def simulator(source, **options):
    return Simulator(load_model(source), threads=1, **options)


def tumbling():
    q = np.array([0.9, 0.1, -0.3, 0.2])
    turned = q / np.linalg.norm(q)
    return np.concatenate([[0.1, 0.2, 1.0], turned, [0.4], turned[::-1], np.linspace(-1, 1, 10), [0.3]])


def test_a_pushed_mass_moves_as_newton_says(dtype):
    """Semi-implicit Euler by hand, three steps per action."""
    dynamics = MujocoDynamics(simulator(CART, frame_skip=3))
    x, u = jnp.array([0.5, -1.0], dtype), jnp.array([3.0], dtype)
    q, v = 0.5, -1.0
    for _ in range(3):
        v += 0.01 * 3.0 / 2.0
        q += 0.01 * v
    after = dynamics(x, u, NOW).mean
    assert after.dtype == dtype and dynamics.dt == pytest.approx(0.03) and dynamics.size == 2
    np.testing.assert_allclose(after, [q, v], rtol=1e-6)


def test_candidates_together_are_candidates_one_by_one():
    dynamics = MujocoDynamics(simulator(TUMBLER.format(integrator="Euler")))
    assert isinstance(dynamics, HasSimulate)
    x0 = jnp.asarray(tumbling(), jnp.float32)
    us = jr.uniform(jr.key(0), (3, 4, 2), minval=-1.0)
    xs = jax.jit(dynamics.simulate)(x0, us)
    assert xs.shape == (3, 5, 23)
    for s in range(3):
        x = x0
        for t in range(4):
            x = dynamics(x, us[s, t], NOW).mean
            np.testing.assert_allclose(xs[s, t + 1], x, atol=2e-5)
    batched = jax.jit(jax.vmap(lambda x, u: dynamics(x, u, NOW).mean))(xs[:, 1], us[:, 1])
    np.testing.assert_allclose(batched, xs[:, 2], atol=2e-5)
    both = jax.vmap(dynamics.simulate, (0, None))(jnp.stack([x0, x0]), us)
    np.testing.assert_allclose(both[1], xs, atol=1e-6)


def test_threads_change_nothing():
    model = load_model(TUMBLER.format(integrator="Euler"))
    us = np.random.default_rng(0).uniform(-1, 1, (7, 5, 2))
    start = np.repeat(tumbling()[None], 7, axis=0)
    one, three = (Simulator(model, threads=threads).roll(start, us) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_derivative_of_a_pushed_mass_is_exact(dtype):
    dynamics = MujocoDynamics(simulator(CART, frame_skip=2))
    x, u = jnp.array([0.5, -1.0], dtype), jnp.array([1.0], dtype)
    linear = jax.jit(dynamics.linearize)(x, u, NOW)
    a = 0.01 / 2.0
    np.testing.assert_allclose(linear.F, [[1, 0.02, 0.01 * a * 3], [0, 1, 2 * a]], atol=1e-5)
    np.testing.assert_allclose(linear(jnp.concatenate([x, u])).mean, dynamics(x, u, NOW).mean, rtol=1e-5)


@pytest.mark.parametrize("integrator", ["Euler", "RK4"])
def test_derivatives_of_a_trajectory_are_one_call_and_those_of_its_steps(integrator, monkeypatch):
    dynamics = MujocoDynamics(simulator(TUMBLER.format(integrator=integrator), frame_skip=2))
    xs = jnp.asarray(np.stack([tumbling()] * 3)).at[:, -2].add(jnp.arange(3.0))
    us, calls = jr.uniform(jr.key(0), (3, 2)), []
    work = mujoco_dynamics.step_derivatives
    monkeypatch.setattr(mujoco_dynamics, "step_derivatives", lambda sim, s, u: calls.append(s.shape) or work(sim, s, u))
    together = jax.vmap(dynamics.linearize, (0, 0, None))(xs, us, NOW)
    assert calls == [(3, 23)]
    for x, u, F, f in zip(xs, us, together.F, together.f, strict=True):
        alone = dynamics.linearize(x, u, NOW)
        np.testing.assert_array_equal(F, alone.F)
        np.testing.assert_array_equal(f, alone.f)
    assert jnp.abs(together.F[0] - together.F[2]).max() > 1e-3
    threads = Simulator(dynamics.simulator.model, threads=2, frame_skip=2)
    np.testing.assert_array_equal(
        work(dynamics.simulator, np.asarray(xs), np.asarray(us)), work(threads, np.asarray(xs), np.asarray(us))
    )


@pytest.mark.parametrize("integrator", ["Euler", "RK4", "implicitfast"])
def test_derivative_predicts_what_small_changes_on_the_manifold_do(integrator):
    """Every kind of joint and an actuator with a state; the changed states are turned by MuJoCo itself."""
    sim = simulator(TUMBLER.format(integrator=integrator), frame_skip=3)
    s, u = tumbling(), np.array([0.2, -0.5])
    F = step_derivatives(sim, s[None], u[None])[0]
    step, nq = 1e-5, sim.model.nq
    for i in range(sim.model.nv):
        ends = []
        for sign in (1, -1):
            changed, direction = s.copy(), np.zeros(sim.model.nv)
            direction[i] = 1.0
            qpos = s[:nq].copy()
            mujoco.mj_integratePos(sim.model, qpos, direction, sign * step)
            changed[:nq] = qpos
            ends.append((changed, sim.roll(changed[None], u[None, None])[0, 0, -1]))
        (start_ahead, ahead), (start_behind, behind) = ends
        expected = (ahead - behind) / (2 * step)
        moved = (start_ahead - start_behind) / (2 * step)
        np.testing.assert_allclose(F[:, : s.size] @ moved, expected, atol=2e-3)
    for i in range(2):
        e = step * np.eye(2)[i]
        ahead, behind = (sim.roll(s[None], (u + sign * e)[None, None])[0, 0, -1] for sign in (1, -1))
        np.testing.assert_allclose(F[:, s.size + i], (ahead - behind) / (2 * step), atol=2e-3)


def test_divergence_is_not_a_number():
    model = load_model(CART.replace('ctrlrange="-3 3"', "").replace('mass="2"', 'mass="0.01"'))
    sim = Simulator(model, threads=1)
    states = sim.roll(np.zeros((2, 2)), np.array([[[0.0]] * 3, [[0.0], [9e9], [0.0]]]))[:, :, 0]
    np.testing.assert_array_equal(np.isnan(states).all(-1), [[False] * 3, [False, True, True]])
    assert not model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # the caller's is left alone


@pytest.mark.parametrize("threads", [1, 2])
def test_divergence_is_silent_and_leaves_no_log_file(threads, tmp_path, monkeypatch, capfd):
    """MuJoCo prints a warning for each rollout that diverges, and writes MUJOCO_LOG.TXT, unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    light = CART.replace('ctrlrange="-3 3"', "").replace('mass="2"', 'mass="0.01"')
    sim = Simulator(load_model(light), threads=threads)
    assert np.isnan(sim.roll(np.zeros((4, 2)), np.full((4, 3, 1), 9e9))).any()
    step_derivatives(sim, np.zeros((3, 2)), np.full((3, 1), 9e9))
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_warnings_of_an_environment_become_python_warnings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_model(CART.replace('ctrlrange="-3 3"', ""))
    data = mujoco.MjData(model)
    with pytest.warns(RuntimeWarning, match="MuJoCo: .*CTRL") as said, python_warnings():
        for _ in range(3):
            mujoco.mj_resetData(model, data)
            data.ctrl[:] = 9e12
            mujoco.mj_step(model, data)
    assert len(said) == 1 and not list(tmp_path.iterdir())


def test_a_model_without_actuators_has_derivatives():
    """A pendulum that nothing moves: d velocity' / d angle = -dt g / l near the bottom."""
    pendulum = """<mujoco><option timestep="0.001" integrator="Euler"/><worldbody><body><joint axis="0 1 0"/>
      <geom type="sphere" size="0.001" pos="0 0 -1" mass="1"/></body></worldbody></mujoco>"""
    for integrator in ("Euler", "RK4"):
        dynamics = MujocoDynamics(Simulator(load_model(pendulum.replace("Euler", integrator)), threads=1))
        linear = dynamics.linearize(jnp.zeros(2), jnp.zeros(0), NOW)
        assert linear.F.shape == (2, 2)
        np.testing.assert_allclose(linear.F, [[1, 1e-3], [-9.81e-3, 1]], atol=2e-5)
        np.testing.assert_allclose(dynamics(jnp.array([0.1, 0.0]), jnp.zeros(0), NOW).mean[1], -9.8e-4, atol=1e-5)


def test_autodiff_uses_the_derivatives_of_the_simulator_once():
    """Through a whole trajectory, against differences of costs; a second derivative is refused."""
    dynamics = MujocoDynamics(simulator(CART), SpeedReward())

    def reward(us):
        step = lambda x, u: (lambda after: (after, after[2] ** 2))(dynamics(x, u, NOW).mean)  # noqa: E731
        return jnp.sum(jax.lax.scan(step, jnp.array([0.0, 1.0, 0.0, 0.0]), us)[1])

    us = jnp.array([[0.5], [-1.0], [2.0]])
    with jax.enable_x64(True):
        us = us.astype(float)
        gradient = jax.jit(jax.grad(reward))(us)[:, 0]
        for i in range(3):
            e = 1e-4 * jnp.zeros((3, 1)).at[i].set(1)
            assert gradient[i] == pytest.approx(float(reward(us + e) - reward(us - e)) / 2e-4, rel=1e-4)
        together = lambda us: jnp.sum(dynamics.simulate(jnp.array([0.0, 1.0, 0.0, 0.0]), us[None])[0, 1:, 2] ** 2)  # noqa: E731
        np.testing.assert_allclose(jax.jit(jax.grad(together))(us)[:, 0], gradient, rtol=1e-6)
        for second in (
            jax.hessian(reward),
            jax.jacfwd(jax.jacfwd(reward)),
            jax.jit(jax.jacrev(jax.grad(reward))),
            jax.hessian(together),
        ):
            with pytest.raises(UsageError, match="no second derivatives.*CEM"):
                second(us)


class SpeedReward:
    """The reward is the speed; an episode ends beyond 0.2 m."""

    def __call__(self, start, nearly, after, us):
        return after[..., 1], after[..., 0] > 0.2


def test_an_episode_that_ended_stands_still_without_reward():
    dynamics = MujocoDynamics(simulator(CART), SpeedReward())
    x0 = jnp.array([0.17, 1.0, 0.0, 0.0])
    xs = dynamics.simulate(x0, jnp.zeros((1, 6, 1)))[0]
    np.testing.assert_allclose(xs[:, 0], [0.17, 0.18, 0.19, 0.2, 0.21, 0.21, 0.21], atol=0.0101)
    done = np.asarray(xs[:, 3])
    first = int(np.argmax(done == 1))
    np.testing.assert_array_equal(done, [0] * first + [1] * (7 - first))
    np.testing.assert_allclose(xs[:, 2], [0] + [1] * first + [0] * (6 - first))
    np.testing.assert_array_equal(xs[first, :2], xs[-1, :2])
    again = dynamics(xs[first], jnp.ones(1), NOW).mean
    np.testing.assert_array_equal(again, jnp.array([*xs[first, :2], 0.0, 1.0]))


def test_derivative_of_the_reward():
    """Also side by side with an episode that is over, where nothing moves."""
    linear = MujocoDynamics(simulator(CART), SpeedReward()).linearize(jnp.array([0.0, 1.0, 0.0, 0.0]), jnp.ones(1), NOW)
    np.testing.assert_allclose(linear.F[2], [0, 1, 0, 0, 0.005], atol=1e-5)
    np.testing.assert_array_equal(linear.F[3], 0)
    states = jnp.array([[0.0, 1.0, 0.0, 0.0], [0.3, 1.0, 0.0, 1.0], [0.1, 1.0, 0.0, 0.0]])
    both = jax.vmap(MujocoDynamics(simulator(CART), SpeedReward()).linearize, (0, 0, None))(
        states, jnp.ones((3, 1)), NOW
    )
    np.testing.assert_array_equal(both.F[0], linear.F)
    np.testing.assert_array_equal(both.F[1, :2, :2], np.eye(2))
    np.testing.assert_allclose(both.F[2, 2], linear.F[2], atol=1e-5)


@pytest.mark.parametrize("source", ["no/such/file.xml", "<mujoco><nonsense/></mujoco>"])
def test_models_that_cannot_be_loaded_are_refused_in_one_line(source):
    with pytest.raises(UsageError, match="MuJoCo cannot load") as error:
        load_model(source)
    assert "\n" not in str(error.value)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="frame_skip"):
        Simulator(load_model(CART), frame_skip=0)
