"""Experiments that are one `forethought train` and one `forethought evaluate` for each seed.

What `learning.py`, `learners.py` and `imagined.py` share: the command line, runs that continue where they were stopped,
results saved after each seed, and a line for each.  Each of them says what it keeps of a seed (`Study.summary`).
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import evaluated, forethought, metrics_of, spread_of
from common import RESULTS, ROOT, hardware
from rows import REPORTING_SEEDS, TUNING_SEEDS, seed_kind

Found = dict[str, Any]  # what is kept of a seed
Report = dict[str, Any]  # what is kept of an experiment


@dataclass(frozen=True)
class Experiment:
    """One algorithm on one environment."""

    algorithm: str
    env: str
    steps: int | None = None  # of experience; by default as the flags say
    flags: str = ""
    own_reward: bool = False  # evaluated by the environment's reward instead of `--cost`


@dataclass(frozen=True)
class Trained:
    """One seed of an experiment, trained and evaluated."""

    experiment: Any
    seed: int
    run: Path
    evaluation: Found
    rounds: list[Found]  # metrics
    before: Found  # what was kept of this seed the last time; empty if there was none
    flags: argparse.Namespace  # of the command line


def _nothing(name: str, experiment: Any, report: Report) -> None:
    """After a seed, nothing more than what all studies do."""


@dataclass(frozen=True)
class Study:
    """Experiments, what is kept of each seed, and where."""

    kind: str  # results are KIND_NAME.json, runs are in runs/KIND
    experiments: Mapping[str, Any]
    about: str | None  # for --help
    summary: Callable[[Trained], Found]  # what is kept of a seed
    line: Callable[[Found], str]  # what one seed came to
    extra: Mapping[str, Any] | None = None  # flags of its own: name, keywords of `add_argument`
    goal: Callable[[Any], float | None] | None = None  # a return that counts as learned
    saved: Callable[[str, Any, Report], None] = _nothing  # called after each seed, such as to draw
    tuning_seeds: tuple[int, ...] = TUNING_SEEDS
    reporting_seeds: tuple[int, ...] = REPORTING_SEEDS

    def seed_kind(self, seed: int) -> str:
        """Whether results of a seed may be quoted."""
        return seed_kind(seed, self.tuning_seeds, self.reporting_seeds)


def command(experiment: Experiment, seed: int) -> list[str]:
    """The training command, without the run directory."""
    budget = [] if experiment.steps is None else ["--env-steps", str(experiment.steps)]
    return ["train", experiment.algorithm, experiment.env, *budget, "--seed", str(seed), *experiment.flags.split()]


def main(study: Study) -> None:
    """Run the experiments that the command line names."""
    parser = argparse.ArgumentParser(description=study.about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *study.experiments], metavar="NAME", help="which experiments")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(study.reporting_seeds))
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / study.kind, help="where the runs are kept")
    for flag, how in (study.extra or {}).items():
        parser.add_argument(flag, **how)
    parser.add_argument("--list", action="store_true", help="show the commands, run nothing")
    flags = parser.parse_args()
    for name in flags.names or study.experiments:
        if flags.list:
            print(f"{name}: forethought {' '.join(command(study.experiments[name], flags.seeds[0]))}")
        else:
            run(study, name, flags)


def run(study: Study, name: str, flags: argparse.Namespace) -> None:
    """All seeds of one experiment; what is known so far is saved after each."""
    experiment, path = study.experiments[name], RESULTS / f"{study.kind}_{name}.json"
    known = json.loads(path.read_text())["seeds"] if path.exists() else []
    for seed in flags.seeds:
        out = flags.runs / f"{name}-seed{seed}"
        forethought(*command(experiment, seed), "--out", str(out), "--resume")
        evaluation = evaluated(out, flags.episodes, paid_by=experiment.env if experiment.own_reward else None)
        before = next((other for other in known if other["seed"] == seed), {})
        trained = Trained(experiment, seed, out, evaluation, metrics_of(out), before, flags)
        one = {"seed": seed, "seed_kind": study.seed_kind(seed)} | study.summary(trained)
        known = sorted([*(other for other in known if other["seed"] != seed), one], key=lambda other: other["seed"])
        report = {
            "command": "forethought " + " ".join(command(experiment, flags.seeds[0])),
            "hardware": hardware(),
            **({"goal": study.goal(experiment)} if study.goal else {}),
            "seeds": known,
        }
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        show(study, name, report)
        study.saved(name, experiment, report)


def kept(evaluation: Found) -> Found:
    """The part of an evaluation that is kept."""
    return {key: evaluation[key] for key in ("episodes", "mean", "std", "success", "returns")}


def evaluation_text(one: Found) -> str:
    """A seed's evaluation."""
    done = one["evaluation"]
    spread = "" if done["std"] is None else f" +- {done['std']:.1f}"
    success = "" if done["success"] is None else f", success {done['success']:.0%}"
    return f"evaluated {done['mean']:.1f}{spread} ({done['episodes']} episodes{success})"


def show(study: Study, name: str, report: Report) -> None:
    """A line for each seed, and one for all of a kind."""
    for one in report["seeds"]:
        print(f"{name}, {one['seed_kind']} seed {one['seed']}: {study.line(one)}")
    for kind in ("tuning", "reporting", "other"):
        means = [one["evaluation"]["mean"] for one in report["seeds"] if one["seed_kind"] == kind]
        spread = f" +- {spread_of(means):.1f} over seeds" if len(means) > 1 else ""
        if means:
            print(f"{name}, {len(means)} {kind} seeds: evaluated {statistics.mean(means):.1f}{spread}", flush=True)
