"""A sweep file: algorithms x environments x seeds as TOML.  All its errors are found before anything starts.

Settings and options are checked by the parser of `forethought train`, as if they were given as flags.
"""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from forethought.cli.environment_flags import add_environment, given_options
from forethought.cli.flags import Parser, add_settings, choose_areas, given_settings
from forethought.cli.settings_reader import Settings, read_settings
from forethought.core.errors import UsageError, nearest
from forethought.registry import ALGORITHMS

BUDGET = ("env_steps", "iterations", "until_solved")
NUMBERS = {"workers": 1, "cores": 1, "retries": 0}  # settings of the sweep, and the least value of each
KEYS = ("out", "seeds", "algorithms", "environments", *NUMBERS, *BUDGET)
Budget = Mapping[str, Any]  # of the keys in BUDGET


class SweepErrors(UsageError):
    """Everything that is wrong with a sweep file."""

    def __init__(self, path: Path, errors: Sequence[str]):
        super().__init__(f"{path} has {len(errors)} error{'s' * (len(errors) > 1)}; nothing was started")
        self.errors = tuple(errors)


@dataclass(frozen=True)
class AlgorithmEntry:
    """An algorithm with settings."""

    label: str
    kind: str  # name in the registry
    words: tuple[str, ...]  # the settings as flags
    settings: Settings
    given: Mapping[str, Any]  # by dotted path
    budget: Budget


@dataclass(frozen=True)
class EnvironmentEntry:
    """An environment with options."""

    label: str
    id: str
    words: tuple[str, ...]  # the options as flags
    options: Mapping[str, Any]
    budget: Budget


@dataclass(frozen=True)
class SweepFile:
    """The content of a sweep file."""

    out: Path
    seeds: tuple[int, ...]
    algorithms: tuple[AlgorithmEntry, ...]
    environments: tuple[EnvironmentEntry, ...]
    budget: Budget
    workers: int | None = None  # processes at a time on this machine
    cores: int | None = None  # of each process
    retries: int = 1  # further attempts of a run that failed

    def budget_of(self, algorithm: AlgorithmEntry, environment: EnvironmentEntry) -> Budget:
        """The algorithm's budget, else the environment's, else the file's."""
        return algorithm.budget or environment.budget or self.budget

    def directory(self, algorithm: AlgorithmEntry, environment: EnvironmentEntry, seed: int) -> Path:
        """`OUT/ALGORITHM-ENVIRONMENT-seedS`."""
        return self.out / f"{_slug(algorithm.label)}-{_slug(environment.label)}-seed{seed}"


