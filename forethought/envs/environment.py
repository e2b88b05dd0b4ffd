"""`Environment`: the name of an environment and its options, as one value.

Its fields are the options of `train`, `open_env` and `check_env`.  The command line reads its flags from this file, so
a new field here is a new option everywhere.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gymnasium as gym
import jax.random as jr
import numpy as np

from forethought.core import CheckpointError, Transition, UsageError, nearest
from forethought.dynamics.time_step import infer_dt
from forethought.envs.arcade.atari import atari_env, is_atari
from forethought.envs.arcade.minatar_games import full_id, is_minatar
from forethought.envs.constrained import NO_CONSTRAINT, with_constraint
from forethought.envs.delayed import with_delay
from forethought.envs.env import Env
from forethought.envs.episode import join_pieces
from forethought.envs.functions import load_function, name_of
from forethought.envs.grids.mazes import MAZES
from forethought.envs.gym_attributes import own_time_step, time_limit
from forethought.envs.gym_env import GymEnv
from forethought.envs.make import make_gym
from forethought.envs.random_actions import RandomActions
from forethought.envs.shipped import NAMESPACE, shipped
from forethought.envs.system_env import with_observation_noise, with_physics

Function = Callable[..., Any]

TRIED_STEPS = 200  # steps of random actions from which an unknown time step is inferred
NO_TIME_LIMIT = 10_000  # maximum length of an episode if the environment has no registered time limit, steps
ADDED = (
    "observation_noise",
    "physics",
    "constraint",
    "risk",
    "constraint_steps",
    "action_delay",
    "action_rate",
    "observation_delay",
)  # options of shipped systems too
ALIASES = {"speeds": "velocities"}  # earlier names of options, in calls, flags and records


@dataclass(frozen=True)
class Environment:
    """An environment and its options: known functions, the meaning of coordinates, sensor noise, horizon and time step.

    `Environment("Pendulum-v1", cost="costs:upright", angles=(2,)).open()` returns an `Env`.  The value of an option
    that is not given is read from the environment or learned from its transitions.
    """

    id: Any  # Gymnasium id, "module:Name-v0", shipped system ("forethought/CartPoleSwingUp-v0"), gymnasium.Env or Env
    cost: str | Function | None = None  # cost function cost(x, u), in place of a learned reward
    termination: str | Function | None = None  # termination function termination(x), in place of a learned one
    angles: tuple[int, ...] | None = None  # indices of observation entries that are angles, rad
    velocities: tuple[tuple[int, int], ...] | None = None  # pairs i:j of entries, j being the rate of change of i, 1/s
    names: tuple[str, ...] | None = None  # names of the observation entries with units, as "pole angle (rad)"
    observation_noise: float | tuple[float, ...] | None = None  # standard deviation of sensor noise, one or one each
    horizon: int | None = None  # episode length, steps (default: the environment's time limit)
    dt: float | None = None  # time step, s (default: the environment's own)
    make_kwargs: Any = ()  # keyword arguments of the environment's constructor: a mapping, stored as pairs
    physics: str | Function | None = None  # known physics (x, u) -> x', which a learned residual corrects
    action_delay: int | None = None  # steps from the choice of an action until it acts; past actions join the state
    observation_delay: int | None = None  # age of the observations when they are seen, steps; adds to the action delay
    action_rate: float | tuple[float, ...] | None = None  # largest change of an action per second, one or one for each
    constraint: str | Function | None = None  # constraint(x, u), values that must not be positive; planners keep them
    risk: float | None = None  # largest probability with which a plan may violate the constraint (default: 0.05)
    constraint_steps: int | None = None  # first steps of a plan that must keep the constraint (default: all)

    def __post_init__(self):
        """Check the types and ranges of the options.

        Raises:
            UsageError: an option of a wrong type or out of range.
        """
        if isinstance(self.id, str):
            object.__setattr__(self, "id", full_id(self.id))
        if isinstance(self.make_kwargs, Mapping | None):
            object.__setattr__(self, "make_kwargs", tuple((self.make_kwargs or {}).items()))
        _check(self.given())
        if self.constraint is None and not (self.risk is None and self.constraint_steps is None):
            raise UsageError(NO_CONSTRAINT)

    @classmethod
    def of(cls, env: Any, *, known: tuple[str, ...] = (), **options: Any) -> "Environment":
        """`env` as an `Environment`, with `options` replacing its own.

        Args:
            env: an `Environment`, or any value of its field `id`.
            known: further names to suggest for a misspelled option.
            **options: fields of `Environment`; None means not given.
        Raises:
            UsageError: an unknown option.
        """
        given = {ALIASES.get(name, name): _hashable(value) for name, value in options.items() if value is not None}
        unknown = sorted(given.keys() - set(OPTIONS))
        if unknown:
            raise UsageError(f"There is no option '{unknown[0]}'; {nearest(unknown[0], [*OPTIONS, *known])}")
        _check(given)
        return replace(env, **given) if isinstance(env, cls) else cls(env, **given)

    def given(self) -> dict[str, Any]:
        """The options that were given."""
        return {name: getattr(self, name) for name in OPTIONS if getattr(self, name) not in (None, ())}

    @property
    def name(self) -> str:
        """A name for messages: the id, the registered id, or the class."""
        if isinstance(self.id, str):
            return self.id
        if isinstance(self.id, gym.Env):
            return self.id.spec.id if self.id.spec else type(self.id.unwrapped).__name__
        return getattr(self.id, "name", type(self.id).__name__)

    def open(self) -> Env:
        """The environment that episodes can be run on.

        Returns:
            A `SystemEnv` for shipped systems (dynamics, cost and termination known), a `MinAtarEnv` for MinAtar games,
            a `GymEnv` for all others, Atari games among them.
        Raises:
            UsageError: unknown names (the message suggests the nearest known one), options that the environment does
                not accept, or an environment with unsupported spaces.
        """
        if isinstance(self.id, str) and (is_minatar(self.id) or is_atari(self.id)):
            return self._game()
        env = self._own() if self._is_own else self._foreign()
        if self._is_own and self.physics is not None:
            env = with_physics(env, load_function(self.physics, "physics"))
        env = env if self.observation_noise is None else with_observation_noise(env, self.observation_noise)
        if self.constraint is not None:
            function: Any = load_function(self.constraint, "constraint")
            env = with_constraint(env, function, self.risk, self.constraint_steps)
        delay = (self.action_delay or 0) + (self.observation_delay or 0)
        return with_delay(env, delay, self.action_rate) if delay or self.action_rate is not None else env

    @property
    def _is_own(self) -> bool:
        if not isinstance(self.id, str):
            return not isinstance(self.id, gym.Env)
        return self.id.startswith(NAMESPACE) and self.id.removeprefix(NAMESPACE) not in MAZES

    def _own(self) -> Env:
        """A shipped system, or an `Env`; both define all options except noise, known physics and delays."""
        said = [name for name in self.given() if name not in ADDED]
        if said:
            remedy = "remove the option, or build a SystemEnv with a task of your own"
            raise UsageError(f"{self.name} has its own known {', '.join(said)}: {remedy}.")
        if isinstance(self.id, str):
            return shipped(self.id)
        if not isinstance(self.id, Env):
            kind = type(self.id).__name__
            raise UsageError(f"An environment is a Gymnasium id, a gymnasium.Env or a SystemEnv, not a {kind}.")
        return self.id

    def _game(self) -> Env:
        """A game of MinAtar or Atari; it defines all options except the length of episodes."""
        from forethought.envs.arcade.minatar_env import minatar_env

        said = [name for name in self.given() if name != "horizon"]
        if said:
            raise UsageError(f"{self.name} takes only the option horizon, not {said[0]}.")
        return (atari_env if is_atari(self.id) else minatar_env)(self.id, self.horizon)

    def _foreign(self) -> Env:
        options: dict[str, Any] = {
            "cost": load_function(self.cost, "cost"),
            "termination": load_function(self.termination, "termination"),
            "physics": load_function(self.physics, "physics"),
            "angles": self.angles or (),
            "velocities": self.velocities or (),
            "names": self.names or (),
            "horizon": self.horizon,
            "dt": self.dt,
        }
        if isinstance(self.id, gym.Env):
            if self.make_kwargs:
                raise UsageError("make_kwargs apply only to environments given by id; this one is an object.")
            env = self.id
        else:
            env = make_gym(self.id, **dict(self.make_kwargs))
            options |= {"name": self.id, "make": partial(gym.make, env.spec or self.id)}
        if self.horizon is None and time_limit(env) is None:
            options["horizon"] = NO_TIME_LIMIT
        if self.velocities and self.dt is None and own_time_step(env) is None:
            options["dt"] = self._inferred_time_step(env)
        return GymEnv(env, **options)

    def _inferred_time_step(self, env: gym.Env) -> float:
        """The time step in s, inferred from the velocities in random episodes, to three digits."""
        trial = GymEnv(
            env, name=self.name, angles=self.angles or (), horizon=self.horizon or time_limit(env) or TRIED_STEPS
        )
        controller = RandomActions(trial.task.action_space)
        episodes: list[Transition] = []
        while sum(len(episode) for episode in episodes) < TRIED_STEPS:
            key = jr.fold_in(jr.key(0), len(episodes))
            episodes.append(trial.run(controller, key=key, steps=min(TRIED_STEPS, trial.task.horizon)))
        try:
            dt = infer_dt(self.velocities or (), join_pieces(episodes), angles=self.angles or ())
        except UsageError as problem:
            raise UsageError(
                f"velocities need the time step of {self.name}, which does not define it (no attribute dt): "
                f"{problem} Set it with --dt SECONDS (dt=...)."
            ) from problem
        return float(f"{dt:.3g}")

    def record(self) -> dict[str, Any]:
        """Plain values for `from_record`; an object is recorded by its name only.

        Options added in later versions are recorded only if they are given, so that old and new records are equal.
        """
        later: dict[str, Any] = {
            "physics": name_of(self.physics),
            "constraint": name_of(self.constraint),
            "risk": self.risk,
            "constraint_steps": self.constraint_steps,
            "velocities": _plain(self.velocities),
            "names": _plain(self.names),
            "observation_noise": self._noise(),
            "horizon": self.horizon,
            "dt": self.dt,
            "make_kwargs": dict(self.make_kwargs) or None,
            "action_delay": self.action_delay,
            "action_rate": _plain(self.action_rate),
            "observation_delay": self.observation_delay,
        }
        return {
            "spec": self.id if isinstance(self.id, str) else None,
            "name": self.name,
            "cost": name_of(self.cost),
            "termination": name_of(self.termination),
            "angles": _plain(self.angles),
            **{name: value for name, value in later.items() if value is not None},
        }

    def _noise(self) -> float | list[float] | None:
        """The standard deviation of the sensor noise, given or the object's own; None without noise."""
        own = getattr(self.id, "observation_std", None)
        std = self.observation_noise if self.observation_noise is not None else own
        if std is None or not np.any(np.asarray(std)):
            return None
        return [float(one) for one in std] if isinstance(std, tuple) else float(std)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], id: Any = None, **options: Any) -> "Environment":
        """The environment described by a record from `record()`.

        Args:
            record: the record of a run, possibly written by an earlier version.
            id: the environment itself, needed if it was given as an object; by default the recorded id.
            **options: replacements for the recorded options.
        Raises:
            UsageError: the environment was given as an object, so that only its name is recorded.
            CheckpointError: the record was altered.
        """
        if not (isinstance(record, Mapping) and isinstance(record.get("spec"), str | None)):
            raise CheckpointError("the run's record of its environment is damaged: it has no name of an environment.")
        recorded = {ALIASES.get(name, name): value for name, value in record.items() if name not in ("spec", "name")}
        missing = sorted({"spec", "name", "cost", "termination", "angles"} - record.keys())
        unknown = sorted(recorded.keys() - set(OPTIONS))
        if missing or unknown:
            what = f"lacks {missing}" if missing else f"has {unknown}, which this version does not know"
            raise CheckpointError(f"the run's record of its environment is damaged: it {what}.")
        id = record["spec"] if id is None else id
        if id is None:
            raise UsageError(
                f"the run was trained on '{record['name']}', given as an object; pass it again: ft.load(path, env=...)."
            )
        if isinstance(id, cls):
            id, options = id.id, {**id.given(), **options}
        try:
            environment = cls.of(id, **recorded)
        except UsageError as problem:
            raise CheckpointError(f"the run's record of its environment is damaged: {problem}") from problem
        return cls.of(environment, **options)

    @classmethod
    def current(cls, record: Mapping[str, Any], env: Any) -> dict[str, Any]:
        """A record, possibly of an earlier version, in the format of this version; `env` replaces an object."""
        known = {name: record.get(name) for name in ("spec", "name")}
        return cls.from_record(record, known["spec"] or env).record() | known


