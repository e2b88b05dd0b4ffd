"""Local models: rollouts from given initial conditions, local problems, steps, rounds, exact resume, bad input."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.local_improvement import LocalUnits, TrustRegion, improve, local_problem
from forethought.algorithms.local_models import LocalModels
from forethought.algorithms.local_priors import MixturePrior, ModelPrior, NoPrior
from forethought.algorithms.local_record import require_usable
from forethought.algorithms.local_rollouts import Conditions
from forethought.algorithms.protocol import Algorithm
from forethought.core import Box, Discrete, LinearGaussian, NumericalFailure, Problem, Result, UsageError
from forethought.core.precision import in_float64
from forethought.core.units import Units, change_units
from forethought.dynamics.space import StateSpace
from forethought.envs.gym_env import GymEnv
from forethought.envs.system_env import SystemEnv
from forethought.models.gp.process import GP
from forethought.policies.exploration import smoothing_matrix
from forethought.report.in_depth import in_depth
from forethought.report.trust_region import trust_region_sections
from forethought.runs import driver
from tests.envs.toy_envs import Linear, limited
from tests.linear import QuadraticTask, double_integrator

T = 10


class Scattered(QuadraticTask):
    """The initial state depends on the key."""

    def initial(self, *, key):
        return jnp.array([1.0, 0.0]) + 0.5 * jr.normal(key, (2,))


def system(task=Scattered, std=0.0, kind=SystemEnv, **fields):
    task = task(**{"horizon": T, "limit": 3.0} | fields)
    return kind("double integrator", Problem(double_integrator(std), task), StateSpace(2))


ENV = system()
PLAIN = LocalModels(conditions=Conditions(count=2, samples=6, smoothing=0.0), prior=NoPrior(), noise=(0.3,))


def rounds(algorithm, env, count, seed=0):
    state, infos = algorithm.init(env, key=jr.fold_in(jr.key(seed), 10**6)), []
    for i in range(count):
        state, info = algorithm.iterate(state, env, key=jr.fold_in(jr.key(seed), i))
        infos.append(info)
    return state, infos


def mean_cost(algorithm, env, state, condition):
    """Of an episode under the learned controller, without noise, from an initial condition."""
    episode = env.run(algorithm.controller(state, env), key=jr.key(5), **algorithm.conditions.reset(condition, env))
    return -float(episode.reward.sum())


@pytest.fixture(scope="module")
def trained():
    return rounds(PLAIN, ENV, 10)


def least_cost(x0, steps=T, effort=0.1, final=1.0):
    """The running cost of the optimal controller of the double integrator, by a dense solve over all actions."""
    A, B = (np.asarray(M, float) for M in (double_integrator().A, double_integrator().B))
    powers = [np.linalg.matrix_power(A, t) for t in range(steps + 1)]
    G = np.zeros((2 * (steps + 1), steps))
    for t in range(steps + 1):
        for s in range(t):
            G[2 * t : 2 * t + 2, s] = (powers[t - 1 - s] @ B)[:, 0]
    free = np.concatenate([P @ x0 for P in powers])
    weights = np.repeat([1.0] * steps + [final], 2)
    us = -np.linalg.solve(G.T @ (weights[:, None] * G) + effort * np.eye(steps), G.T @ (weights * free))
    xs = free + G @ us
    return float(xs[:-2] @ xs[:-2] + effort * us @ us)


def optimum(state, condition):
    return least_cost(np.asarray(state.xs[condition, 0], float))


def test_a_linear_system_is_solved(trained):
    """From every condition the cost is within 0.5% of the optimum of a dense solve."""
    state, infos = trained
    assert isinstance(PLAIN, Algorithm)
    for c in range(2):
        assert mean_cost(PLAIN, ENV, state, c) == pytest.approx(optimum(state, c), rel=0.005)
        assert infos[0].metrics[f"cost_{c + 1}"] > 1.05 * optimum(state, c)
    assert not any("no better controller" in note for info in infos for note in info.notes)


@pytest.mark.slow
@pytest.mark.parametrize("std, margin", [(0.0, 0.05), (0.02, 0.2)])
def test_a_run_that_has_converged_stays_converged(std, margin):
    """In 40 rounds after the solution no round costs much more than the best one, and every number is finite."""
    env = system(std=std)
    state, infos = rounds(PLAIN, env, 50)
    costs = np.array([info.metrics["cost"] for info in infos])
    assert np.all(costs[10:] < (1 + margin) * costs[10:].min())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    for c in range(2):
        assert mean_cost(PLAIN, ENV, state, c) == pytest.approx(optimum(state, c), rel=margin)


def test_the_trust_region_and_the_least_noise_hold_in_every_round(trained):
    state, infos = trained
    for info in infos:
        assert info.metrics["kl"] <= 1.11 * info.metrics["epsilon"]
        assert 0.1 <= info.metrics["step_multiplier"] <= 3
    stds = np.sqrt(np.linalg.eigvalsh(np.asarray(state.policies.cov))) / 3.0
    assert stds.min() >= PLAIN.region.least_noise * (1 - 1e-3)
    assert infos[0].metrics["actual_improvement"] is None and infos[0].metrics["model_error"] is None
    assert infos[1].metrics["model_error"] < 0.05  # the system is linear and has no noise
    assert infos[1].metrics["actual_improvement"] == pytest.approx(infos[0].metrics["predicted_improvement"], rel=0.2)


def test_each_condition_is_one_initial_state_with_a_controller_of_its_own(trained):
    state, infos = trained
    starts = np.array([episode.x[0] for episode in infos[-1].episodes]).reshape(2, 6, 2)
    assert (starts == starts[:, :1]).all() and (starts[0, 0] != starts[1, 0]).any()
    controller = PLAIN.controller(state, ENV)
    for c in range(2):
        assert controller.init(jnp.asarray(starts[c, 0]) + 0.01, key=jr.key(0)) == c
        u, _ = controller.act(jnp.asarray(starts[c, 0]), jnp.array(0), jnp.array(c), key=jr.key(0))
        np.testing.assert_allclose(u, jnp.clip(state.policies.F[c, 0] @ starts[c, 0] + state.policies.f[c, 0], -3, 3))
    given = Conditions(states=(1.0, 0.0, 0.5, 0.5), samples=6)
    assert given.number(ENV) == 2 and Conditions().number(ENV) == Conditions().number(system(Fixed)) == 1
    np.testing.assert_allclose(ENV.start(key=jr.key(0), **given.reset(1, ENV)).x, [0.5, 0.5])


def test_a_local_problem_is_the_problem_around_its_rollouts():
    """On a linear system with a quadratic cost, fitted dynamics and expanded cost are exact, in any units."""
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        A, B = (np.asarray(M, float) for M in (double_integrator().A, double_integrator().B))
        us = random.normal(size=(8, T, 1)) + 0.5
        xs = [np.tile([1.0, 0.0], (8, 1))]
        for t in range(T):
            xs.append(xs[-1] @ A.T + us[:, t] @ B.T + (random.normal(size=(8, 2)) if t == 0 else 0))
        xs, us = jnp.asarray(np.stack(xs, axis=1)), jnp.asarray(us)
        units = LocalUnits(
            Units(jnp.array([0.3, -1.0]), jnp.array([0.5, 4.0])), Units(jnp.array([0.1]), jnp.array([7.0]))
        )
        task = in_float64(QuadraticTask(horizon=T))
        problem = jax.jit(lambda xs, us: local_problem(task, units, xs, us, None, 1e-12))(xs, us)
        assert problem.result == Result.converged
        own = change_units(jax.tree.map(lambda a: a[5], problem.dynamics), units.z.inverse, units.x.inverse)
        np.testing.assert_allclose(own.F, np.concatenate([A, B], axis=1), atol=1e-6)
        z = jnp.array([0.7, -0.2, 1.3])
        stage = jax.tree.map(lambda a: a[5], problem.cost)
        np.testing.assert_allclose(stage(units.z(z)), task.cost(z[:2], z[2:], 5), rtol=1e-7)
        np.testing.assert_allclose(problem.final(units.x(z[:2])), task.final_cost(z[:2]), rtol=1e-7)
        np.testing.assert_allclose(problem.initial.mean, units.x(jnp.array([1.0, 0.0])), atol=1e-12)


def test_units_change_a_conditional_and_change_it_back():
    random = np.random.default_rng(1)
    arrays = [random.normal(size=s).astype(np.float32) for s in ((2, 3), (2,), (2, 2), (3,), (3,), (2,), (2,))]
    F, f, root, center, scale, y_center, y_scale = map(jnp.asarray, arrays)
    p = LinearGaussian(F, f, root @ root.T)
    z, y = Units(center, jnp.exp(scale)), Units(y_center, jnp.exp(y_scale))
    value = jnp.array([0.3, -2.0, 5.0])
    changed, answer = change_units(p, z, y)(z(value)), p(value)
    np.testing.assert_allclose(changed.mean, y(answer.mean), rtol=1e-4)
    np.testing.assert_allclose(changed.cov, answer.cov / jnp.outer(y.scale, y.scale), rtol=1e-4)
    back = change_units(change_units(p, z, y), z.inverse, y.inverse)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), back, p)


def test_smoothed_noise_keeps_its_variance():
    np.testing.assert_array_equal(smoothing_matrix(4, 0.0), np.eye(4))
    kernel = np.asarray(smoothing_matrix(30, 2.0))
    np.testing.assert_allclose((kernel**2).sum(1), 1, rtol=1e-5)
    correlations = kernel @ kernel.T
    assert correlations[10, 11] > 0.9 and abs(correlations[10, 25]) < 1e-3


def test_a_step_after_which_the_rollouts_are_clearly_worse_is_taken_back_at_most_three_times(trained):
    state, _ = trained
    with jax.enable_x64(True):
        last, before = in_float64(jax.tree.map(lambda a: a[0], (state.accepted, state.progress)))
        now = jax.tree.map(lambda a: a + 0.1 if eqx.is_inexact_array(a) else a, last)
        step = jax.jit(lambda p, before: improve(TrustRegion(), p, now.old, jnp.array([0.1]), before, last))
        costing = lambda paid: eqx.tree_at(lambda p: (p.paid, p.error), now.problem, (paid, last.problem.error))  # noqa: E731
        accepted = step(costing(before.cost + 4 * last.problem.error), before)
        assert not accepted.undone and accepted.progress.undone == 0 and accepted.progress.cost > before.cost
        assert accepted.accepted.old.f[0] == now.old.f[0]
        epsilon = before.multiplier * T
        for i in range(3):
            done = step(costing(before.cost + 10 * last.problem.error + 2 * jnp.abs(before.predicted)), before)
            assert done.undone and done.progress.undone == i + 1 and done.progress.cost == last.problem.paid
            assert done.epsilon <= jnp.maximum(0.5 * epsilon, 0.1 * T) and done.accepted.old.f[0] == last.old.f[0]
            before, epsilon = done.progress, done.epsilon
        assert not step(costing(before.cost + 1.0), before).undone


def test_without_a_trust_region_the_step_is_lqr():
    """On a linear system one step of LQR is optimal, however far it is from the initial controller."""
    algorithm = dataclasses.replace(PLAIN, region=TrustRegion(enabled=False))
    state, (info,) = rounds(algorithm, ENV, 1)
    assert mean_cost(algorithm, ENV, state, 0) == pytest.approx(optimum(state, 0), rel=0.002)
    assert info.metrics["epsilon"] is None and info.metrics["eta"] == 0 and info.metrics["kl"] > 5
    np.testing.assert_allclose(state.policies.cov, 0.9**2, rtol=1e-5)  # of the initial controller: 0.3 of 3


@pytest.mark.slow
def test_three_rollouts_are_enough_with_a_mixture_as_prior():
    algorithm = dataclasses.replace(PLAIN, conditions=Conditions(samples=3), prior=MixturePrior())
    state, _ = rounds(algorithm, system(std=0.001), 6)
    assert mean_cost(algorithm, ENV, state, 0) == pytest.approx(optimum(state, 0), rel=0.1)


@pytest.mark.slow
def test_any_model_is_a_prior():
    prior = ModelPrior(model=GP(restarts=1))
    algorithm = dataclasses.replace(PLAIN, conditions=Conditions(samples=3), prior=prior)
    state, _ = rounds(algorithm, ENV, 6)
    assert mean_cost(algorithm, ENV, state, 0) == pytest.approx(optimum(state, 0), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("prior", [NoPrior(), MixturePrior()], ids=["none", "gmm"])
def test_a_run_resumes_exactly_and_has_a_report(tmp_path, prior):
    algorithm = dataclasses.replace(PLAIN, prior=prior)
    whole = driver.train(algorithm, ENV, iterations=3, out=tmp_path / "whole", progress=False)
    driver.train(algorithm, ENV, iterations=2, out=tmp_path / "parts", progress=False)
    parts = driver.train(algorithm, ENV, iterations=3, out=tmp_path / "parts", progress=False, resume=True)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    assert [line["return"] for line in whole.metrics] == [line["return"] for line in parts.metrics]
    assert whole.metrics[-1]["env_steps"] == 3 * 2 * 6 * T
    titles = {section.title for section in in_depth(parts, episodes=1, seed=None, video=False).sections}
    assert {"Trust region", "Model error by horizon", "Learning curve"} <= titles


def test_the_report_shows_the_trust_region_of_runs_that_have_one(trained):
    lines = [{"iteration": i + 1, **info.metrics} for i, info in enumerate(trained[1])]
    run = type("", (), {"metrics": lines})()
    (section,) = trust_region_sections(run)
    assert section.pictures[0].svg.startswith(b"<?xml") and "lambda" in section.pictures[0].caption
    assert trust_region_sections(type("", (), {"metrics": [{"iteration": 1, "cost": 1.0}]})()) == []


class Hidden(SystemEnv):
    """A system that does not tell its cost."""

    learn_reward = True


class OnTheHost(QuadraticTask):
    """The cost is a callback."""

    def cost(self, x, u, t):
        return jax.pure_callback(lambda x: x[0], jax.ShapeDtypeStruct((), x.dtype), x)


class Fixed(QuadraticTask):
    @property
    def initial_states(self):
        return jnp.array([[1.0, 0.0]])


class Choices(QuadraticTask):
    @property
    def action_space(self):
        return Discrete(2)


class Unlimited(QuadraticTask):
    @property
    def action_space(self):
        return Box.symmetric(jnp.array([jnp.inf]))


class Unseeded(Linear):
    """The reset ignores its seed."""

    random = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.random.normal(size=2)
        return self.x.copy(), {}


def cost(x, u):
    return x @ x + u @ u


@pytest.mark.parametrize(
    "algorithm, env, complaint",
    [
        (dataclasses.replace(PLAIN, conditions=Conditions(samples=4)), ENV, "need 5 rollouts.*--prior gmm"),
        (
            dataclasses.replace(PLAIN, conditions=Conditions(samples=1), prior=MixturePrior()),
            ENV,
            "at least 2 rollouts",
        ),
        (PLAIN, system(kind=Hidden), "only pays rewards.*--cost"),
        (PLAIN, system(OnTheHost), "derivatives.*jax.numpy"),
        (PLAIN, system(Choices), "continuous actions"),
        (PLAIN, system(Unlimited), "finite"),
        (dataclasses.replace(PLAIN, conditions=Conditions(states=(1.0, 2.0, 3.0))), ENV, "several states of size 2"),
        (dataclasses.replace(PLAIN, conditions=Conditions(count=2, states=(1.0, 2.0))), ENV, "not 2 states of size 2"),
        (PLAIN, system(Fixed), "has 1 initial states"),
        (dataclasses.replace(PLAIN, noise=(0.1, 0.2)), ENV, "2 values for 1 actions"),
        (PLAIN, system(edge=0.9), "ended after 1 of 10 steps"),
        (PLAIN, GymEnv(limited(Unseeded(), 5), cost=cost), "does not return to initial condition 1"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(algorithm, env, complaint):
    with pytest.raises(UsageError, match=complaint) as refusal:
        rounds(algorithm, env, 1)
    assert "\n" not in str(refusal.value)


def test_a_fit_without_an_answer_is_a_failure_that_says_what_to_change():
    require_usable(np.array([Result.converged, Result.stalled]))
    with pytest.raises(NumericalFailure, match="initial condition 2: a matrix lost.*--noise.*--prior gmm"):
        require_usable(np.array([Result.converged, Result.not_positive_definite]))


@pytest.mark.parametrize(
    "make, complaint",
    [
        (lambda: Conditions(count=0), "count >= 1"),
        (lambda: Conditions(samples=0), "samples >= 1"),
        (lambda: TrustRegion(kl_step=0.0), "kl_step > 0"),
        (lambda: TrustRegion(smallest=2.0, largest=1.0), "smallest <= largest"),
        (lambda: TrustRegion(undone=-1), "undone must be at least 0"),
        (lambda: MixturePrior(regularization=-0.1), "regularization must be at least 0"),
        (lambda: LocalModels(noise=(0.3, 0.0)), "noise must be positive"),
        (lambda: LocalModels(kept=0), "kept must be at least 1"),
        (lambda: ModelPrior(strength=0.0), "strength must be positive"),
    ],
)
def test_settings_that_cannot_work_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
