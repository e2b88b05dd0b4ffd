"""Small systems whose prediction errors are known exactly."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Box, DiagonalGaussian, LinearGaussian, Plan, Problem, Transition, UsageError
from forethought.dynamics.space import StateSpace
from forethought.policies.uniform import Uniform
from forethought.runs.run import Evaluation


class Linear(eqx.Module):
    """x' = A x + B u + offset + std * noise."""

    A: Float[Array, "n n"]
    B: Float[Array, "n m"]
    offset: Float[Array, "n"]
    std: Float[Array, "n"]

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> DiagonalGaussian:
        del t
        return DiagonalGaussian(self.A @ x + self.B @ u + self.offset, self.std)

    def draw(self, *, key: PRNGKeyArray) -> "Linear":
        del key
        return self


class Members(eqx.Module):
    """Linear systems that differ in their offset: what an ensemble looks like to the report."""

    system: Linear
    offsets: Float[Array, "E n"]

    @property
    def member_count(self) -> int:
        return self.offsets.shape[0]

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> DiagonalGaussian:
        y = self.system(x, u, t)
        return DiagonalGaussian(y.mean + self.offsets.mean(0), jnp.sqrt(y.std**2 + self.offsets.var(0)))

    def draw(self, *, key: PRNGKeyArray) -> Linear:
        del key
        return self.system

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple[Linear, int]:
        del key
        assert count % self.member_count == 0
        return eqx.filter_vmap(lambda o: eqx.tree_at(lambda s: s.offset, self.system, o))(self.offsets), (
            count // self.member_count
        )


class Cost(eqx.Module):
    """Quadratic in the first coordinate; the episode is over beyond `limit`."""

    action_space: Box
    limit: float = 1e9
    horizon: int = eqx.field(static=True, default=40)
    dt: float = eqx.field(static=True, default=0.1)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        return 0.1 * jr.normal(key, (2,))

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        del u, t
        return x[0] ** 2

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return jnp.zeros((), x.dtype)

    def terminal(self, x: Float[Array, "n"]) -> Array:
        return x[0] > self.limit

    def solved(self, trajectory) -> Array | None:
        return jnp.abs(trajectory.xs[-1, 0]) < 1


class Constant(eqx.Module):
    """A planner that always answers with the same actions."""

    value: float = eqx.field(static=True, default=0.5)
    steps: int = eqx.field(static=True, default=6)

    def init(self, problem: Problem) -> tuple[()]:
        del problem
        return ()

    def plan(self, problem: Problem, x0: Float[Array, "n"], state: tuple[()], *, key: PRNGKeyArray):
        del key
        m, n = problem.task.action_space.size, x0.shape[0]
        us = jnp.full((self.steps, m), self.value)
        policy = jax.vmap(LinearGaussian)(jnp.zeros((self.steps, m, n)), us, jnp.zeros((self.steps, m, m)))
        xs = jnp.broadcast_to(x0, (self.steps + 1, n))
        return Plan(policy, xs, jnp.zeros(()), jnp.zeros((), jnp.int32), problem.task.action_space), state


def oscillator(*, std: float = 0.0, offset: tuple[float, float] = (0.0, 0.0), dt: float = 0.1) -> Linear:
    """A damped oscillator that a force drives."""
    A = jnp.array([[1.0, dt], [-dt, 1 - 0.2 * dt]])
    return Linear(A, jnp.array([[0.0], [dt]]), jnp.array(offset), jnp.full(2, std))


def task(limit: float = 1e9) -> Cost:
    return Cost(Box.symmetric(jnp.ones(1)), limit)


def episodes_of(system: Linear, *, count: int = 4, steps: int = 40, seed: int = 0) -> list[Transition]:
    """Real episodes under uniform actions, as an environment returns them (NumPy)."""
    rng = np.random.default_rng(seed)
    A, B, offset, std = (np.asarray(a, np.float64) for a in (system.A, system.B, system.offset, system.std))
    n, m = B.shape

    def episode() -> Transition:
        us = rng.uniform(-1, 1, (steps, m))
        xs = [rng.normal(size=n)]
        for u in us:
            xs.append(A @ xs[-1] + B @ u + offset + std * rng.normal(size=n))
        rows = np.array(xs)
        never, last = np.zeros(steps, bool), np.arange(steps) == steps - 1
        reward = -(rows[:-1, 0] ** 2)
        numbers = (jnp.asarray(a, jnp.float32) for a in (rows[:-1], us, rows[1:], reward))
        return jax.tree.map(np.asarray, Transition(*numbers, jnp.asarray(never), jnp.asarray(last)))

    return [episode() for _ in range(count)]


