"""`forethought train ALGORITHM ENV`."""

import argparse
from collections.abc import Sequence

from forethought.cli.environment_flags import add_environment, given_options
from forethought.cli.flags import Parser, add_settings, choose_areas, given_settings
from forethought.cli.settings_reader import Settings, read_settings
from forethought.core.errors import UsageError, nearest
from forethought.registry import ALGORITHMS

ABOUT = "train an algorithm on an environment; writes a run directory"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the flags; `argv` determines the algorithm whose settings become flags."""
    parser.usage = "forethought train ALGORITHM ENV [options] [--AREA.SETTING VALUE ...]"
    known = ", ".join(ALGORITHMS)
    parser.add_argument("algorithm", metavar="ALGORITHM", type=_algorithm, help=f"one of: {known}")
    add_environment(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--env-steps", type=int, metavar="N", help="training budget, environment steps")
    budget.add_argument("--iterations", type=int, metavar="N", help="training budget, rounds")
    parser.add_argument("--out", metavar="DIR", help="run directory (default: runs/ALGORITHM-ENV-seedS)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out where it stopped")
    parser.add_argument("--until-solved", action="store_true", help="stop once an episode passes the success test")
    parser.add_argument("--init-policy", metavar="RUN", help="start sac, ppo or policy-gradient from this run's policy")
    parser.add_argument(
        "--data", metavar="DATA", help="start with these recorded episodes: a run, .csv, .parquet, .npz, or a Minari id"
    )
    settings = _settings(argv)
    parser.set_defaults(settings=settings)
    if settings is None:
        parser.epilog = "Settings are flags too: `forethought train ALGORITHM --help` lists the flags of an algorithm."
    else:
        add_settings(parser, settings)


def run(values: argparse.Namespace) -> int:
    """Train, show progress, and print the run directory."""
    unlimited = values.env_steps is None and values.iterations is None
    if unlimited and not (values.until_solved or values.resume):
        raise UsageError("say how long to train: give --env-steps N, --iterations N or --until-solved")
    settings = values.settings
    if settings is None or settings.home != ALGORITHMS[values.algorithm]:  # the name came from the value of a flag
        raise UsageError("give ALGORITHM and ENV before the flags")
    algorithm = settings.construct(given_settings(settings, values))
    from forethought.envs.environment import Environment
    from forethought.runs.driver import train

    given = {"init_policy": values.init_policy, "data": values.data}
    start = {name: value for name, value in given.items() if value is not None}
    run = train(
        algorithm,
        Environment(values.env, **given_options(values)),
        env_steps=values.env_steps,
        iterations=values.iterations,
        seed=values.seed,
        out=values.out,
        resume=values.resume,
        until_solved=values.until_solved,
        **start,
    )
    print(f"run: {run.path}")
    return 0


def _algorithm(name: str) -> str:
    if name not in ALGORITHMS:
        raise UsageError(f"unknown algorithm '{name}'; {nearest(name, ALGORITHMS)}")
    return name


def _settings(argv: Sequence[str]) -> Settings | None:
    """The settings of the first algorithm named in the arguments."""
    name = next((word for word in argv if word in ALGORITHMS), None)
    return choose_areas(read_settings(ALGORITHMS[name]), argv) if name else None
