"""Distillation: a student learns what a slow teacher says, and takes its place.

DistillDynamics: an ensemble of K networks becomes one network; the same planner uses it with K times fewer particles.
    1  imagine states: the teacher's members, from real states, under random actions
    2  the teacher predicts mean, aleatoric and epistemic variance at all real and imagined states and actions
    3  fit the student to these (models/distilled.py)
    4  one episode of MPC with the student; its states are real states of the next round
DistillPolicy: any controller, such as MPC, becomes a policy network by DAgger.
    1  the teacher acts in the first round, the student in all others
    2  the teacher names its action in every state visited; a guided planner improves what the student would do
    3  fit the student to all these actions (learners/behavior_cloning.py)
The first round also measures the teacher and random actions.  The teacher's settings and state are part of the
student's run, which therefore needs no other run.
Source: DAgger: Ross et al. (2011), A reduction of imitation learning to no-regret online learning, algorithm 3.1;
planner to policy: Nagabandi et al. (2018), section IV-E; what the student would do as a guess: see planning/guided.py;
one network for an ensemble: see models/distilled.py.
Differs: DAgger mixes in no actions of the teacher after the first round (beta = 0), and returns the last policy.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.branched_rollouts import bounds_of, branch
from forethought.algorithms.demonstrations import demonstrate
from forethought.algorithms.experience import Experience, require_at_least
from forethought.algorithms.model_learning import Learned
from forethought.algorithms.pets import PETS
from forethought.algorithms.protocol import Algorithm, Info
from forethought.core import Buffer, Controller, Problem, Result, Spaces, Transition, UsageError
from forethought.core.settings import settings
from forethought.envs.env import Env, collect, spaces_of
from forethought.learners.behavior_cloning import BehaviorCloning
from forethought.learners.model_gradient import extra_coordinates
from forethought.models.distilled import DistilledModel
from forethought.planning.guided import guided_by
from forethought.policies.network import on_policy
from forethought.policies.observing import Observing, View
from forethought.policies.uniform import Uniform, UniformPolicy


class DynamicsStudent(eqx.Module):
    """Experience with the teacher's model, and the same with the student's."""

    experience: Experience
    learned: Learned
    rounds: Int[Array, ""]


@settings
class DistillDynamics:
    """One network in place of an ensemble, for planning."""

    teacher: Algorithm = PETS()
    student: DistilledModel = DistilledModel()
    imagined: int = 100_000  # imagined inputs in each round
    horizon: int = 15  # steps of an imagined trajectory
    particles: int | None = None  # particles of the student's planner; none: the teacher's, divided by its members

    def __post_init__(self):
        """Refuse settings out of range."""
        require_at_least(self, imagined=0, horizon=1, particles=1)

    def init(self, env: Env, *, key: PRNGKeyArray) -> DynamicsStudent:
        """An untrained teacher and an untrained student.

        Raises:
            UsageError: the teacher has no learned dynamics, or the student is larger than the teacher.
        """
        teacher_key, student_key = jr.split(key)
        experience = self.teacher.init(env, key=teacher_key)
        if not isinstance(experience, Experience) or not hasattr(self.teacher, "planner"):
            raise UsageError(
                f"{type(self.teacher).__name__} does not plan with a learned model, so it has no dynamics to distill: "
                "use a run of pets or mpc, or --to policy."
            )
        old = experience.learned.dynamics
        space, reward = old.space, old.n_extra
        d, e = space.feature_size + env.task.action_space.size, len(space.learned) + reward
        hidden = getattr(getattr(self.teacher, "model", None), "hidden", (200, 200))
        student = self.student.init(d, e, like=hidden, key=student_key)
        require_smaller(student, old.model)
        learned = _with_model(experience.learned, student)
        return DynamicsStudent(experience, learned, jnp.zeros((), jnp.int32))

    def with_teachers(self, state: DynamicsStudent, teachers: Sequence[Experience]) -> DynamicsStudent:
        """The state with what the teacher has learned."""
        (teacher,) = teachers
        learned = _with_model(teacher.learned, state.learned.dynamics.model)
        return DynamicsStudent(teacher, learned, state.rounds)

    def iterate(self, state: DynamicsStudent, env: Env, *, key: PRNGKeyArray) -> tuple[DynamicsStudent, Info]:
        """One round: lines as in the head of this file."""
        score_key, imagine_key, fit_key, act_key = jr.split(key, 4)
        experience, compared = state.experience, Info([], {})
        if int(state.rounds) == 0:
            compared = compare_with_random(env, self.teacher.controller(experience, env), key=score_key)
        buffer, old = experience.buffer, experience.learned.dynamics
        z = regression_inputs(old, buffer.data)  # padded beyond `size`
        if self.imagined:
            model = self.teacher.problem(experience, env)  # type: ignore[attr-defined]
            more = imagined_inputs(model, env, buffer, self.imagined, self.horizon, key=imagine_key)  # line 1
            z = jnp.concatenate([more, z])
        size = self.imagined + int(buffer.size)
        before: Any = state.learned.dynamics.model
        student, report = self.student.fit(before, old.model, z, size, key=fit_key)  # lines 2 and 3
        Result(int(report.result)).throw()
        learned, rounds = _with_model(experience.learned, student), state.rounds + 1
        episode = collect(
            env, self.controller(DynamicsStudent(experience, learned, rounds), env), key=act_key
        )  # line 4
        grown = Experience(buffer.append(episode), experience.learned, experience.episodes + 1)
        metrics = {**compared.metrics, **report.metrics}
        return DynamicsStudent(grown, learned, rounds), Info([*compared.episodes, episode], metrics, compared.notes)

    def problem(self, state: DynamicsStudent, env: Env) -> Problem:
        """The task with the student's model."""
        return self._planning.problem(self._seen(state), env)

    def controller(self, state: DynamicsStudent, env: Env) -> Controller:
        """The teacher's planner with the student's model."""
        return self._planning.controller(self._seen(state), env)

    @property
    def planner(self) -> Any:
        """The student's planner."""
        return self._planning.planner

    def _seen(self, state: DynamicsStudent) -> Experience:
        return Experience(state.experience.buffer, state.learned, state.experience.episodes)

    @property
    def _planning(self) -> Any:
        """The teacher's settings with fewer particles: one member needs no more than its share of them."""
        teacher: Any = self.teacher
        members, particles = getattr(teacher.model, "members", 1), getattr(teacher.planner, "particles", None)
        if particles is None:
            return teacher
        fewer = self.particles or max(1, particles // members)
        model = dataclasses.replace(teacher.model, members=1) if members > 1 else teacher.model
        return dataclasses.replace(teacher, model=model, planner=dataclasses.replace(teacher.planner, particles=fewer))


class PolicyStudent(eqx.Module):
    """The teacher's state, what it did, and the student."""

    teacher: Any
    demonstrations: Buffer  # {"x": what the student sees, "u": the teacher's action there}
    policy: Any
    rounds: Int[Array, ""]


@settings
class DistillPolicy:
    """One policy network in place of any controller, by DAgger."""

    teacher: Algorithm = PETS()
    cloning: BehaviorCloning = BehaviorCloning(updates=3000, spread=0.1)
    hidden: tuple[int, ...] = (64, 64)  # units in each hidden layer of the student
    observed: tuple[str, ...] = ()  # coordinates of the observation that the student sees, by name or index; none: all
    history: int = 1  # observations that the student sees at once: the newest ones
    round_steps: int = 400  # fewest real steps in a round
    first_steps: int | None = None  # fewest real steps of the teacher in the first round; none: as in the others
    guided: bool = False  # a planner's search begins with what the student would do: for short searches

    def __post_init__(self):
        """Refuse settings out of range."""
        require_at_least(self, history=1, round_steps=1, first_steps=1)

    def init(self, env: Env, *, key: PRNGKeyArray) -> PolicyStudent:
        """An untrained teacher and an untrained student.

        Raises:
            UsageError: the teacher shall be guided, and its planner takes no guess, as CEM does not.
        """
        teacher_key, policy_key = jr.split(key)
        spaces, view = spaces_of(env), self.view(env)
        seen = Spaces(view.observations(spaces.observations), spaces.actions)
        policy = on_policy(seen, hidden=self.hidden, normalize=True, who="distillation", key=policy_key)
        rows = Buffer.like({"x": seen.observations.example(), "u": spaces.actions.example()}, 1024)
        state = PolicyStudent(self.teacher.init(env, key=teacher_key), rows, policy, jnp.zeros((), jnp.int32))
        if self.guided:
            self.expert(state, env)
        return state

    def with_teachers(self, state: PolicyStudent, teachers: Sequence[Any]) -> PolicyStudent:
        """The state with what the teacher has learned."""
        (teacher,) = teachers
        return PolicyStudent(teacher, state.demonstrations, state.policy, state.rounds)

    def view(self, env: Env) -> View:
        """What the student sees."""
        return View.of(spaces_of(env).observations, env.space.names, self.observed, self.history)

    def iterate(self, state: PolicyStudent, env: Env, *, key: PRNGKeyArray) -> tuple[PolicyStudent, Info]:
        """One round: lines as in the head of this file."""
        act_key, label_key, score_key, fit_key = jr.split(key, 4)
        first = int(state.rounds) == 0
        if first:
            teacher, actor, steps = self.teacher.controller(state.teacher, env), None, self.first_steps
        else:
            teacher, actor, steps = self.expert(state, env), self.controller(state, env), None
        keys = {"act_key": act_key, "label_key": label_key}
        shown = demonstrate(env, teacher, actor, least_steps=steps or self.round_steps, **keys)  # lines 1 and 2
        told = Info([episode for episode, _ in shown], {})
        if first:
            told = compare_with_random(env, teacher, told.episodes, key=score_key)
        rows, view, space = state.demonstrations, self.view(env), env.task.action_space
        for episode, us in shown:
            rows = rows.append({"x": view.along(episode.x), "u": us})
        data = rows.data["x"], rows.data["u"], rows.size
        policy, report = self.cloning.fit(state.policy, *data, space=space, key=fit_key)  # line 3
        after = PolicyStudent(state.teacher, rows, policy, state.rounds + 1)
        return after, Info(told.episodes, {**told.metrics, **report.metrics}, told.notes)

    def expert(self, state: PolicyStudent, env: Env) -> Controller:
        """The teacher; if it is guided, its planner improves what the student would do."""
        teacher = self.teacher.controller(state.teacher, env)
        return guided_by(self.controller(state, env), teacher) if self.guided else teacher

    def controller(self, state: PolicyStudent, env: Env) -> Controller:
        """The student, without noise."""
        return Observing(state.policy, self.view(env))


def compare_with_random(
    env: Env, teacher: Controller, episodes: Sequence[Transition] = (), *, key: PRNGKeyArray
) -> Info:
    """An episode of random actions, then those of the teacher; their returns; a note if the teacher is no better.

    `episodes`: of the teacher, if there are some already.
    """
    random_key, teacher_key = jr.split(key)
    at_random = collect(env, Uniform(env.task.action_space), key=random_key)
    of_teacher = list(episodes) or [collect(env, teacher, key=teacher_key)]
    chance, score = (float(np.mean([np.sum(e.reward) for e in some])) for some in ([at_random], of_teacher))
    note = (
        f"the teacher's return, {score:.4g}, is no better than that of random actions, {chance:.4g}: do not expect "
        "more of its student; train the teacher longer."
    )
    notes = (note,) if score <= chance else ()
    return Info([at_random, *of_teacher], {"teacher_return": score, "random_return": chance}, notes)


def require_smaller(student: Any, teacher: Any) -> None:
    """Raise `UsageError` if the student has more parameters than the teacher, where the teacher has any."""
    sizes = [sum(a.size for a in jax.tree.leaves(eqx.filter(m, eqx.is_inexact_array))) for m in (student, teacher)]
    if hasattr(teacher, "member_count") and sizes[0] > sizes[1]:
        raise UsageError(
            f"the student has {sizes[0]:,} parameters and its teacher {sizes[1]:,}: give it fewer, by --student.hidden."
        )


def imagined_inputs(
    problem: Problem, env: Env, buffer: Buffer, count: int, horizon: int, *, key: PRNGKeyArray
) -> Float[Array, "N d"]:
    """The model's inputs at `count` states and random actions along trajectories of the model from real states.

    States outside the range of the real data, by more than its width, are left out (`branched_rollouts`).
    """
    branch_key, choose_key = jr.split(key)
    extra = extra_coordinates(problem)
    members = getattr(problem.dynamics.model, "member_count", 1)  # type: ignore[attr-defined]
    side_by_side = members * -(-count // (members * horizon))
    ring = Buffer.like(spaces_of(env).example(), side_by_side * horizon, ring=True)
    bounds = bounds_of(buffer, 1.0, extra)
    policy = UniformPolicy(env.task.action_space)
    one, length = jnp.asarray(1), jnp.asarray(horizon)
    ring, _ = branch(problem, policy, buffer, bounds, ring, side_by_side, one, length, branch_key)
    return regression_inputs(problem.dynamics, ring.sample(count, key=choose_key))


@eqx.filter_jit
def regression_inputs(dynamics: Any, steps: Transition) -> Float[Array, "N d"]:
    """The inputs of the model at a stack of transitions."""
    return dynamics.data(steps)[0]


def _with_model(learned: Learned, model: Any) -> Learned:
    dynamics = dataclasses.replace(learned.dynamics, model=model)
    return dataclasses.replace(learned, dynamics=dynamics)