@dataclass
class FakeEnv:
    """A linear system as an environment; it draws gray pictures."""

    system: Linear
    task: Cost
    name: str = "fake/Oscillator-v0"
    space: StateSpace = StateSpace(2)
    learn_reward: bool = False
    learn_termination: bool = False
    drawing_fails: str = ""

    def start(self, **more):
        raise NotImplementedError

    def run(self, controller, *, key, reset_key=None, options=None, on_step=None, frames=None, steps=None):
        seed = int(np.asarray(jax.random.key_data(key))[-1])
        (episode,) = episodes_of(self.system, count=1, steps=steps or self.task.horizon, seed=seed)
        if frames is not None:
            if self.drawing_fails:
                raise RuntimeError(self.drawing_fails)
            frames += [np.full((31, 33, 3), 5 * t % 255, np.uint8) for t in range(self.task.horizon + 1)]
        return episode


@dataclass(frozen=True)
class FakePlanning:
    """Settings of an algorithm that learned `model`."""

    model: Any
    planner: Any = Constant()

    def problem(self, state, env) -> Problem:
        return Problem(self.model, env.task)


@dataclass
class FakeRun:
    """What the report asks of a run."""

    path: Path
    env: FakeEnv
    algorithm: Any
    metrics: list = field(default_factory=list)
    info: dict = field(default_factory=dict)
    state: Any = None
    evaluation_fails: str = ""

    @property
    def controller(self):
        return Uniform(self.env.task.action_space)

    def evaluate(self, episodes: int = 10, seed: int | None = None, *, on_episode: Any = None) -> Evaluation:
        if self.evaluation_fails:
            raise UsageError(self.evaluation_fails)
        done = tuple(episodes_of(self.env.system, count=episodes, steps=self.env.task.horizon, seed=seed or 0))
        returns = tuple(float(e.reward.sum()) for e in done)
        if on_episode is not None:
            on_episode(episodes, returns[-1])
        lengths = tuple(len(e) for e in done)
        mean, std = float(np.mean(returns)), float(np.std(returns, ddof=1))
        return Evaluation(episodes, returns, mean, std, 0.8, lengths, 200, 20.0, seed or 0, done)


def fake_run(path: Path, *, seed: int = 0, rounds: int = 6, model: Any = None, **more: Any) -> FakeRun:
    """A run that learned `model`; `more` replaces parts of it."""
    system = oscillator(std=0.05)
    metrics = [
        {
            "iteration": i + 1,
            "env_steps": 40 * (i + 1),
            "episodes": i + 1,
            "return": -30.0 + 4 * i + seed,
            "solved": i >= 4,
            "model_error": None if i == 0 else 0.5 / i,
            "wall_s": 2.5 * (i + 1),
            "experience_s": 4.0 * (i + 1),
        }
        for i in range(rounds)
    ]
    planner = {"class": "forethought.planning.cem.CEM", "settings": {"horizon": 6, "decay": {"float": "inf"}}}
    info = {
        "algorithm": {
            "class": "forethought.algorithms.pets.PETS",
            "settings": {"planner": planner, "hidden": [64, 64]},
        },
        "env": {"spec": "fake/Oscillator-v0", "name": "fake/Oscillator-v0", "cost": None},
        "seed": seed,
        "versions": {"forethought": "0.1.0", "jax": "0.10.2"},
        "git": {"commit": "abc123", "modified": False},
        "hardware": {"cpu": "a processor", "cores": 2},
        "status": "done",
        "reason": None,
        "budget": {"iterations": 6},
        "standing": {"env_steps": 240},
        "created": "2025-01-01T00:00:00+00:00",
    }
    run = FakeRun(path, FakeEnv(system, task()), FakePlanning(model or system), metrics, info)
    return replace(run, **more)
