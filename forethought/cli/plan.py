"""`forethought plan ENV --planner NAME`."""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from forethought.cli import progress_line
from forethought.cli.environment_flags import add_environment, given_options
from forethought.cli.flags import Parser, add_settings, given_settings
from forethought.cli.settings_reader import read_settings
from forethought.core.errors import UsageError, nearest
from forethought.registry import PLANNERS

KNOWN = ("cost", "termination", "horizon", "dt")  # options that the known system takes
LIMITS = ("constraint", "risk", "constraint_steps")  # options of constraints
ABOUT = "plan on a known model, without learning; compares several planners in one table"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the flags; `argv` determines the planners whose settings become flags."""
    parser.usage = "forethought plan ENV --planner NAME [options] [--planner.SETTING VALUE ...]\n" + (
        "       forethought plan ENV --planner NAME NAME ... [options] [--NAME.SETTING VALUE ...]"
    )
    where = "a system of `forethought list envs`, a MuJoCo id such as HalfCheetah-v5, or an MJCF file (with --cost)"
    add_environment(parser, only=(*KNOWN, *LIMITS), about=where)
    known = ", ".join(PLANNERS)
    parser.add_argument(
        "--planner",
        nargs="+",
        type=_planner,
        default=["ilqr"],
        metavar="NAME",
        help=f"planners, of: {known} (default: ilqr)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="random seed (default: 0)",
    )
    parser.add_argument("--model", metavar="RUN", help="plan with this run's learned model, and act on ENV")
    mode = parser.add_mutually_exclusive_group()
    short = "(default if the planner's horizon is shorter than the episode)"
    mode.add_argument("--mpc", action="store_true", help=f"replan at every step {short}")
    mode.add_argument("--once", action="store_true", help="plan once and follow the plan's feedback policy")
    mode.add_argument("--budget", type=float, metavar="MS", help="planning time per step, ms; replans at every step")
    parser.add_argument("--x64", action="store_true", help="double precision (float64)")
    parser.add_argument("--out", metavar="DIR", help="output directory of the page and the videos (default: plans/ENV)")
    parser.add_argument("--no-video", action="store_true", help="write no videos")
    parser.add_argument("--json", action="store_true", help="print one JSON object per planner and write no files")
    names = [word for word in dict.fromkeys(argv) if word in PLANNERS]
    for name in names:
        add_settings(parser, read_settings(PLANNERS[name]), _prefix(name, names))
    if not names:
        parser.epilog = "Settings are flags too: `forethought plan --planner NAME --help` lists the flags of a planner."


def run(values: argparse.Namespace) -> int:
    """Plan, act, print the table, write the page."""
    planners = {name: _settings(name, _prefix(name, values.planner), values) for name in values.planner}
    if values.budget is not None and not values.budget > 0:
        raise UsageError(f"--budget must be positive milliseconds, not {values.budget:g}")
    import jax

    with jax.enable_x64(values.x64):
        return _plan(planners, values)


def _plan(planners: dict, values: argparse.Namespace) -> int:
    from forethought.envs.constrained import constrained_problem
    from forethought.envs.mujoco.known_model import known_system
    from forethought.report.plan_page import table, write_plans
    from forethought.runs.plan_episode import plan_on

    given = given_options(values)
    limits = {name: given.pop(name) for name in LIMITS if name in given}
    env, problem = known_system(values.env, **given)
    if limits:
        problem = constrained_problem(problem, **limits)
    if values.model is not None:
        from forethought.runs.learned_problem import learned_problem

        problem = learned_problem(values.model, env, problem)
    done = []
    for name, planner in planners.items():
        one = plan_on(
            env,
            problem,
            planner,
            name=name,
            receding=True if values.mpc else False if values.once else None,
            budget_s=None if values.budget is None else values.budget / 1000,
            seed=values.seed,
            on_step=_progress(name, problem.task.horizon),
        )
        progress_line.clear()
        if values.json:
            print(json.dumps(one.as_json(), allow_nan=False), flush=True)
        done.append(one)
    if not values.json:
        print("\n".join(_aligned(table(done))))
        out = values.out or Path("plans") / values.env.rpartition("/")[2].removesuffix(".xml")
        print(f"page: {write_plans(done, env, out, video=not values.no_video)}")
    return 0


def _prefix(name: str, names: Sequence[str]) -> str:
    """The prefix of a planner's flags."""
    return "planner." if len(names) == 1 else f"{name}."


def _settings(name: str, prefix: str, values: argparse.Namespace) -> object:
    settings = read_settings(PLANNERS[name])
    given = given_settings(settings, values, prefix)
    return settings.construct({path.removeprefix(prefix): value for path, value in given.items()})


def _planner(name: str) -> str:
    if name not in PLANNERS:
        raise UsageError(f"unknown planner '{name}'; {nearest(name, PLANNERS)}")
    return name


def _progress(name: str, horizon: int) -> Callable[[int, float], None]:
    return lambda steps, total: progress_line.show(f"{name}: step {steps}/{horizon}, return so far {total:.4g}")


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        yield "  ".join([first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True))])
