import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import (
    Buffer,
    DiagonalGaussian,
    Gaussian,
    LinearGaussian,
    Problem,
    Transition,
    UsageError,
    draw_many,
    step_cost,
)
from forethought.dynamics import linearize as linearization
from forethought.dynamics.learned import LearnedDynamics, fit_dynamics, one_step_error, regression_data
from forethought.dynamics.space import StateSpace
from forethought.models.ensemble import Ensemble
from forethought.models.gp.process import condition
from forethought.planning.mpc import MPC
from forethought.planning.random_shooting import RandomShooting
from forethought.tasks.learned_task import FromObservation, LearnedTask
from tests.linear import QuadraticTask, double_integrator

linearize = eqx.filter_jit(linearization.linearize)
predict = eqx.filter_jit(lambda dynamics, x, u: jax.vmap(lambda x, u: dynamics(x, u, jnp.array(0)))(x, u))
moments = eqx.filter_jit(lambda dynamics, p: dynamics.moments(p))


def steps(n=50, *, key=0, noise=0.0):
    """Transitions of x' = x + [0.1 x1 + reward-free noise, 0.1 u] with reward x0 - u^2."""
    x_key, u_key, noise_key = jr.split(jr.key(key), 3)
    x, u = jr.normal(x_key, (n, 2)), jr.uniform(u_key, (n, 1), minval=-1.0, maxval=1.0)
    system = double_integrator()
    x_next = x @ system.A.T + u @ system.B.T + noise * jr.normal(noise_key, (n, 2))
    flags = jnp.zeros(n, bool)
    return Transition(x, u, x_next, x[:, 0] - u[:, 0] ** 2, flags, flags)


def exact_model(n_extra=0):
    F = jnp.zeros((2 + n_extra, 3)).at[0, 1].set(0.1).at[1, 2].set(0.1)
    return LinearDiagonal(F, jnp.zeros(2 + n_extra).at[2:].set(7.0))


class LinearDiagonal(LinearGaussian):
    def __init__(self, F, f):
        self.F, self.f, self.cov = F, f, jnp.zeros((F.shape[0], F.shape[0]))

    def __call__(self, z):
        return DiagonalGaussian(self.F @ z + self.f, jnp.zeros_like(self.f))


def full(*episodes):
    """A buffer of these episodes."""
    buffer = Buffer.empty(episodes[0].x.shape[1], episodes[0].u.shape[1])
    for episode in episodes:
        buffer = buffer.append(episode)
    return buffer


def test_difference_model_moves_the_state():
    dynamics = LearnedDynamics(exact_model(), StateSpace(2))
    data = steps()
    predicted = predict(dynamics, data.x, data.u).mean
    np.testing.assert_allclose(predicted, data.x_next, rtol=1e-5, atol=1e-6)
    assert one_step_error(dynamics, data, full(data)) < 1e-3


def test_error_of_the_mean_difference_is_one():
    data = steps(400)
    y = regression_data(StateSpace(2), data, 0)[1]
    mean_only = LearnedDynamics(LinearDiagonal(jnp.zeros((2, 3)), jnp.mean(y, 0)), StateSpace(2))
    assert one_step_error(mean_only, data, full(data)) == pytest.approx(1.0, abs=1e-3)


def test_coordinates_that_do_not_move_do_not_count():
    data = steps()
    still = Transition(
        *(
            jnp.pad(a, ((0, 0), (0, 1)), constant_values=3.0) if i in (0, 2) else a
            for i, a in enumerate((data.x, data.u, data.x_next, data.reward, data.terminated, data.truncated))
        )
    )
    F = jnp.zeros((3, 4)).at[0, 1].set(0.1).at[1, 3].set(0.1)
    assert one_step_error(LearnedDynamics(LinearDiagonal(F, jnp.zeros(3)), StateSpace(3)), still, full(still)) < 1e-3


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_the_error_has_no_units(scale):
    """A model that predicts no change of a coordinate of any magnitude."""
    data = steps(400)
    scaled = eqx.tree_at(lambda s: (s.x, s.x_next), data, (scale * data.x, scale * data.x_next))
    still = LearnedDynamics(LinearDiagonal(jnp.zeros((2, 3)), jnp.zeros(2)), StateSpace(2))
    assert one_step_error(still, scaled, full(scaled)) == pytest.approx(
        float(one_step_error(still, data, full(data))), rel=1e-3
    )


