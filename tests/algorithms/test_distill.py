"""Students of trained runs: what is distilled, what the student is, exact resume, and runs that cannot be distilled."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.algorithms.distill import DistillDynamics, DistillPolicy, compare_with_random
from forethought.algorithms.known_mpc import KnownMPC
from forethought.algorithms.mpc import LearnedMPC
from forethought.algorithms.pets import PETS
from forethought.algorithms.ppo import PPO
from forethought.cli.main import main
from forethought.core import UsageError
from forethought.envs.env import collect
from forethought.learners.behavior_cloning import BehaviorCloning
from forethought.models.distilled import DistilledModel, DistilledNetwork
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.planning.guided import GuidedMPC
from forethought.planning.icem import ICEM
from forethought.planning.mpc import MPC
from forethought.policies.observing import Observing
from forethought.policies.uniform import Uniform
from forethought.runs.distill import kind_of

NAME = "forethought/CartPoleSwingUp-v0"
pytestmark = pytest.mark.filterwarnings("ignore:note")  # without progress, notes are warnings
PLANNER = ICEM(horizon=3, population=8, elites=3, iterations=1, particles=2)
TEACHER = PETS(model=Ensemble(members=2, hidden=(8,), max_epochs=5, batch=16), planner=PLANNER)
ONE = LearnedMPC(model=dataclasses.replace(TEACHER.model, members=1), planner=PLANNER)
DYNAMICS = DistillDynamics(student=DistilledModel(updates=200, batch=32), imagined=64, horizon=4)
POLICY = DistillPolicy(
    cloning=BehaviorCloning(updates=50, batch=16),
    hidden=(8,),
    observed=("cart position", "1"),
    history=2,
    round_steps=10,
)
QUIET = {"progress": False, "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def teacher(folder):
    return ft.train(TEACHER, NAME, iterations=2, out=folder / "teacher", **QUIET)


@pytest.fixture(scope="module")
def dynamics(folder, teacher):
    return ft.distill(teacher.path, out=folder / "dynamics", algorithm=DYNAMICS, iterations=2, **QUIET)


@pytest.fixture(scope="module")
def policy(folder, teacher):
    return ft.distill(teacher.path, out=folder / "policy", algorithm=POLICY, iterations=2, **QUIET)


def test_a_student_of_the_dynamics_plans_with_one_network_and_fewer_particles(teacher, dynamics):
    run = ft.load(dynamics.path)
    student = run.algorithm.problem(run.state, run.env).dynamics.model
    assert isinstance(student, DistilledNetwork)
    assert run.algorithm.teacher == TEACHER and run.algorithm.planner == dataclasses.replace(PLANNER, particles=1)
    assert [w.shape[1] for w in student.layers.weights] == [8, 12]  # like a network of the teacher; 3 x 4 outputs
    told = run.state.experience.learned.dynamics.model
    jax.tree.map(np.testing.assert_array_equal, told, teacher.state.learned.dynamics.model)
    first, second = run.metrics
    assert {"teacher_return", "random_return", "distillation_error"} <= first.keys() and "teacher_return" not in second
    # random actions, the teacher and the student in the first round; the student in the second
    assert [line["env_steps"] for line in run.metrics] == [120, 160]
    assert int(run.state.experience.buffer.size) == 80 + 80
    assert run.evaluate(episodes=1).episodes == 1
    assert run.info["teachers"] == [str(teacher.path)]


def test_the_fit_brings_the_student_near_its_teacher(teacher):
    env, key = teacher.env, jr.key(0)
    settings = dataclasses.replace(DYNAMICS, teacher=TEACHER, student=DistilledModel(updates=1000, batch=32))
    state = settings.with_teachers(settings.init(env, key=key), [teacher.state])
    _, info = settings.iterate(state, env, key=key)
    untrained = dataclasses.replace(settings, student=DistilledModel(updates=1, batch=32))
    _, before = untrained.iterate(state, env, key=key)
    assert info.metrics["distillation_loss"] < 0.1 * before.metrics["distillation_loss"]
    assert info.metrics["distillation_error"] < 0.8 * before.metrics["distillation_error"]


def test_a_policy_student_sees_what_it_was_allowed_to_see(policy):
    run = ft.load(policy.path)
    assert isinstance(run.controller, Observing) and run.controller.view.coordinates == (0, 1)
    assert run.state.demonstrations.data["x"].shape[1] == 4 and int(run.state.demonstrations.size) == 80
    first, second = run.metrics
    assert first["imitation_error"] > 0 and "teacher_return" in first and "teacher_return" not in second
    u, same = (run.act(np.array([0.1, 3.0, speed, -speed])) for speed in (0.0, 5.0))
    np.testing.assert_array_equal(u, same)  # speeds are not seen
    assert run.evaluate(episodes=1).lengths == (40,)


@pytest.mark.parametrize("kind", [pytest.param("dynamics", marks=pytest.mark.slow), "policy"])
def test_an_interrupted_distillation_resumes_exactly(kind, teacher, request, tmp_path):
    whole = request.getfixturevalue(kind)
    how = {"algorithm": DYNAMICS if kind == "dynamics" else POLICY, "out": tmp_path / "run", **QUIET}
    ft.distill(teacher.path, iterations=1, **how)
    parts = ft.distill(teacher.path, iterations=2, resume=True, **how)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)


def test_mpc_with_a_known_model_is_a_run_and_its_controller_can_be_distilled(tmp_path):
    known = ft.train(KnownMPC(planner=PLANNER), NAME, iterations=1, out=tmp_path / "known", **QUIET)
    assert kind_of([known]) == "policy" and known.metrics[0]["env_steps"] == 40
    with pytest.raises(UsageError, match="has no learned dynamics"):
        kind_of([known], "dynamics")
    with pytest.raises(UsageError, match="model of Pendulum-v1 is not known"):
        KnownMPC().init(ft.open_env("Pendulum-v1"), key=jr.key(0))


def test_what_is_distilled_follows_from_the_run(teacher, policy, folder):
    assert kind_of([teacher]) == "dynamics" and kind_of([teacher], "policy") == "policy"
    assert kind_of([policy]) == "policy"
    single = ft.train(ONE, NAME, iterations=1, out=folder / "single", **QUIET)
    assert kind_of([single]) == "policy"
    with pytest.raises(UsageError, match="only one network"):
        kind_of([single], "dynamics")
    with pytest.raises(UsageError, match="name a run"):
        kind_of([])
    with pytest.raises(UsageError, match="one student learns from one run, not from 2"):
        kind_of([teacher, single])


def test_teachers_of_different_action_spaces_need_heads(teacher, folder):
    how = {"hidden": (4,), "minibatches": 1, "epochs": 1}
    from forethought.algorithms.on_policy import Rollouts
    from forethought.learners.ppo import PPOLearner

    small = PPO(PPOLearner(**how), rollouts=Rollouts(environments=1, steps=8, round_steps=8))
    discrete = ft.train(small, "CartPole-v1", iterations=1, out=folder / "discrete", **QUIET)
    with pytest.raises(UsageError, match="actions of 1 real numbers and .* has 2 discrete actions.*a head"):
        kind_of([teacher, discrete])
    with pytest.raises(UsageError, match="does not plan with a learned model"):
        dataclasses.replace(DYNAMICS, teacher=small).init(teacher.env, key=jr.key(0))


def test_a_student_larger_than_its_teacher_is_refused(teacher):
    large = dataclasses.replace(DYNAMICS, teacher=TEACHER, student=DistilledModel(hidden=(64, 64)))
    with pytest.raises(UsageError, match=r"student has 5,\d+ parameters and its teacher .*--student.hidden"):
        large.init(teacher.env, key=jr.key(0))


def test_a_teacher_no_better_than_random_actions_is_noted_with_its_score(teacher):
    env = teacher.env
    episode = collect(env, Uniform(env.task.action_space), key=jr.key(0))
    for reward, notes in ((-1e3, 1), (1e3, 0)):
        bad = dataclasses.replace(episode, reward=np.full_like(episode.reward, reward))
        info = compare_with_random(env, teacher.controller, [bad], key=jr.key(1))
        assert len(info.notes) == notes and info.metrics["teacher_return"] == pytest.approx(40 * reward)
    info = compare_with_random(
        env, teacher.controller, [dataclasses.replace(episode, reward=-1e3 * jnp.ones(40))], key=jr.key(1)
    )
    assert "-4e+04, is no better than that of random actions" in info.notes[0]


def test_the_command_distills_and_refuses_what_does_not_fit(teacher, tmp_path, capsys):
    def told(*words):
        status = main(["distill", *map(str, words)])
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    out = ("--out", tmp_path / "student", "--iterations", 1, "--seed", 3)
    small = ("--to", "policy", "--hidden", 8, "--cloning.updates", 20, "--cloning.batch", 8, "--round-steps", 1)
    status, text = told(teacher.path, *out, *small)
    assert status == 0 and f"run: {tmp_path / 'student'}" in text
    assert (
        told(teacher.path, "--out", tmp_path / "x", "--observed", "0")[1].count("is for a student of kind policy") == 1
    )
    assert told(teacher.path, "--out", tmp_path / "x", "--to", "game")[0] == 2
    status, text = told(tmp_path / "nothing", "--out", tmp_path / "x")
    assert status == 2 and "there is no run in" in text
    assert told(teacher.path)[0] == 2  # no --out
    with pytest.raises(SystemExit):
        main(["distill", "--help"])
    text = capsys.readouterr().out
    assert "--student.hidden" in text and "--cloning.updates" in text and "--teacher" not in text


def test_wrong_settings_are_refused():
    for wrong in ({"imagined": -1}, {"horizon": 0}, {"particles": 0}):
        with pytest.raises(ValueError, match=f"DistillDynamics.{next(iter(wrong))}"):
            DistillDynamics(**wrong)
    for wrong in ({"history": 0}, {"round_steps": 0}):
        with pytest.raises(ValueError, match=f"DistillPolicy.{next(iter(wrong))}"):
            DistillPolicy(**wrong)


def test_a_guided_planner_searches_around_what_the_student_would_do(policy):
    settings, state, env = policy.algorithm, policy.state, policy.env
    assert isinstance(settings.expert(state, env), MPC)
    guided = dataclasses.replace(settings, guided=True)
    expert = guided.expert(state, env)
    assert isinstance(expert, GuidedMPC) and isinstance(expert.guide, Observing)
    one, other = (each.iterate(state, env, key=jr.key(0))[0].demonstrations for each in (settings, guided))
    np.testing.assert_array_equal(one.data["x"][:120], other.data["x"][:120])  # the student acts either way
    assert np.any(one.data["u"][80:120] != other.data["u"][80:120])


def test_a_planner_that_takes_no_guess_is_refused_before_anything_is_written(tmp_path, capsys):
    planner = CEM(horizon=3, population=8, elites=3, iterations=1, particles=1)
    known = ft.train(KnownMPC(planner=planner), NAME, iterations=1, out=tmp_path / "known", **QUIET)
    words = ["distill", str(known.path), "--to", "policy", "--guided", "true", "--out", str(tmp_path / "student")]
    assert main(words) == 2
    assert "CEM takes no guess" in capsys.readouterr().err and not (tmp_path / "student").exists()


def test_the_first_round_may_be_longer(teacher):
    longer = dataclasses.replace(POLICY, teacher=TEACHER, first_steps=41)
    state = longer.with_teachers(longer.init(teacher.env, key=jr.key(0)), [teacher.state])
    state, info = longer.iterate(state, teacher.env, key=jr.key(1))
    assert len(info.episodes) == 3 and int(state.demonstrations.size) == 80  # random actions, two of the teacher
    assert int(longer.iterate(state, teacher.env, key=jr.key(2))[0].demonstrations.size) == 120
    with pytest.raises(ValueError, match="first_steps must be at least 1"):
        dataclasses.replace(POLICY, first_steps=0)
