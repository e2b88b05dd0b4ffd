"""`forethought evaluate RUN`."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from forethought.cli import progress_line
from forethought.cli.flags import Parser

if TYPE_CHECKING:
    from forethought.runs.games import GameScore
    from forethought.runs.run import Evaluation

ABOUT = "run a trained controller on its environment; prints the mean and standard deviation of the return"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--episodes", type=int, default=10, metavar="N", help="number of episodes (default: 10)")
    parser.add_argument("--seed", type=int, metavar="S", help="random seed of the episodes (default: the training's)")
    parser.add_argument(
        "--sampled",
        action="store_true",
        help="draw actions from the policy, as in training, instead of its most probable ones",
    )
    parser.add_argument(
        "--constraint",
        metavar="MODULE:FUNCTION",
        help="constraint(x, u), values that must not be positive, in place of the training's; planners keep them",
    )
    parser.add_argument(
        "--risk", type=float, metavar="P", help="largest probability with which a plan may violate the constraint"
    )
    parser.add_argument(
        "--constraint-steps", type=int, metavar="STEPS", help="first steps of a plan that must keep it (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(values: argparse.Namespace) -> int:
    """Evaluate and print."""
    from forethought.runs.games import evaluate_games, plays_several_games
    from forethought.runs.run import load

    given = {name: getattr(values, name) for name in ("constraint", "risk", "constraint_steps")}
    run = load(values.run, **{name: value for name, value in given.items() if value is not None})
    code = run.foreign_code
    if code:
        print(f"note: runs code named in {values.run}/run.json: {', '.join(code)}", file=sys.stderr)
    evaluation = run.evaluate(
        episodes=values.episodes,
        seed=values.seed,
        sampled=values.sampled,
        on_episode=lambda count, total: progress_line.show(
            f"evaluate: episode {count}/{values.episodes}, return {total:.4g}"
        ),
    )
    games = []
    if plays_several_games(run.algorithm):
        games = evaluate_games(
            run,
            episodes=values.episodes,
            seed=values.seed,
            sampled=values.sampled,
            on_stage=lambda stage: progress_line.show(f"evaluate: {stage}"),
        )
    progress_line.clear()
    if values.json:
        more = {"games": [score.as_json() for score in games]} if games else {}
        print(json.dumps(evaluation.as_json() | more, allow_nan=False))
    else:
        print("\n".join([*_table(evaluation), *_games_table(games)]))
    return 0


def _games_table(scores: "Sequence[GameScore]") -> Iterator[str]:
    """Mean returns in each game, if there are several; the episodes above are of the first one."""
    from forethought.report.games_table import HEAD, game_rows

    if not scores:
        return
    yield ""
    for row in (HEAD, *game_rows(list(scores))):
        yield f"{row[0]:26}" + "".join(f"{cell:>16}" for cell in row[1:])


def _table(e: "Evaluation") -> Iterator[str]:
    yield f"{'episode':>8}{'return':>12}{'steps':>8}"
    for number, (total, steps) in enumerate(zip(e.returns, e.lengths, strict=True), start=1):
        yield f"{number:8}{total:12.5g}{steps:8}"
    yield ""
    yield f"return    {e.mean:.5g} +- {e.std:.3g} (mean and standard deviation of {e.episodes} episodes)"
    yield "success   " + ("the task has no success test" if e.success is None else f"{e.success:.0%} of the episodes")
    if e.violations is not None:
        yield f"limits    {e.violations}"
    yield f"training  {e.env_steps} environment steps, {e.experience_s:.5g} s of experience"
