"""Fit once, iterate, replan: the rungs that plan through a model learned from all experience."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.executed_plan import ExecutedPlan, execute_plan
from forethought.algorithms.fit_once import FitOnce
from forethought.algorithms.iterative import Iterative
from forethought.algorithms.mpc import LearnedMPC
from forethought.algorithms.pets import PETS
from forethought.core import Problem, Transition, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs.env import collect
from forethought.models.ensemble import Ensemble
from forethought.models.gp.process import GP
from forethought.planning.cem import CEM
from forethought.planning.gradient_shooting import GradientShooting
from forethought.planning.ilqr import ILQR
from forethought.planning.random_shooting import RandomShooting
from forethought.planning.whole_plan import Following, WholePlan
from forethought.policies.base_policy import ControllerFunction, RandomPolicy
from forethought.policies.uniform import Uniform
from forethought.report.in_depth import in_depth
from forethought.runs import driver
from tests.algorithms.test_pets import Hidden, system, train
from tests.linear import QuadraticTask, double_integrator
from tests.planning.test_planners import X0, optimum

MODEL = Ensemble(members=1, hidden=(24, 24), max_epochs=60, batch=16)
WHOLE = ILQR(starts=1, iterations=30)
QUICK = GradientShooting(horizon=12, iterations=60)
PLAN = jax.jit(lambda problem, x0: WHOLE.plan(problem, x0, WHOLE.init(problem), key=jr.key(0))[0])
ONCE = FitOnce(model=GP(restarts=1), planner=WHOLE, base_episodes=2)
ITERATIVE = Iterative(model=GP(restarts=1), planner=QUICK)


@pytest.fixture(scope="module")
def plan():
    return PLAN(system().problem, jnp.array([1.0, 0.0]))


def test_a_whole_plan_follows_its_prediction_on_the_system_it_was_made_for(plan):
    env = system()
    for feedback in (True, False):
        episode = collect(env, Following(plan, feedback), key=jr.key(0))
        executed = ExecutedPlan(plan, episode)
        assert executed.drift(env.space, episode.x).max() < 1e-4
        np.testing.assert_allclose(episode.u, plan.us, atol=1e-4)


def test_feedback_corrects_what_open_loop_execution_does_not(plan):
    """The system starts elsewhere: the gains steer it to the planned states, the replayed actions do not."""
    ends = {}
    for feedback in (True, False):
        x, controller = jnp.array([0.7, 0.0]), Following(plan, feedback)
        for t in range(len(plan.us)):
            u, _ = controller.act(x, jnp.asarray(t), (), key=jr.key(0))
            x = double_integrator()(x, u, jnp.asarray(t)).mean
        ends[feedback] = float(jnp.linalg.norm(x - plan.xs[-1]))
    assert ends[True] < 0.9 * ends[False] and ends[False] == pytest.approx(0.3, rel=1e-3)


def test_after_its_end_a_plan_repeats_its_last_action(plan):
    last, _ = Following(plan, False).act(plan.xs[-2], jnp.asarray(len(plan.us) + 5), (), key=jr.key(0))
    np.testing.assert_allclose(last, plan.us[-1])


def test_the_controller_plans_from_the_state_in_which_the_episode_begins():
    env = system()
    episode = collect(env, WholePlan(QUICK, env.problem), key=jr.key(0))
    plan, _ = QUICK.plan(env.problem, jnp.array([1.0, 0.0]), QUICK.init(env.problem), key=jr.key(0))
    np.testing.assert_allclose(episode.u, plan.us, atol=1e-4)


def test_drift_is_the_distance_in_units_of_the_spread():
    """Predicted 1 and 2, executed 2 and 4, spread 0.5: distances 2 and 4; a coordinate at rest does not count."""
    plan = type("", (), {"xs": jnp.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]]), "cost": jnp.array(jnp.inf)})()
    flags = np.zeros(2, bool)
    x = np.array([[0.0, 7.0], [2.0, 7.0]], np.float32)
    episode = Transition(x, np.zeros((2, 1), np.float32), np.array([[2.0, 7.0], [4.0, 7.0]], np.float32),
                         -np.ones(2, np.float32), flags, flags)  # fmt: skip
    executed, seen = ExecutedPlan(plan, episode), np.array([[0.0, 7.0], [1.0, 7.0]])
    np.testing.assert_allclose(executed.drift(StateSpace(2), seen), [2.0, 4.0])
    metrics = executed.metrics(StateSpace(2), seen)
    assert metrics["drift"] == pytest.approx(np.sqrt(10)) and metrics["drift_last"] == 4.0
    assert metrics["executed_cost"] == 2.0 and metrics["predicted_cost"] is None
    assert "No plan with a finite predicted cost" in executed.notes()[0]


def test_fit_once_fits_once_and_then_executes_its_plan():
    """On a linear system two random episodes are enough: the plan costs within 5% of the optimum and hardly drifts."""
    env = system(Hidden)
    state, infos = train(ONCE, env, 3)
    assert len(infos[0].episodes) == 2 and "drift" not in infos[0].metrics
    assert int(state.buffer.size) == 24 and int(state.learned.rows) == 24  # the plan's episodes are not learned from
    best = optimum(Problem(double_integrator(), QuadraticTask(final=0.0)), X0)
    for info in infos[1:]:
        metrics = info.metrics
        assert best * 0.99 <= metrics["executed_cost"] <= 1.05 * best
        assert metrics["executed_cost"] == pytest.approx(metrics["predicted_cost"], rel=0.1)
        assert metrics["drift"] < 0.1 and metrics["drift_last"] < 0.2


def test_iterating_learns_from_the_executed_plans():
    env = system()
    state, infos = train(ITERATIVE, env, 3)
    again, _ = train(ITERATIVE, env, 3)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(state.buffer.size) == int(state.learned.rows) == 36
    assert infos[0].metrics["model_error"] is None and infos[2].metrics["model_error"] < 0.3
    assert infos[2].metrics["drift"] < 0.1
    start = ITERATIVE.init(env, key=jr.key(9))
    assert jax.tree.structure(start) == jax.tree.structure(state)


def test_open_loop_execution_replays_the_planned_actions():
    """The planned actions, whatever the states: in a noisy system both plans are the same and the actions differ."""
    env = dataclasses.replace(system(), problem=Problem(double_integrator(0.05), QuadraticTask(horizon=12)))
    model = Problem(double_integrator(), env.task)
    run = lambda feedback: execute_plan(env, model, WHOLE, feedback=feedback, key=jr.key(3))  # noqa: E731
    closed, opened = run(True), run(False)
    np.testing.assert_array_equal(closed.plan.us, opened.plan.us)
    np.testing.assert_allclose(opened.episode.u, opened.plan.us, atol=1e-6)
    assert np.abs(closed.episode.u - closed.plan.us).max() > 0.01


@pytest.mark.parametrize("algorithm", [FitOnce, Iterative])
def test_a_plan_shorter_than_the_episode_is_refused_with_the_remedy(algorithm):
    with pytest.raises(UsageError, match=r"whole episode of 12 steps.* horizon is 5: set --planner.horizon 12"):
        algorithm(planner=CEM(horizon=5)).init(system(), key=jr.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, GP(restarts=1, features=16)], ids=["network", "gp"])
def test_mpc_takes_any_model_and_any_planner(model):
    algorithm = LearnedMPC(model=model, planner=RandomShooting(horizon=5, population=64, particles=2), round_steps=1)
    state, infos = train(algorithm, system(), 2)
    assert int(state.buffer.size) == 24 and infos[1].metrics["model_error"] > 0
    assert np.isfinite(infos[1].episodes[0].reward).all()


@pytest.mark.slow
def test_pets_is_an_instance_of_mpc():
    tiny = PETS(model=MODEL, planner=CEM(horizon=4, population=20, elites=4, particles=1), round_steps=1)
    env = system()
    for a, b in zip(*(jax.tree.leaves(train(one, env, 2)[0]) for one in (tiny, tiny.mpc)), strict=True):
        np.testing.assert_array_equal(a, b)


def not_a_controller(env):
    return 3


def hold_high(env):
    return Uniform(env.task.action_space, hold=100)


def test_any_controller_may_act_first():
    base = ControllerFunction(name="tests.algorithms.test_rungs:hold_high")
    algorithm = dataclasses.replace(ITERATIVE, model=MODEL, base=base)
    _, info = algorithm.iterate(algorithm.init(system(), key=jr.key(0)), system(), key=jr.key(0))
    assert np.ptp(info.episodes[0].u) == 0


def test_a_base_policy_that_is_none_is_refused():
    env = system()
    for name, complaint in (
        ("", "none is named: give --base.name MODULE:FUNCTION"),
        ("tests.algorithms.test_rungs:not_a_controller", "must return a controller"),
        ("tests.algorithms.test_rungs:hold_higher", "hold_high"),
    ):
        with pytest.raises(UsageError, match=complaint):
            ControllerFunction(name=name).controller(env)
    with pytest.raises(ValueError, match="hold must be at least 1"):
        RandomPolicy(hold=0)
    with pytest.raises(ValueError, match="LearnedMPC.base_episodes must be at least 1"):
        LearnedMPC(base_episodes=0)
    with pytest.raises(ValueError, match="FitOnce.final_weight"):
        FitOnce(final_weight=-1.0)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [ONCE, ITERATIVE], ids=["fit once", "iterative"])
def test_a_run_resumes_exactly_and_has_a_report(tmp_path, algorithm):
    """Two rounds and one more, against three in one go; the report shows one plan, from the start of the episode."""
    algorithm, env = dataclasses.replace(algorithm, planner=QUICK), system(Hidden)
    whole = driver.train(algorithm, env, iterations=3, out=tmp_path / "whole", progress=False)
    driver.train(algorithm, env, iterations=2, out=tmp_path / "parts", progress=False)
    parts = driver.train(algorithm, env, iterations=3, out=tmp_path / "parts", progress=False, resume=True)
    for a, b in zip(jax.tree.leaves(whole.state), jax.tree.leaves(parts.state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [line["return"] for line in whole.metrics] == [line["return"] for line in parts.metrics]
    assert parts.evaluate(episodes=1).mean < 0
    titles = {section.title: section for section in in_depth(parts, episodes=1, seed=None, video=False).sections}
    assert "One plan is executed to the end of the episode" in titles["Plan against reality"].text[0]
