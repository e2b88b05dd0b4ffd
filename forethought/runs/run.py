"""A run: the results of a training on disk, for acting and evaluation."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.algorithms.protocol import Algorithm
from forethought.core import CheckpointError, Controller, Transition, UsageError
from forethought.envs.delayed import delay_of
from forethought.envs.env import Env, spaces_of, tell_elapsed_steps
from forethought.envs.environment import Environment
from forethought.envs.logged.logged_env import LoggedEnv
from forethought.envs.violations import Violations
from forethought.policies.acting import sampling
from forethought.runs import checkpoint, metrics
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.directory import RunDirectory
from forethought.runs.files import finite
from forethought.runs.serialization import from_plain

# Rounds fold in their numbers, from 0 up; these numbers are larger than any round's.
INIT, EVALUATE, ACT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


@dataclass(frozen=True)
class Evaluation:
    """Returns of a controller in new episodes, and the amount of its training."""

    episodes: int
    returns: tuple[float, ...]
    mean: float
    std: float  # sample standard deviation; NaN for one episode
    success: float | None  # share of episodes that pass the task's success test; None if it has none
    lengths: tuple[int, ...]  # steps
    env_steps: int  # environment steps of its training
    experience_s: float  # duration of the experience it was trained on, s
    seed: int
    trajectories: tuple[Transition, ...]  # the episodes themselves, each with leading axis [T]
    violations: Violations | None = None  # of the task's constraints; None if it has none

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON, without the trajectories; null for NaN."""
        plain = {name: value for name, value in vars(self).items() if name not in ("trajectories", "violations")}
        return finite(plain | ({} if self.violations is None else {"violations": vars(self.violations)}))


class Run:
    """A trained run.  Its algorithm, environment and state are read on first use."""

    def __init__(
        self,
        path: str | Path,
        *,
        algorithm: Algorithm | None = None,
        env: Env | None = None,
        iteration: int | None = None,
        restored: tuple[Any, TrainingProgress] | None = None,
    ):
        self.path = Path(path)
        self._directory = RunDirectory(self.path)
        self._algorithm, self._env, self._iteration = algorithm, env, iteration
        self._restored = restored
        self._carry: tuple[int, Any] | None = None
        self._past: jax.Array | None = None  # past actions of a delayed system
        self._directory.read_info()  # raises if there is no run

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def info(self) -> dict[str, Any]:
        """The content of `run.json`."""
        return self._directory.read_info()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The metrics of every round."""
        return metrics.read(self._directory.metrics_path)

    @functools.cached_property
    def algorithm(self) -> Algorithm:
        """The settings of its algorithm."""
        algorithm = self._algorithm or from_plain(self.info["algorithm"])
        if not isinstance(algorithm, Algorithm):
            raise CheckpointError(f"{self.path} was trained by {type(algorithm).__name__}, which is not an algorithm.")
        return algorithm

    @functools.cached_property
    def env(self) -> Env:
        """The environment of the training; an id `module:Name` imports that module."""
        if self._env is None and "logged" in self.info:
            return LoggedEnv.from_record(self.info["logged"])
        env = self._env or Environment.from_record(self.info["env"]).open()
        tell_elapsed_steps(env, int(self.info.get("standing", {}).get("env_steps", 0)))
        return env

    @property
    def foreign_code(self) -> tuple[str, ...]:
        """The user's code that environment and controller import and call: "module:name" as recorded."""
        record = self.info["env"]
        named = [record["spec"], *(record.get(kind) for kind in ("cost", "termination", "physics", "constraint"))]
        named.append(getattr(self.algorithm, "backup", None))
        return tuple(name for name in named if name is not None and ":" in name)

    @functools.cached_property
    def _checkpoint(self) -> tuple[Any, TrainingProgress]:
        if self._restored is not None:
            return self._restored
        folder = self._directory.checkpoints
        there = checkpoint.iterations(folder)
        if not there:
            raise CheckpointError(f"{self.path} has no checkpoint yet; continue its training with --resume.")
        iteration = there[-1] if self._iteration is None else self._iteration
        if iteration not in there:
            raise UsageError(f"{folder} has no checkpoint of round {iteration}; it has rounds {there}.")
        algorithm = self.algorithm
        check_sizes(self.info, self.env)
        skeleton = algorithm.init(self.env, key=jr.fold_in(jr.key(self.info["seed"]), INIT))
        try:
            return checkpoint.load(folder, iteration, skeleton)
        except CheckpointError as problem:
            raise CheckpointError(f"{problem} {_remedy(there, iteration)}") from problem

    @property
    def state(self) -> Any:
        """The algorithm's state after the last whole round."""
        return self._checkpoint[0]

    @property
    def progress(self) -> TrainingProgress:
        """The progress of training at that state."""
        return self._checkpoint[1]

    @functools.cached_property
    def controller(self) -> Controller:
        """The learned controller, without exploration."""
        return self.algorithm.controller(self.state, self.env)

    def act(self, obs: Any, t: Any = None) -> np.ndarray:
        """The action for an observation: [m] in task units, or one integer.

        The controller's memory (such as a warm start, and past actions of a delayed system) is kept between calls: call
        `reset` at the start of an episode.

        Args:
            obs: the observation, without past actions.
            t: step of the episode; by default the number of calls since `reset`.
        Raises:
            UsageError: the observation has another shape than in training, or is not finite.
        """
        spaces, delay = spaces_of(self.env), delay_of(self.env)
        shape = spaces.observations.shape if delay is None else (delay.size,)
        x = jnp.asarray(np.asarray(obs), spaces.observations.dtype)
        if x.shape != shape:
            raise UsageError(f"act needs an observation of shape {shape}, not {x.shape}.")
        if not np.isfinite(x).all():
            raise UsageError(f"act needs a finite observation, not {np.asarray(x).tolist()}.")
        if delay is not None:
            self._past = delay.resting(spaces.actions) if self._past is None else self._past
            x = jnp.concatenate([x, self._past])
        key = self._act_key
        steps, carry = self._carry or (0, self.controller.init(x, key=jr.fold_in(key, 0)))
        step_key = jr.fold_in(key, steps + 1)
        u, carry = _act(self.controller, x, jnp.asarray(steps if t is None else int(t), jnp.int32), carry, step_key)
        self._carry = (steps + 1, carry)
        if delay is not None and self._past is not None:
            u = delay.sent(self._past, spaces.actions.clip(u))
            self._past = delay.pushed(self._past, u)
        return np.asarray(u)

    @functools.cached_property
    def _act_key(self) -> PRNGKeyArray:
        return jr.fold_in(jr.key(self.info["seed"]), ACT)

    def reset(self) -> None:
        """Begin a new episode: the next `act` starts without memory."""
        self._carry = self._past = None

    def evaluate(
        self,
        episodes: int = 10,
        seed: int | None = None,
        *,
        sampled: bool = False,
        on_episode: Callable[[int, float], object] | None = None,
    ) -> Evaluation:
        """Run new episodes, with random keys that training does not use.

        Args:
            episodes: number of episodes.
            seed: seed of the episodes; by default the training's seed.
            sampled: draw actions from the policy, as in training, instead of its most probable ones.
            on_episode: called after each episode with the number of episodes so far and the return of the last one.
        Raises:
            UsageError: `sampled`, and the controller has no distribution over actions.
            EnvironmentFailure: the environment raised an exception or returned values that are not finite.
        """
        if episodes < 1:
            raise UsageError(f"evaluate needs at least 1 episode, not {episodes}.")
        seed = check_seed(self.info["seed"] if seed is None else seed)
        key = jr.fold_in(jr.key(seed), EVALUATE)
        controller = sampling(self.controller) if sampled else self.controller
        done, returns = [], []
        for i in range(episodes):
            done.append(self.env.run(controller, key=jr.fold_in(key, i)))
            returns.append(metrics.episode_return(done[-1]))
            if on_episode is not None:
                on_episode(i + 1, returns[-1])
        solved = [metrics.is_solved(self.env, episode) for episode in done]
        return Evaluation(
            episodes=episodes,
            returns=tuple(returns),
            mean=float(np.mean(returns)),
            std=float(np.std(returns, ddof=1)) if episodes > 1 else float("nan"),
            success=None if solved[0] is None else float(np.mean([bool(s) for s in solved])),
            lengths=tuple(len(episode) for episode in done),
            env_steps=self.progress.env_steps,
            experience_s=self.progress.env_steps * float(self.env.task.dt),
            seed=seed,
            trajectories=tuple(done),
            violations=Violations.of(self.env.task, done),
        )