def opening_notes(environment: Environment, opened: Env) -> tuple[str, ...]:
    """Notices for the user about the options of an opened environment."""
    notes: list[str] = []
    if not isinstance(opened, GymEnv):
        return ()
    if environment.horizon is None and opened.task.horizon == NO_TIME_LIMIT:
        notes.append(
            f"{opened.name} has no registered time limit: an episode lasts until the environment ends it, at most "
            f"{NO_TIME_LIMIT:,} steps. Another limit is set with --horizon STEPS (horizon=...)."
        )
    if environment.velocities and environment.dt is None and opened.own_time_step is None:
        notes.append(
            f"the time step of {opened.name}, {opened.task.dt:g} s, was inferred from its velocities. "
            "Change it with --dt SECONDS (dt=...)."
        )
    return tuple(notes)


OPTIONS = tuple(field.name for field in dataclasses.fields(Environment) if field.name != "id")


def _check(given: Mapping[str, Any]) -> None:
    for name, rule, expected in _RULES:
        if name in given and not rule(given[name]):
            raise UsageError(f"{name} must be {expected}, not {given[name]!r}.")


def _hashable(value: Any) -> Any:
    """Lists converted to tuples, NumPy numbers to Python numbers."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Tuples converted to lists, for JSON."""
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return _is_number(value) and 0 < value < float("inf")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(rule, value))


