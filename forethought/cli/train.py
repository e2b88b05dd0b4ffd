"""`forethought train ALGORITHM ENV`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser, add_settings, choose_areas, given_settings
from forethought.cli.settings_reader import Settings, read_settings
from forethought.core.errors import UsageError, nearest
from forethought.registry import ALGORITHMS

ABOUT = "learn to control an environment; leaves a run directory"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the flags; those of the settings belong to the algorithm that `argv` names."""
    parser.usage = "forethought train ALGORITHM ENV [options] [--AREA.SETTING VALUE ...]"
    known = ", ".join(ALGORITHMS)
    parser.add_argument("algorithm", metavar="ALGORITHM", type=_algorithm, help=f"one of: {known}")
    add_environment(parser)
    noise = "standard deviation of the noise in observations of a system of ours, of all coordinates or of each"
    speeds = "observation entry J is the rate of change of entry I: then a model may learn J alone (integrate)"
    parser.add_argument("--speeds", type=_pair, nargs="+", metavar="I:J", help=speeds)
    parser.add_argument("--observation-noise", type=float, nargs="+", metavar="STD", help=noise)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seeds everything random (default: 0)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--env-steps", type=int, metavar="N", help="stop after the round that reaches N real steps")
    budget.add_argument("--iterations", type=int, metavar="N", help="stop after this many rounds")
    parser.add_argument("--out", metavar="DIR", help="run directory (default: runs/ALGORITHM-ENV-seedS)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out exactly where it stopped")
    parser.add_argument("--until-solved", action="store_true", help="stop as soon as the task's own test is met")
    settings = _settings(argv)
    parser.set_defaults(settings=settings)
    if settings is None:
        parser.epilog = "Settings are flags too: `forethought train ALGORITHM --help` shows those of an algorithm."
    else:
        add_settings(parser, settings)


def run(values: argparse.Namespace) -> int:
    """Train; the driver shows its progress and leaves the run directory."""
    unlimited = values.env_steps is None and values.iterations is None
    if unlimited and not (values.until_solved or values.resume):
        raise UsageError("say how long to train: --env-steps N, --iterations N or --until-solved")
    settings = values.settings
    if settings is None or settings.home != ALGORITHMS[values.algorithm]:  # another one was read from a flag's value
        raise UsageError("give ALGORITHM and ENV before the flags")
    algorithm = settings.construct(given_settings(settings, values))
    from forethought.runs.driver import train

    run = train(
        algorithm,
        values.env,
        env_steps=values.env_steps,
        iterations=values.iterations,
        seed=values.seed,
        out=values.out,
        resume=values.resume,
        until_solved=values.until_solved,
        cost=values.cost,
        termination=values.termination,
        angles=tuple(values.angles) if values.angles else None,
        observation_noise=_one_or_each(values.observation_noise),
        speeds=tuple(values.speeds) if values.speeds else None,
    )
    print(f"run: {run.path}")
    return 0


def add_environment(parser: Parser) -> None:
    """The environment, and what may be told about it."""
    parser.add_argument("env", metavar="ENV", help="a Gymnasium id, as HalfCheetah-v5 or module:Name-v0")
    parser.add_argument("--cost", metavar="MODULE:FUNCTION", help="cost(x, u), where the reward is not to be learned")
    parser.add_argument(
        "--termination", metavar="MODULE:FUNCTION", help="termination(x), where it is not to be learned"
    )
    angles = "observation entries that are angles in radians"
    parser.add_argument("--angles", type=int, nargs="+", metavar="I", help=angles)


def _one_or_each(stds: list[float] | None) -> float | tuple[float, ...] | None:
    if stds is None:
        return None
    return stds[0] if len(stds) == 1 else tuple(stds)


def _pair(text: str) -> tuple[int, int]:
    first, colon, second = text.partition(":")
    if not (colon and first.isdecimal() and second.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form POSITION:SPEED, as 0:2")
    return int(first), int(second)


def _algorithm(name: str) -> str:
    if name not in ALGORITHMS:
        raise UsageError(f"unknown algorithm '{name}'; {nearest(name, ALGORITHMS)}")
    return name


def _settings(argv: Sequence[str]) -> Settings | None:
    """The settings of the algorithm that is named first among the arguments."""
    name = next((word for word in argv if word in ALGORITHMS), None)
    return choose_areas(read_settings(ALGORITHMS[name]), argv) if name else None