def test_changes_within_the_rounding_of_the_state_do_not_count():
    data = steps()
    wobble = 1000 * (1 + 6e-8 * jr.normal(jr.key(0), (2, 50, 1)))
    x, x_next = (jnp.concatenate([a, w], 1) for a, w in zip((data.x, data.x_next), wobble, strict=True))
    wobbling = eqx.tree_at(lambda s: (s.x, s.x_next), data, (x, x_next))
    F = jnp.zeros((3, 4)).at[0, 1].set(0.1).at[1, 3].set(0.1)
    error = one_step_error(LearnedDynamics(LinearDiagonal(F, jnp.zeros(3)), StateSpace(3)), wobbling, full(wobbling))
    assert error < 1e-3


def test_coordinates_that_move_elsewhere_are_measured_by_how_they_move_there():
    """An error of 0.1 in a coordinate that stood still in these steps, and whose steps were of 1 in all others."""
    at_rest = Transition(
        *(jnp.zeros(shape) for shape in ((50, 1), (50, 1), (50, 1), (50,))), *[jnp.zeros(50, bool)] * 2
    )
    moving = eqx.tree_at(lambda s: s.x_next, at_rest, jnp.tile(jnp.array([[1.0], [-1.0]]), (25, 1)))
    model = LearnedDynamics(LinearDiagonal(jnp.zeros((1, 2)), jnp.array([0.1])), StateSpace(1))
    for others in (1, 9):
        seen = full(*[moving] * others, at_rest)
        assert one_step_error(model, at_rest, seen) == pytest.approx(0.1 * np.sqrt((others + 1) / others), rel=1e-4)


def test_angles_wrap_in_targets_and_features():
    space = StateSpace(2, angles=(0,))
    flags = jnp.zeros(1, bool)
    step = Transition(jnp.array([[3.1, 0.0]]), jnp.zeros((1, 1)), jnp.array([[-3.1, 0.0]]), jnp.zeros(1), flags, flags)
    z, y = regression_data(space, step, 0)
    np.testing.assert_allclose(z[0], [0.0, np.sin(3.1), np.cos(3.1), 0.0], atol=1e-6)
    np.testing.assert_allclose(y[0], [2 * np.pi - 6.2, 0.0], atol=1e-5)


def test_learned_reward_is_a_coordinate_of_the_state():
    dynamics = LearnedDynamics(exact_model(1), StateSpace(2), 1)
    after = dynamics(jnp.array([1.0, 2.0, -99.0]), jnp.array([0.5]), jnp.array(0)).mean
    np.testing.assert_allclose(after, [1.2, 2.05, 7.0], rtol=1e-6)
    task = LearnedTask(QuadraticTask(), None, reward_in_state=True)
    assert step_cost(task, jnp.zeros(3), jnp.zeros(1), after, jnp.array(0)) == -7.0 and task.final_cost(after) == 0
    assert task.initial(key=jr.key(0)).shape == (3,)
    controller = FromObservation(MPC(RandomShooting(hold=1, horizon=3, population=4), Problem(dynamics, task)))
    x = jnp.array([1.0, 2.0])
    u, _ = controller.act(x, jnp.array(0), controller.init(x, key=jr.key(0)), key=jr.key(0))
    assert u.shape == (1,)


def test_learned_termination_replaces_the_unknown_one():
    log_odds = LinearDiagonal(jnp.array([[1.0, 0.0]]), jnp.array([-2.0]))  # ends where x0 > 2
    task = LearnedTask(QuadraticTask(), log_odds, reward_in_state=False)
    assert bool(task.terminal(jnp.array([2.5, 0.0]))) and not bool(task.terminal(jnp.array([1.5, 0.0])))
    with_reward = LearnedTask(QuadraticTask(), log_odds, reward_in_state=True)
    assert bool(with_reward.terminal(jnp.array([2.5, 0.0, 100.0])))
    never = LearnedTask(QuadraticTask(), log_odds, reward_in_state=False, never_terminal=True)
    assert not bool(never.terminal(jnp.array([2.5, 0.0])))


def test_fit_learns_dynamics_and_reward():
    buffer = Buffer.empty(2, 1).append(steps(230, key=1)).append(steps(230, key=2))
    settings = Ensemble(members=2, hidden=(32,), max_epochs=120, batch=32)
    before = LearnedDynamics(settings.init(3, 3, key=jr.key(0)), StateSpace(2), 1)
    dynamics, report = fit_dynamics(settings, buffer, before, key=jr.key(1))
    new = steps(100, key=3)
    assert one_step_error(dynamics, new, buffer) < 0.2 < one_step_error(before, new, buffer)
    assert report.holdout_error.shape == (2, 3)
    functions, copies = draw_many(dynamics, 6, key=jr.key(0))
    assert copies == 3 and functions.space == StateSpace(2) and functions.n_extra == 1


SWING = StateSpace(2, angles=(0,))