def _is_function(value: Any) -> bool:
    return isinstance(value, str) or callable(value)


_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("cost", _is_function, 'a function cost(x, u) or its "module:function"'),
    ("termination", _is_function, 'a function termination(x) or its "module:function"'),
    ("physics", _is_function, 'a function physics(x, u), dynamics, or the "module:function" of either'),
    ("constraint", _is_function, 'a function constraint(x, u) or its "module:function"'),
    ("constraint_steps", lambda v: _is_index(v) and v > 0, "a whole number of steps, at least 1"),
    ("risk", lambda v: _is_number(v) and 0 <= v < 1, "a probability, at least 0 and less than 1"),
    ("angles", _are(_is_index), "indices of observation entries, from 0"),
    (
        "velocities",
        _are(lambda pair: _are(_is_index)(pair) and len(pair) == 2),
        "pairs (i, j) of indices of observation entries, entry j being the rate of change of entry i",
    ),
    ("names", _are(lambda name: isinstance(name, str) and bool(name)), "strings, one for each observation entry"),
    (
        "observation_noise",
        lambda v: _is_number(v) or _are(_is_number)(v),
        "a standard deviation, one for all entries of the observation or one for each",
    ),
    ("horizon", lambda v: _is_index(v) and v > 0, "a whole number of steps, at least 1"),
    ("dt", _is_positive, "a positive number of seconds per step"),
    (
        "action_rate",
        lambda v: _is_positive(v) or (_are(_is_positive)(v) and bool(v)),
        "a positive number, the largest change of an action per second, or one for each of its coordinates",
    ),
    ("action_delay", _is_index, "a whole number of steps, at least 0"),
    ("observation_delay", _is_index, "a whole number of steps, at least 0"),
)