def read_sweep_file(path: Path) -> SweepFile:
    """Read a sweep file and check what can be checked without importing an environment or JAX.

    Raises:
        UsageError: there is no such file, or it is not TOML.
        SweepErrors: it has errors.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"cannot read {path}: {problem.strerror}.") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UsageError(f"{path} is not valid TOML: {problem}.") from problem
    reader = _Reader()
    found = reader.file(content, path)
    if reader.errors:
        raise SweepErrors(path, reader.errors)
    return found


@dataclass
class _Reader:
    """Reads the parts of a file and keeps what is wrong with them."""

    errors: list[str] = field(default_factory=list)

    def file(self, content: Mapping[str, Any], path: Path) -> SweepFile:
        table = {_name(key): value for key, value in content.items()}
        self.unknown("", table, KEYS)
        numbers = {key: self.number(key, table[key], least) for key, least in NUMBERS.items() if key in table}
        out = table.get("out", str(Path("runs") / path.stem))
        if not (isinstance(out, str) and out):
            self.errors.append(f"out must be the name of a folder, not {out!r}")
        found = SweepFile(
            Path(str(out)),
            self.seeds(table.get("seeds", [0])),
            tuple(self.entries("algorithms", table.get("algorithms"), self.algorithm)),
            tuple(self.entries("environments", table.get("environments"), self.environment)),
            self.budget("", table),
            **{key: number for key, number in numbers.items() if number is not None},
        )
        self.budgets(found)
        self.directories(found)
        return found

    def unknown(self, where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in sorted(table.keys() - set(known)):
            self.errors.append(
                f"{where}unknown key '{key}'; {nearest(key, [name.replace('_', '-') for name in known])}"
            )

    def number(self, key: str, value: Any, least: int) -> int | None:
        if type(value) is int and value >= least:
            return value
        self.errors.append(f"{key} must be a whole number, at least {least}, not {value!r}")
        return None

    def seeds(self, value: Any) -> tuple[int, ...]:
        if not isinstance(value, list) or not value:
            self.errors.append(f"seeds must be a list of whole numbers, such as [0, 1, 2], not {value!r}")
            return ()
        wrong = [one for one in value if type(one) is not int or not 0 <= one < 2**32]
        if wrong:
            self.errors.append(f"seeds must be whole numbers from 0 to {2**32 - 1}, not {', '.join(map(repr, wrong))}")
        seeds = [one for one in value if one not in wrong]
        for seed, count in Counter(seeds).items():
            if count > 1:
                self.errors.append(f"seeds: {seed} is given twice, so two runs would write into one directory")
        return tuple(dict.fromkeys(seeds))

    def entries(self, kind: str, value: Any, read: Any) -> Iterable[Any]:
        """The entries of a list of names or a table of tables; those with errors are left out."""
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            doubled = [name for name, count in Counter(value).items() if count > 1]
            self.errors += [f"{kind}: '{name}' is given twice" for name in doubled]
            value = {name: {} for name in value}
        if not isinstance(value, dict) or not value:
            example = {"algorithms": '["pets", "pilco"]', "environments": '["Pendulum-v1"]'}[kind]
            self.errors.append(f"{kind} must be a list of names, such as {example}, or tables [{kind}.NAME]")
            return
        for label, table in value.items():
            if not isinstance(table, dict):
                self.errors.append(f"{kind}.{label} must be a table [{kind}.{label}], not {table!r}")
                continue
            entry = read(label, {_name(key): inner for key, inner in table.items()})
            if entry is not None:
                yield entry

    def budget(self, where: str, table: Mapping[str, Any]) -> Budget:
        """The budget that a table gives, with the keys that are there."""
        found: dict[str, Any] = {}
        for key in ("env_steps", "iterations"):
            if key in table:
                found[key] = self.number(where + key.replace("_", "-"), table[key], 1)
        if len(found) > 1:
            self.errors.append(f"{where}give env-steps or iterations, not both")
        if "until_solved" in table:
            found["until_solved"] = table["until_solved"]
            if not isinstance(table["until_solved"], bool):
                self.errors.append(f"{where}until-solved must be true or false, not {table['until_solved']!r}")
        return found

    def algorithm(self, label: str, table: Mapping[str, Any]) -> AlgorithmEntry | None:
        """An algorithm: its class, its settings and its budget."""
        where = f"algorithms.{label}: "
        self.unknown(where, table, ("algorithm", "settings", *BUDGET))
        budget = self.budget(where, table)
        kind, settings = table.get("algorithm", label), table.get("settings", {})
        if not isinstance(settings, dict):
            self.errors.append(f"{where}settings must be a table, not {settings!r}")
            return None
        if kind not in ALGORITHMS:
            self.errors.append(f"{where}unknown algorithm '{kind}'; {nearest(str(kind), ALGORITHMS)}")
            return None
        flags = {path: words_of(path, value) for path, value in _flat(settings).items()}
        chosen = self.areas(where, read_settings(ALGORITHMS[kind]), flags)
        parser = Parser(f"forethought train {kind}", "")
        add_settings(parser, chosen)
        given: dict[str, Any] = {}
        for path, words in flags.items():
            values = self.parsed(where, "setting", path, parser, words)
            given |= given_settings(chosen, values) if values is not None else {}
        return AlgorithmEntry(label, kind, _joined(flags), chosen, given, budget)

    def areas(self, where: str, settings: Settings, flags: dict[str, list[str]]) -> Settings:
        """The settings with the classes that are asked for; names that are refused are taken out of `flags`."""
        for path in tuple(flags):
            try:
                settings = choose_areas(settings, flags.get(path, ()))
            except UsageError as problem:
                self.errors.append(where + str(problem).removeprefix("--"))
                for inner in [name for name in flags if name == path or name.startswith(path + ".")]:
                    del flags[inner]  # whose settings these are is not known
        try:
            return choose_areas(settings, _joined(flags))
        except UsageError:  # an area of an area that another choice has replaced: told when it is parsed
            return settings

    def environment(self, label: str, table: Mapping[str, Any]) -> EnvironmentEntry | None:
        """An environment: its id, its options and its budget."""
        where = f"environments.{label}: "
        budget, id_ = self.budget(where, table), table.get("id", label)
        if not isinstance(id_, str):
            self.errors.append(f"{where}id must be the name of an environment, not {id_!r}")
            return None
        parser = Parser("forethought train ALGORITHM", "")
        add_environment(parser)
        flags = {key: words_of(key, value) for key, value in table.items() if key not in ("id", *BUDGET)}
        options: dict[str, Any] = {}
        for key, words in flags.items():
            values = self.parsed(where, "option", key, parser, words, before=("--", id_))
            options |= given_options(values) if values is not None else {}
        return EnvironmentEntry(label, id_, _joined(flags), options, budget)

    def parsed(
        self, where: str, what: str, path: str, parser: Parser, words: list[str], before: Sequence[str] = ()
    ) -> Any:
        """A single flag as the parser reads it; None where it refuses it."""
        known = {flag.removeprefix("--") for flag in parser._option_string_actions if flag.startswith("--")}
        known -= {"help", "debug"}
        if path.replace("_", "-") not in known:
            self.errors.append(f"{where}unknown {what} '{path}'; {nearest(path.replace('_', '-'), known)}")
            return None
        try:
            return parser.parse([*words, *before])
        except UsageError as problem:
            self.errors.append(where + str(problem).removeprefix("argument ").replace("--", "", 1))
            return None

    def budgets(self, found: SweepFile) -> None:
        """Every pair of an algorithm and an environment must have a budget."""
        for algorithm in found.algorithms:
            for environment in found.environments:
                budget = found.budget_of(algorithm, environment)
                if not any(budget.values()):
                    pair = f"{algorithm.label} on {environment.label}"
                    self.errors.append(f"say how long to train {pair}: env-steps, iterations or until-solved = true")

    def directories(self, found: SweepFile) -> None:
        """Two runs must not write into one directory, whatever the file system makes of capitals."""
        seen: dict[str, str] = {}
        for algorithm in found.algorithms:
            for environment in found.environments:
                directory, pair = (
                    found.directory(algorithm, environment, 0),
                    f"{algorithm.label} on {environment.label}",
                )
                first = seen.setdefault(str(directory).casefold(), pair)
                if first != pair:
                    shown = directory.with_name(directory.name.removesuffix("0") + "S")
                    self.errors.append(
                        f"two runs into one directory: {first} and {pair} both write {shown}; rename one"
                    )


def words_of(path: str, value: Any) -> list[str]:
    """A setting as the words of its flag."""
    flag = "--" + path.replace("_", "-")
    return [flag, *map(_word, value)] if isinstance(value, list) else [f"{flag}={_word(value)}"]


def _word(value: Any) -> str:
    """As a person types it; numbers without exponents, since `-1e-3` would be taken for a flag."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value):
        return format(Decimal(repr(value)), "f")
    return str(value)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted path; the key `class` names the class of an area."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        path = prefix.rstrip(".") if key == "class" and prefix else prefix + _name(key)
        found |= _flat(value, path + ".") if isinstance(value, dict) else {path: value}
    return found


def _joined(flags: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(word for words in flags.values() for word in words)


def _name(key: str) -> str:
    return key.replace("-", "_")


def _slug(label: str) -> str:
    """A label as a part of a directory's name."""
    return re.sub("[^a-z0-9.]+", "-", re.split("[/:]", label)[-1].lower()).strip("-.")
