"""Experts on games, and one student of all of them: what `minatar.py` and `atari.py` share.

Each expert is one `forethought train ppo-images`, each student one `forethought distill` of the experts with its seed;
both are resumable, and are evaluated when they are done.  Rows go to benchmarks/results/NAME.json as they come, tables
and a figure to docs/minatar_atari.md.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from command import evaluated, forethought, metrics_of
from common import RESULTS, ROOT, table
from experts_page import write_page
from rows import Row, Rows, fill, saved


@dataclass(frozen=True)
class Suite:
    """Games, budgets and settings."""

    name: str
    games: dict[str, str]  # id: published score, empty where none is known
    steps: int  # of each expert
    rounds: int  # of a student
    round_steps: int  # of a student in each game; its learning rate falls to zero within all of them
    expert: str  # flags of the experts
    student: str  # flags of the students
    seeds: tuple[int, ...] = (40, 41, 42)
    episodes: int = 30  # of an evaluation
    student_episodes: int | None = None  # of a student's evaluation in each game; none: as many as an expert's
    sampled: bool = False  # actions of evaluations are drawn from the policy, as in training


def main(suite: Suite, about: str | None) -> None:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["experts", "students", "show"])
    parser.add_argument("--games", nargs="+", default=list(suite.games), choices=list(suite.games), metavar="ID")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(suite.seeds))
    parser.add_argument("--losses", nargs="+", default=["kl", "nll", "mse"], choices=["kl", "nll", "mse"])
    parser.add_argument("--data", nargs="+", default=["student"], choices=["teacher", "student"], help="who acts")
    parser.add_argument("--steps", type=int, default=suite.steps, help="environment steps of an expert")
    parser.add_argument("--rounds", type=int, default=suite.rounds, help="of a student")
    parser.add_argument("--episodes", type=int, help="of an evaluation, in each game")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / suite.name, help="where the runs are kept")
    parser.add_argument("--quick", action="store_true", help="nothing is saved: does everything run?")
    flags = parser.parse_args()
    if flags.part == "show":
        show(suite)
    else:
        parts = {"experts": experts, "students": students}
        fill(flags.part, suite.name, parts[flags.part](suite, flags), quick=flags.quick)
    if not flags.quick:
        write_page(suite.name, suite.games)


def experts(suite: Suite, flags: argparse.Namespace) -> Rows:
    """One row for each game and seed."""
    for seed in flags.seeds:
        for game in flags.games:
            about = {"part": "expert", "game": game, "seed": seed, "env_steps": flags.steps}
            yield about, _later(expert, suite, flags, game, seed)


def expert(suite: Suite, flags: argparse.Namespace, game: str, seed: int) -> Row:
    """Train and evaluate an expert."""
    out = expert_path(flags.runs, game, seed)
    words = ["--env-steps", str(flags.steps), "--learner.decay-steps", str(flags.steps), "--seed", str(seed)]
    forethought("train", "ppo-images", game, *suite.expert.split(), *words, "--out", str(out), "--resume")
    evaluation = evaluated(out, flags.episodes or suite.episodes, sampled=suite.sampled)
    rounds = metrics_of(out)
    return {
        "wall_s": rounds[-1]["wall_s"],
        "steps_per_s": rounds[-1]["env_steps"] / rounds[-1]["wall_s"],
        "mean": evaluation["mean"],
        "std": evaluation["std"],
        "returns": evaluation["returns"],
        "training_return": rounds[-1]["return_mean"],
        "curve": [[line["env_steps"], line["return_mean"], line["wall_s"]] for line in rounds],
    }


def students(suite: Suite, flags: argparse.Namespace) -> Rows:
    """One row for each loss, data and seed."""
    for seed in flags.seeds:
        for loss in flags.losses:
            for data in flags.data:
                about = {"part": "student", "games": flags.games, "loss": loss, "data": data, "seed": seed}
                about |= {"rounds": flags.rounds}
                yield about, _later(student, suite, flags, loss, data, seed)


def student(suite: Suite, flags: argparse.Namespace, loss: str, data: str, seed: int) -> Row:
    """Distill the experts of a seed, and evaluate the student on all games."""
    out = flags.runs / f"student{len(flags.games)}-{loss}-{data}-{flags.rounds}-rounds-seed{seed}"
    teachers = [str(expert_path(flags.runs, game, seed)) for game in flags.games]
    words = ["--loss", loss, "--data", data, "--iterations", str(flags.rounds), "--seed", str(seed)]
    words += ["--round-steps", str(suite.round_steps), "--decay-steps", str(flags.rounds * suite.round_steps)]
    forethought("distill", *teachers, *suite.student.split(), *words, "--out", str(out), "--resume")
    wall = metrics_of(out)[-1]["wall_s"]
    episodes = flags.episodes or suite.student_episodes or suite.episodes
    games = evaluated(out, episodes, sampled=suite.sampled)["games"]
    # no share: an expert that is no better than random
    shares = [game["share"] for game in games if game["share"] is not None]
    mean = sum(shares) / len(shares) if shares else None
    return {"wall_s": wall, "games": flags.games, "scores": games, "mean_share": mean}


def expert_path(runs: Path, game: str, seed: int) -> Path:
    """Where an expert's run is."""
    return runs / f"{game.rpartition('/')[2]}-seed{seed}"


def _later(measure: Callable[..., Row], *inputs: object) -> Callable[[], Row]:
    return lambda: measure(*inputs)


def show(suite: Suite) -> None:
    """The saved rows."""
    rows = saved(RESULTS / f"{suite.name}.json")
    lines = [
        [row["game"], row["seed"], row["mean"], suite.games[row["game"]], row["wall_s"] / 3600, row["steps_per_s"]]
        for row in rows
        if row["part"] == "expert"
    ]
    print(table(["expert", "seed", "mean return", "published", "hours", "steps per s"], lines))
    lines = [
        [
            f"{row['loss']}, {row['data']} acts, {row['rounds']} rounds",
            row["seed"],
            row["mean_share"],
            *(one["share"] for one in row["scores"]),
        ]
        for row in rows
        if row["part"] == "student"
    ]
    print(table(["student", "seed", "mean share", *suite.games][: len(lines[0]) if lines else 3], lines))
