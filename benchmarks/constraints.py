"""Constraints kept by PETS on the real system, and what they cost in return.  Data of docs/constraints.md.

    python benchmarks/constraints.py                               # seeds 40 - 44; continues where it stopped
    python benchmarks/constraints.py --tasks cart-pole --seeds 40
    python benchmarks/constraints.py --quick                       # tiny sizes, nothing saved: does everything run?

Cart-pole: the cart must stay within 0.3 m of the middle of its rail.  Car: it must stay out of a disc that lies on the
way into its parking place.  `kept`: trained with the constraint, at a risk of 0.05, judged in the first steps of each
plan; `kept to the end`: judged in all of them (cart-pole only).  `margin`: the runs of `kept`, which plan their new
episodes with a disc that is 3 cm larger (car only).  `free`: the same planner and model, trained without the
constraint.  All are judged by the same function in 50 new episodes: an episode violates if any of its states does.
Results go to benchmarks/results/constraints.json.
Settings are tuned on seeds 100 - 119 only, and reported on seeds 40 - 44.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from common import ROOT
from page import DOCS, interval_text, put_table
from rows import REPORTING_SEEDS, Rows, fill, reporting

sys.path.insert(0, str(ROOT))

RISK = 0.05
RAIL = 0.3  # m, from the middle
OBSTACLE, RADIUS, MARGIN = (-0.45, 1.2), 0.4, 0.03  # m


def rail(x, u):
    """At most `RAIL` from the middle; x = [position, ...]."""
    del u
    return jnp.abs(x[0]) - RAIL


def obstacle(x, u):
    """Out of the disc; x = [position, position to the side, ...]."""
    del u
    return RADIUS - jnp.sqrt((x[0] - OBSTACLE[0]) ** 2 + (x[1] - OBSTACLE[1]) ** 2 + 1e-9)


def larger_obstacle(x, u):
    """Out of the disc and a margin around it."""
    return obstacle(x, u) + MARGIN


class Case(NamedTuple):
    """A task and its constraint."""

    env: str
    constraint: Any
    env_steps: int  # of training
    horizon: int  # of plans, steps
    judged: int  # first steps of a plan that must keep the constraint
    variants: tuple[str, ...]


CASES = {
    "cart-pole": Case("forethought/CartPoleSwingUp-v0", rail, 600, 15, 5, ("kept", "free", "kept to the end")),
    "car": Case("forethought/CarParking-v0", obstacle, 800, 15, 8, ("kept", "free", "margin")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--tasks", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--episodes", type=int, default=50, help="new episodes after the training (default: 50)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="only write the table of the page")
    flags = parser.parse_args()
    if not flags.draw:
        fill("constraints", "constraints", rows(flags), quick=flags.quick)
    if not flags.quick:
        put_table(DOCS / "constraints.md", "constraints", table())


def rows(flags: argparse.Namespace) -> Rows:
    for seed in flags.seeds:
        for task in flags.tasks:
            for variant in CASES[task].variants:
                about = {"task": task, "variant": variant, "seed": seed}
                yield about, partial(measured, **about, episodes=flags.episodes, quick=flags.quick)


def measured(task: str, variant: str, seed: int, episodes: int, quick: bool) -> dict[str, Any]:
    """Train, evaluate, count."""
    import forethought as ft
    from forethought.envs.violations import Violations

    case = CASES[task]
    judge = ft.open_env(case.env, constraint=case.constraint).task
    judged = None if variant == "kept to the end" else case.judged
    limit = {"constraint": case.constraint, "risk": RISK, "constraint_steps": judged}
    env = ft.Environment(case.env, **({} if variant == "free" else limit))
    folder = Path(tempfile.mkdtemp()) if quick else ROOT / "runs" / "constraints"
    budget = {"iterations": 1} if quick else {"env_steps": case.env_steps}
    trained = "kept" if variant == "margin" else variant
    out = folder / f"{task}-{trained.replace(' ', '-')}-seed{seed}"
    run = ft.train(settings(task, quick), env, seed=seed, out=out, resume=True, progress=False, **budget)
    if variant == "margin":
        run = ft.load(out, **{**limit, "constraint": larger_obstacle})
    found = run.evaluate(episodes=2 if quick else episodes)
    counts = Violations.of(judge, found.trajectories)
    assert counts is not None
    training = [line.get("violated_episodes") for line in run.metrics]
    return {
        "return": found.mean,
        "std": found.std,
        "success": found.success,
        "episodes": found.episodes,
        "violated_episodes": counts.episodes,
        "violated_at_start": counts.started,
        "violated_steps": counts.steps,
        "steps": sum(found.lengths),
        "largest": counts.largest,
        "env_steps": found.env_steps,
        "violated_in_training": None if training[0] is None else sum(training),
        "training_episodes": run.progress.episodes,
    }


def settings(task: str, quick: bool) -> Any:
    import forethought as ft

    if quick:
        model = ft.Ensemble(hidden=(8,), max_epochs=3)
        return ft.PETS(model=model, planner=ft.ICEM(horizon=3, population=10, elites=2, iterations=1, particles=5))
    planner = ft.ICEM(horizon=CASES[task].horizon, population=100, iterations=4, particles=10)
    return ft.PETS(model=ft.Ensemble(hidden=(64, 64)), planner=planner)


def table() -> list[tuple[str, ...]]:
    """By task, with and without the constraint, over all seeds."""
    found = reporting("constraints")
    body = []
    for task in CASES:
        for variant in CASES[task].variants:
            of = [row for row in found if (row["task"], row["variant"]) == (task, variant)]
            if of:
                episodes, violated = (sum(row[name] for row in of) for name in ("episodes", "violated_episodes"))
                steps = sum(row["violated_steps"] for row in of) / sum(row["steps"] for row in of)
                largest = max(row["largest"] for row in of)
                success = sum(row["success"] for row in of) / len(of)
                body.append(
                    (
                        task,
                        _described(task, variant),
                        f"{violated} of {episodes} ({violated / episodes:.1%})",
                        f"{steps:.2%}",
                        f"{max(largest, 0):.3f} m",
                        interval_text([row["return"] for row in of]),
                        f"{success:.0%}",
                    )
                )
    titles = ("task", "constraint", "episodes with a violation", "steps", "largest", "return", "success")
    return [titles, *body]


def _described(task: str, variant: str) -> str:
    if variant == "free":
        return "none"
    steps = "all" if variant == "kept to the end" else f"first {CASES[task].judged}"
    return f"risk {RISK}, {steps} steps{f', {MARGIN} m margin' if variant == 'margin' else ''}"


if __name__ == "__main__":
    main()
