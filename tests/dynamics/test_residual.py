"""Known physics with a learned residual: exact ones leave nothing to learn, wrong ones less than everything."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.iterative import Iterative
from forethought.algorithms.mpc import LearnedMPC
from forethought.algorithms.pilco import PILCO
from forethought.core import Buffer, UsageError
from forethought.dynamics.cartpole import CartPole
from forethought.dynamics.learned import LearnedDynamics, fit_dynamics, one_step_error
from forethought.dynamics.residual import Physics, require_physics
from forethought.dynamics.space import StateSpace
from forethought.envs.environment import Environment
from forethought.envs.episode import join_pieces
from forethought.models.gp.process import GP
from forethought.planning.gradient_shooting import GradientShooting
from tests.algorithms.test_pets import Hidden, system
from tests.linear import double_integrator

ID = "forethought/CartPoleSwingUp-v0"
SPACE = StateSpace(4, angles=(2,))
POSITIONS = StateSpace(4, angles=(2,), velocities=((0, 1), (2, 3)), dt=0.1)
TRUE, WRONG = CartPole(substeps=1), CartPole(cart_mass=0.65, pole_mass=0.35, friction=0.13, substeps=1)
X, U = jax.ShapeDtypeStruct((4,), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
MODEL = GP(restarts=1, features=64)


predict = eqx.filter_jit(lambda dynamics, x, u: jax.vmap(lambda x, u: dynamics(x, u, jnp.array(0)))(x, u))
gap = jax.jit(lambda x, y: jax.vmap(SPACE.difference)(x, y))


def transitions(count, seed):
    """Independent transitions of the true cart-pole with random states and forces."""
    state_key, action_key = jr.split(jr.key(seed))
    x = jr.normal(state_key, (count, 4)) * jnp.array([[1.0, 1.0, 2.0, 2.0]])
    u = jr.uniform(action_key, (count, 1), minval=-10.0, maxval=10.0)
    x_next = predict(TRUE, x, u).mean
    no = jnp.zeros(count, bool)
    return join_pieces([jax.tree.map(np.asarray, type(Buffer.empty(4, 1).data)(x, u, x_next, -x[:, 0], no, no))])


def learned(physics, count, *, space=SPACE, n_extra=0):
    """The dynamics fitted to `count` transitions, and their error on 200 others, relative to the spread of changes."""
    buffer = Buffer.empty(4, 1).append(transitions(count, 1))
    outputs = len(space.learned) + n_extra
    drift = jnp.zeros(2) if space.velocities else None
    before = LearnedDynamics(MODEL.init(6, outputs, key=jr.key(0)), space, n_extra, drift, physics)
    dynamics, _ = fit_dynamics(MODEL, buffer, before, key=jr.key(0))
    held_out = transitions(200, 2)
    return dynamics, float(one_step_error(dynamics, held_out, Buffer.empty(4, 1).append(held_out)))


def test_exact_physics_leave_no_residual():
    dynamics, error = learned(Physics(TRUE), 30)
    assert error < 1e-3
    steps = transitions(20, 3)
    predicted = predict(dynamics, steps.x, steps.u)
    np.testing.assert_allclose(predicted.mean, steps.x_next, atol=1e-3)
    assert predicted.std.max() < 1e-2


@pytest.mark.parametrize("space", [SPACE, POSITIONS], ids=["all", "integrated"])
def test_a_residual_beats_the_physics_alone_and_a_model_from_nothing(space):
    """Masses and friction 30% off, 30 transitions."""
    _, corrected = learned(Physics(WRONG), 30, space=space)
    _, from_nothing = learned(None, 30, space=space)
    held_out = transitions(200, 2)
    known = jax.jit(jax.vmap(Physics(WRONG)))(held_out.x, held_out.u)
    alone = np.asarray(gap(held_out.x_next, known)) / np.asarray(gap(held_out.x_next, held_out.x)).std(axis=0)
    if space.velocities:
        alone = alone[:, [1, 3]]  # the error counts what is learned
    alone = np.sqrt(np.mean(alone**2))
    assert corrected < 0.5 * alone and corrected < 0.5 * from_nothing


def test_integrated_positions_follow_the_physics_and_the_residual_of_the_velocities():
    dynamics, _ = learned(Physics(WRONG), 30, space=POSITIONS)
    x, u = jnp.array([0.1, 0.5, 1.0, -0.5]), jnp.array([2.0])
    known, mean = (np.asarray(predict(model, x[None], u[None]).mean)[0] for model in (WRONG, dynamics))
    np.testing.assert_allclose((mean - known)[[0, 2]], 0.05 * (mean - known)[[1, 3]], rtol=1e-3)
    steps = transitions(30, 1)
    gaps = np.asarray(gap(steps.x_next, jax.jit(jax.vmap(Physics(WRONG)))(steps.x, steps.u)))
    expected = np.sqrt(np.mean((gaps[:, [0, 2]] - 0.05 * gaps[:, [1, 3]]) ** 2, axis=0))
    np.testing.assert_allclose(dynamics.drift, expected, rtol=1e-3)


def test_a_learned_reward_is_one_more_coordinate_without_physics():
    dynamics, _ = learned(Physics(TRUE), 60, n_extra=1)
    x = jnp.array([0.3, 0.5, 1.0, -0.5, 99.0])
    u = jnp.array([[2.0]])
    mean, true = predict(dynamics, x[None], u).mean[0], predict(TRUE, x[None, :4], u).mean[0]
    np.testing.assert_allclose(mean[:4], true, atol=1e-3)
    np.testing.assert_allclose(mean[4], -0.3, atol=0.05)


def test_a_sampled_function_keeps_the_physics():
    dynamics, _ = learned(Physics(WRONG), 30)
    x, u = jnp.array([[0.1, 0.5, 1.0, -0.5]]), jnp.array([[2.0]])
    drawn = predict(dynamics.draw(key=jr.key(0)), x, u).mean
    np.testing.assert_allclose(drawn, predict(dynamics, x, u).mean, atol=0.2)
    assert dynamics.draw_many(2, key=jr.key(0))[0].physics is dynamics.physics


def five(x, u):
    return jnp.zeros(5)


def branches(x, u):
    return x if x[0] > 0 else -x


def needs_two(x, u):
    return x + u[1] * x @ x[:3]


MODEL_OF_CART = WRONG


@pytest.mark.parametrize(
    ("known", "complaint"),
    [
        (five, r"physics 'five' must return the next state, of shape \[4\], but returns an array of shape \[5\]"),
        (branches, "cannot be traced by JAX.*jnp.where instead of if"),
        (needs_two, r"raised .* when called as physics\(x, u\) with shapes \[4\] and \[1\]"),
        (CartPole, "is a class: give an instance"),
        (CartPole(dt=0.05), r"makes steps of 0.05 s, and the environment of 0.1 s"),
    ],
)
def test_unsuitable_physics_are_refused_in_one_line(known, complaint):
    with pytest.raises(UsageError, match=complaint) as refusal:
        require_physics(known, X, U, 0.1)
    assert "\n" not in str(refusal.value)


def test_physics_of_an_environment_by_name_and_by_value():
    name = "tests.dynamics.test_residual:MODEL_OF_CART"
    for given in (name, WRONG):
        env = Environment(ID, physics=given).open()
        assert env.physics.known is WRONG
    assert Environment(ID, physics=name).record()["physics"] == name
    assert "physics" not in Environment(ID).record() and Environment(ID).open().physics is None
    assert Environment("CartPole-v1", physics="tests.dynamics.test_residual:same").open().physics is not None
    with pytest.raises(UsageError, match="must return the next state"):
        Environment(ID, physics="tests.dynamics.test_residual:five").open()


def same(x, u):
    return x


def linear(x, u):
    return double_integrator()(x, u, jnp.array(0)).mean


@pytest.mark.parametrize("kind", [type(system()), Hidden])
def test_iterating_with_exact_physics_predicts_its_first_plan(kind):
    algorithm = Iterative(model=GP(restarts=1), planner=GradientShooting(horizon=12, iterations=60))
    env = Environment(system(kind), physics=linear).open()
    state = algorithm.init(env, key=jr.key(0))
    for i in range(2):
        state, info = algorithm.iterate(state, env, key=jr.fold_in(jr.key(0), i))
    assert info.metrics["drift"] < 0.02 and info.metrics["model_error"] < (1.0 if kind is Hidden else 0.01)
    start = algorithm.init(env, key=jr.key(9))
    assert jax.tree.structure(start) == jax.tree.structure(state)


def test_mpc_hands_the_physics_to_its_model_and_pilco_refuses_them():
    env = Environment(ID, physics=WRONG).open()
    state = LearnedMPC(model=MODEL).init(env, key=jr.key(0))
    assert state.learned.dynamics.physics is env.physics
    with pytest.raises(UsageError, match="PILCO needs moments.*leave --physics out"):
        PILCO().init(env, key=jr.key(0))