def load(
    path: str | Path,
    *,
    algorithm: Algorithm | None = None,
    env: Any = None,
    iteration: int | None = None,
    **options: Any,
) -> Run:
    """The run in directory `path`.

    Opening its environment imports the modules and calls the functions named in `run.json`: load only runs from
    trusted sources.

    Args:
        path: the `out` of a training.
        algorithm: the settings, needed if their class is not part of Forethought.
        env: the environment, needed if it was given as an object; the recorded options (cost, angles, ...) apply to it.
        iteration: the round whose checkpoint is used; by default the last.
        **options: fields of `Environment` that replace the recorded ones.
    Raises:
        UsageError: there is no run.
        CheckpointError: `run.json` is damaged.
    """
    opened = None
    if env is not None or options:
        record = RunDirectory(Path(path)).read_info()["env"]
        opened = Environment.from_record(record, env, **options).open()
    return Run(path, algorithm=algorithm, env=opened, iteration=iteration)


def check_seed(seed: Any) -> int:
    """`seed` as an int.

    Raises:
        UsageError: `seed` is not a whole number from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise UsageError(f"a seed is a whole number from 0 to {2**32 - 1}, not {seed!r}.")
    return int(seed)


def sizes(env: Env) -> dict[str, int]:
    """The number of entries of its observations and actions."""
    return {"observation": env.space.size, "action": env.task.action_space.size}


def check_sizes(info: dict[str, Any], env: Env) -> None:
    """Raise `CheckpointError` if the sizes of the environment differ from those recorded in `info`."""
    for what, size in info.get("sizes", {}).items():  # not recorded by earlier versions
        if sizes(env).get(what) != size:
            raise CheckpointError(
                f"the run was trained on {what}s of size {size}, and '{env.name}' now has size {sizes(env).get(what)}: "
                "restore the environment, or train again."
            )


def _remedy(there: list[int], damaged: int) -> str:
    earlier = [iteration for iteration in there if iteration < damaged]
    if not earlier:
        return "No earlier checkpoint is left; train again with another --out."
    last = earlier[-1]
    return f"Continue the training with --resume, which goes back to round {last}, or load(..., iteration={last})."


@eqx.filter_jit
def _act(controller: Controller, x: jax.Array, t: jax.Array, carry: Any, key: jax.Array) -> tuple[jax.Array, Any]:
    return controller.act(x, t, carry, key=key)