def pendulum_gp(n_extra=0, dtype=float):
    """A Gaussian process that saw a pendulum under torques, its hyper-parameters given."""
    rng = np.random.default_rng(0)
    x, u = rng.uniform([-3, -4], [3, 4], (60, 2)), rng.uniform(-2, 2, (60, 1))
    z = np.column_stack([x[:, 1], np.sin(x[:, 0]), np.cos(x[:, 0]), u])
    y = np.column_stack([0.1 * x[:, 1], 0.1 * (u[:, 0] - 9.8 * np.sin(x[:, 0])), x[:, 1] ** 2])[:, : 2 + n_extra]
    e = y.shape[1]
    gp = condition(
        z,
        y,
        lengthscale=np.full((e, 4), 3.0),
        signal=np.full(e, 2.0),
        noise=np.array([0.02, 0.05, 0.1])[:e],
        offset=y.mean(0),
        dtype=dtype,
    )
    return LearnedDynamics(gp, SWING, n_extra)


def test_moments_at_a_point_are_the_prediction(dtype):
    dynamics, z = pendulum_gp(1, dtype), jnp.array([0.4, -1.0, 9.0, 0.7], dtype)  # the reward before tells nothing
    affine, tangent = _both(dynamics, z)
    tolerance = 1e-9 if dtype == jnp.float64 else 2e-3
    np.testing.assert_allclose(affine(z).mean, tangent(z).mean, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(affine.F, tangent.F, atol=tolerance)
    np.testing.assert_array_equal(affine.F[:, 2], np.zeros(3))
    if dtype == jnp.float64:
        np.testing.assert_allclose(affine.cov, tangent.cov, atol=tolerance)


@eqx.filter_jit
def _both(dynamics, z):
    return dynamics.moments(Gaussian.point(z)), linearize(dynamics, z[:3], z[3:], jnp.array(0))


def test_moments_are_those_of_samples():
    with jax.enable_x64(True):
        dynamics, count = pendulum_gp(), 200_000
        p = Gaussian(jnp.array([2.0, -1.0, 0.5]), 0.03 * jnp.array([[1.0, 0.5, 0], [0.5, 2, 0.3], [0, 0.3, 1]]))
        affine = moments(dynamics, p)
        zs = jax.jit(jax.vmap(lambda k: p.sample(key=k)))(jr.split(jr.key(0), count))
        y = jax.jit(jax.vmap(lambda z: dynamics(z[:2], z[2:], jnp.array(0))))(zs)
        ends = np.asarray(y.mean)
        joint = np.cov(np.column_stack([zs, ends]).T)
        joint[3:, 3:] += np.diag(np.mean(np.asarray(y.std) ** 2, axis=0))
        mean, cov = affine.F @ p.mean + affine.f, affine.F @ p.cov @ affine.F.T + affine.cov
        np.testing.assert_allclose(mean, ends.mean(0), atol=2e-3)
        np.testing.assert_allclose(p.cov @ affine.F.T, joint[:3, 3:], atol=2e-3)
        np.testing.assert_allclose(cov, joint[3:, 3:], rtol=0.03, atol=1e-3)  # features are not quite Gaussian


def test_models_without_moments_answer_by_sigma_points():
    dynamics, system = LearnedDynamics(exact_model(), StateSpace(2)), double_integrator()
    p = Gaussian(jnp.array([1.0, -2.0, 0.3]), jnp.diag(jnp.array([0.1, 0.2, 0.3])))
    affine = moments(dynamics, p)
    np.testing.assert_allclose(affine.F, np.column_stack([system.A, system.B]), atol=1e-3)
    np.testing.assert_allclose(affine(p.mean).mean, dynamics(p.mean[:2], p.mean[2:], jnp.array(0)).mean, atol=1e-5)
    np.testing.assert_allclose(affine.cov, np.zeros((2, 2)), atol=1e-4)


VELOCITIES = StateSpace(3, angles=(0,), velocities=((0, 2),), dt=0.1)  # [angle, another coordinate, angular speed]


def accelerated(n=60, *, noise=0.0):
    """Transitions of an angle whose speed changes by 0.1 u, integrated exactly; the other coordinate follows u."""
    x_key, u_key, noise_key = jr.split(jr.key(0), 3)
    x, u = 3 * jr.normal(x_key, (n, 3)), jr.uniform(u_key, (n, 1), minval=-1.0, maxval=1.0)
    faster = x[:, 2] + 0.1 * u[:, 0]
    after = jnp.stack([x[:, 0] + 0.05 * (x[:, 2] + faster), 2 * u[:, 0], faster], 1)
    after = after + noise * jr.normal(noise_key, (n, 3))
    flags = jnp.zeros(n, bool)
    return Transition(x, u, after, x[:, 1], flags, flags)


class Exact(eqx.Module):
    """The report of a fit that cannot fail."""

    result: int = 0
    metrics: dict = eqx.field(default_factory=dict)


class Linear:
    """Settings of a least-squares fit."""

    def init(self, d, e, *, key):
        raise NotImplementedError

    def fit(self, z, y, size, *, previous=None, key):
        del size, previous, key
        ones = jnp.ones((len(z), 1))
        weights = jnp.linalg.lstsq(jnp.concatenate([z, ones], 1), y)[0].T
        return LinearDiagonal(weights[:, :-1], weights[:, -1]), Exact()


@pytest.mark.parametrize("n_extra", [0, 1])
def test_positions_follow_from_learned_velocities(n_extra):
    data = accelerated()
    dynamics, _ = fit_dynamics(Linear(), full(data), LearnedDynamics(exact_model(), VELOCITIES, n_extra), key=jr.key(0))
    assert dynamics.model.F.shape == (2 + n_extra, 5)  # without the angle
    x = jnp.pad(data.x, ((0, 0), (0, n_extra)))
    predicted = predict(dynamics, x, data.u).mean
    np.testing.assert_allclose(predicted[:, :3], data.x_next, atol=2e-4)
    assert dynamics.drift < 1e-4 and one_step_error(dynamics, data, full(data)) < 1e-3


def test_what_integration_leaves_over_is_noise():
    data = accelerated(4000, noise=0.02)
    dynamics, _ = fit_dynamics(Linear(), full(data), LearnedDynamics(exact_model(), VELOCITIES), key=jr.key(0))
    leftover = 0.02 * np.sqrt(1 + 0.05**2)  # of the angle, and of the speed after the step
    np.testing.assert_allclose(dynamics.drift, [leftover], rtol=0.05)
    std = dynamics(jnp.zeros(3), jnp.zeros(1), jnp.array(0)).std
    np.testing.assert_allclose(std, [dynamics.drift[0], 0, 0], rtol=1e-6)
    noisy = eqx.tree_at(lambda d: d.model, dynamics, pendulum_gp().model)
    np.testing.assert_allclose(noisy.noise(), [dynamics.drift[0], 0.02, 0.05], rtol=1e-6)
    functions, _ = draw_many(noisy, 3, key=jr.key(0))
    assert functions.drift.shape == (3, 1) and functions.space == VELOCITIES


def test_moments_with_velocities_are_those_of_the_step_itself():
    """A linear model: the moments are exact, and the step is its own tangent."""
    data = accelerated(noise=0.02)
    dynamics, _ = fit_dynamics(Linear(), full(data), LearnedDynamics(exact_model(), VELOCITIES, 1), key=jr.key(0))
    x, u = jnp.array([0.3, -1.0, 2.0, 5.0]), jnp.array([0.4])
    affine = moments(dynamics, Gaussian.point(jnp.concatenate([x, u])))
    step = jax.tree.map(lambda a: a[0], predict(dynamics, x[None], u[None]))
    np.testing.assert_allclose(affine(jnp.concatenate([x, u])).mean, step.mean, atol=2e-3)
    np.testing.assert_allclose(jnp.diagonal(affine.cov), step.std**2, atol=3e-4)
    tangent = linearize(dynamics, x, u, jnp.array(0))
    np.testing.assert_allclose(affine.F, tangent.F, atol=5e-3)


def test_a_time_step_that_the_data_contradict_is_refused():
    wrong = StateSpace(3, angles=(0,), velocities=((0, 2),), dt=0.02)
    with pytest.raises(UsageError, match=r"time step of 0.02 s: .*changes by 0.1 s times"):
        fit_dynamics(Linear(), full(accelerated()), LearnedDynamics(exact_model(), wrong), key=jr.key(0))


@pytest.mark.parametrize(
    ("velocities", "dt", "words"),
    [
        (((0, 3),), 0.1, "not indices"),
        (((0, 1), (0, 2)), 0.1, "each position has one velocity"),
        (((0, 1), (1, 2)), 0.1, "a velocity has none"),
        (((0, 1),), 0.0, "time step of the environment"),
    ],
)
def test_velocities_that_cannot_be(velocities, dt, words):
    with pytest.raises(ValueError, match=words):
        StateSpace(3, velocities=velocities, dt=dt)


def test_a_space_without_velocities_learns_all():
    assert VELOCITIES.learned == (1, 2) and VELOCITIES.without_velocities() == StateSpace(3, angles=(0,))
    assert VELOCITIES.without_velocities().learned == (0, 1, 2)
