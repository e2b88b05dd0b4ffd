"""Local models and guided policy search: rollouts until solved, the trust region, generalization, time by part.

    python benchmarks/local_models.py                       # everything, the reporting seeds: hours on two cores
    python benchmarks/local_models.py learn --tasks peg --seeds 40 41
    python benchmarks/local_models.py --quick               # tiny sizes, nothing saved: does everything run?

Parts:
    learn         local models on each task: cost and success of the controllers by rollouts per initial condition
    trust-region  the contact task with the trust region and without it (plain LQR through the fitted models)
    prior         rollouts per round with a Gaussian mixture as prior, and without a prior
    gps           one policy: success from its initial conditions, and from others; and that of the local controllers
Success after a round is that of the improved controllers without noise, in episodes that are not learned from; a task
is solved when they solve it from all initial conditions.  Trials begin near an initial condition: the joint angles of
an arm, or the state, are disturbed.  Times by part are in the rows of `learn`: medians over the rounds after the third,
in which little is compiled.
Results go to benchmarks/results/local_models_PART.json, one object for each task, variant and seed, saved as they come;
what is there already is left out.  Runs are kept in runs/local_models.  Settings are tuned on seeds 100 - 119 only, and
reported on seeds 40 - 44.  Tables and figures of docs/trust_regions.md are written at the end.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT
from rows import REPORTING_SEEDS, Rows, fill

sys.path.insert(0, str(ROOT))

TRIALS = 10  # near the initial conditions, and from new ones
TRIAL_STD = 0.01  # of the disturbed initial angles (rad) of an arm; of the state in other tasks
TIMED = ("rollouts_s", "fit_s", "step_s")
CURVE = (
    "cost",
    "expected_cost",
    "kl",
    "epsilon",
    "eta",
    "predicted_improvement",
    "actual_improvement",
    "step_multiplier",
    "model_error",
)


@dataclass(frozen=True)
class Task:
    """An environment, how many initial conditions it has, the rounds of a run, and flags."""

    env: str
    conditions: int
    rounds: int
    claim: int  # rollouts per initial condition in which it is to be solved
    flags: str = ""
    gps: str = ""  # further flags of guided policy search


REDUNDANT = "--prior.regularization 0.1"  # states of the arms: angles, and positions that follow from them
STRONG_ARM = f"--noise 0.04 --region.least-noise 0.003 {REDUNDANT}"
TASKS = {
    "point-mass": Task("forethought/PointMassObstacle-v0", 1, 10, 20),
    "two-link": Task("forethought/ArmTwoLink-v0", 1, 10, 30, f"--noise 0.1 --region.least-noise 0.01 {REDUNDANT}"),
    "seven-joint": Task("forethought/ArmSevenJoint-v0", 1, 10, 50, STRONG_ARM),
    "peg": Task("forethought/PegInsertion-v0", 4, 12, 60, STRONG_ARM, "--on-policy false --policy.updates 6000"),
}
REGIONS = {"trust region": "", "no trust region": "--region.enabled false"}
PRIORS = {"gmm": "--prior gmm", "none": "--prior none"}
SAMPLES = (2, 3, 5, 8, 12, 20)  # rollouts per round in the part prior
GPS_TASKS, GPS_ROUNDS = ("seven-joint", "peg", "two-link"), 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="TASK")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "local_models", help="where the runs are kept")
    parser.add_argument("--no-trust-region", action="store_true", help="part trust-region: only without it")
    parser.add_argument("--flags", default="", help="further settings of all runs, to be tried; part of a row's name")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="run nothing: write tables and figures from saved results")
    flags = parser.parse_args()
    if flags.quick:
        flags.seeds = flags.seeds[:1]
    for part in (flags.parts or PARTS) if not flags.draw else ():
        tried = {"flags": flags.flags} if flags.flags else {}
        cases = ((about | tried, measure) for about, measure in PARTS[part](flags))
        fill(part, f"local_models_{part.replace('-', '_')}", cases, quick=flags.quick)
    if not flags.quick:
        from local_models_page import write_page

        write_page()


def learn(flags: argparse.Namespace) -> Rows:
    """Local models on each task."""
    for task in flags.tasks:
        for seed in flags.seeds:
            yield {"task": task, "seed": seed}, lambda task=task, seed=seed: trained(task, "", seed, flags)


def trust_region(flags: argparse.Namespace) -> Rows:
    """The contact task with and without the trust region; more rounds than it takes to solve it."""
    chosen = list(REGIONS)[1:] if flags.no_trust_region else list(REGIONS)
    for variant in chosen:
        for seed in flags.seeds:
            about = {"task": "peg", "variant": variant, "seed": seed}
            yield about, lambda v=variant, seed=seed: trained("peg", REGIONS[v], seed, flags, rounds=20)


def prior(flags: argparse.Namespace) -> Rows:
    """The cost after the rounds of the two-link task, by rollouts per round, with a prior and without."""
    for variant, settings in PRIORS.items():
        for samples in SAMPLES:
            if variant == "none" and samples < 12:  # 8 states and 2 actions need 12 rollouts
                continue
            for seed in flags.seeds:
                more = f"{settings} --conditions.samples {samples}"
                about = {"task": "two-link", "variant": variant, "samples": samples, "seed": seed}
                yield about, lambda more=more, seed=seed: trained("two-link", more, seed, flags)


def gps(flags: argparse.Namespace) -> Rows:
    """Guided policy search: the policy and its local controllers, from their own and from new initial conditions."""
    for task in (task for task in GPS_TASKS if task in flags.tasks):
        for seed in flags.seeds:
            yield {"task": task, "seed": seed}, lambda task=task, seed=seed: searched(task, seed, flags)


def trained(task: str, more: str, seed: int, flags: argparse.Namespace, rounds: int | None = None) -> dict[str, Any]:
    """A run of local models: success by rollouts, trials with the final controllers, time by part."""
    about = TASKS[task]
    words = f"{_conditions(about.conditions, seed, '')} {about.flags} {more} {flags.flags}".split()
    run, tests = trained_run("local-models", task, words, rounds or about.rounds, seed, flags)
    algorithm, env, state = run.algorithm, run.env, run.state
    samples = algorithm.conditions.samples
    solved = [(i + 1) * samples for i, test in enumerate(tests) if all(test["solved"])]
    starts = [near(env, algorithm.conditions, c % about.conditions, seed, c) for c in range(TRIALS)]
    late = run.metrics[3:] or run.metrics
    return {
        "rollouts_to_solved": solved[0] if solved else None,  # per initial condition
        "claim": about.claim,
        "solved_at_claim": _at(tests, about.claim // samples),
        "solved_at_end": tests[-1]["solved"],
        "trials": episodes_solved(env, algorithm.controller(state, env), starts, seed),
        "cost": run.metrics[-1]["cost"],
        **{name: statistics.median(line[name] for line in late) for name in TIMED},
        "command": "forethought train local-models " + " ".join([about.env, *words]),
        "curve": curve(run, tests, CURVE),
    }


def searched(task: str, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    """A run of guided policy search: success of the policy and of its local controllers."""
    from forethought.policies.nearest import NearestController

    about = TASKS[task]
    own_flags = about.flags.replace("--", "--local.")
    words = f"{_conditions(4, seed, 'local.')} {own_flags} {about.gps} {flags.flags}".split()
    run, tests = trained_run("gps", task, words, GPS_ROUNDS, seed, flags)
    algorithm, env, state = run.algorithm, run.env, run.state
    conditions, local = algorithm.local.conditions, state.local
    policy = algorithm.controller(state, env)
    teachers = NearestController(local.policies, local.xs[:, 0], local.units.x.scale, env.task.action_space)
    own = [conditions.reset(c, env) for c in range(conditions.number(env))]
    other = [elsewhere(env, seed, i) for i in range(1 if flags.quick else TRIALS)]
    return {
        "policy_own": episodes_solved(env, policy, own, seed),
        "policy_new": episodes_solved(env, policy, other, seed),
        "local_own": episodes_solved(env, teachers, own, seed),
        "local_new": episodes_solved(env, teachers, other, seed),
        "rollouts": len(tests) * conditions.samples,  # per initial condition
        "cost": run.metrics[-1]["cost"],
        "command": "forethought train gps " + " ".join([about.env, *words]),
        "curve": curve(run, tests, (*CURVE, "policy_loss")),
    }


def curve(run: Any, tests: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Metrics and tests of every round."""
    return [{name: line.get(name) for name in names} | test for line, test in zip(run.metrics, tests, strict=True)]


def _conditions(count: int, seed: int, area: str) -> str:
    """Tasks without a fixed set of initial states have other ones for each seed."""
    return f"--{area}conditions.count {count} --{area}conditions.seed {seed}"


def _at(tests: Sequence[dict[str, Any]], rounds: int) -> list[bool] | None:
    return tests[rounds - 1]["solved"] if len(tests) >= rounds else None


def trained_run(
    name: str, task: str, words: Sequence[str], rounds: int, seed: int, flags: argparse.Namespace
) -> tuple[Any, list[dict[str, Any]]]:
    """A run, continued where it stopped, and the test of its controllers after every round."""
    from forethought.runs.driver import train

    algorithm = construct(name, words)
    if flags.quick:
        algorithm, rounds = quick(algorithm), 2
    label = "-".join([task, name, *(word.lstrip("-") for word in words), f"seed{seed}"]).replace(" ", "-")
    out = flags.runs / ("quick" if flags.quick else "") / label.replace("/", "-")
    path = out / "tests.jsonl"

    def test(line: dict[str, Any], state: Any) -> None:
        env, controller = opened, algorithm.controller(state, opened)
        conditions = getattr(algorithm, "local", algorithm).conditions
        starts = [conditions.reset(c, env) for c in range(conditions.number(env))]
        done = {"iteration": line["iteration"], "solved": episodes_solved(env, controller, starts, seed)}
        with path.open("a") as file:
            file.write(json.dumps(done) + "\n")

    from forethought.envs.open import open_env

    opened = open_env(TASKS[task].env)
    run = train(algorithm, TASKS[task].env, iterations=rounds, seed=seed, out=out, resume=True, progress=False,
                callbacks=[test])  # fmt: skip
    last = {one["iteration"]: one for one in map(json.loads, path.read_text().splitlines())}
    return run, [{"solved": last[i + 1]["solved"]} for i in range(rounds)]


def construct(name: str, words: Sequence[str]) -> Any:
    """The settings that `forethought train NAME ... WORDS` would have."""
    from forethought.cli.flags import Parser, add_settings, choose_areas, given_settings
    from forethought.cli.settings_reader import read_settings
    from forethought.registry import ALGORITHMS

    settings = choose_areas(read_settings(ALGORITHMS[name]), words)
    parser = Parser("settings", "")
    add_settings(parser, settings)
    return settings.construct(given_settings(settings, parser.parse(words)))


def quick(algorithm: Any) -> Any:
    """Smaller settings."""
    if hasattr(algorithm, "policy"):
        policy = dataclasses.replace(algorithm.policy, hidden=(8,), updates=5)
        return dataclasses.replace(algorithm, policy=policy, local=quick(algorithm.local))
    few = dataclasses.replace(algorithm.conditions, samples=algorithm.conditions.samples)
    return dataclasses.replace(algorithm, conditions=few)


def episodes_solved(env: Any, controller: Any, starts: Sequence[dict[str, Any]], seed: int) -> list[bool]:
    """Whether an episode from each start is solved."""
    import jax.random as jr

    from forethought.core import Trajectory

    done = [env.run(controller, key=jr.fold_in(jr.key(10_000 + seed), i), **how) for i, how in enumerate(starts)]
    return [bool(env.task.solved(Trajectory.of_episode(episode))) for episode in done]


def near(env: Any, conditions: Any, condition: int, seed: int, trial: int) -> dict[str, Any]:
    """A start near an initial condition."""
    import jax.numpy as jnp
    import jax.random as jr
    import numpy as np

    x = np.asarray(env.start(key=jr.key(0), **conditions.reset(condition, env)).x)
    random = np.random.default_rng((seed, trial))
    dynamics = env.problem.dynamics
    if not hasattr(dynamics, "at_rest"):
        return {"options": {"x0": x + TRIAL_STD * random.normal(size=x.shape).astype(x.dtype)}}
    m, c = dynamics.joints, dynamics.slides
    physics = np.asarray(dynamics.physics(jnp.asarray(x)))
    return {"options": {"x0": dynamics.at_rest(physics[:m] + TRIAL_STD * random.normal(size=m), physics[m : m + c])}}


def elsewhere(env: Any, seed: int, trial: int) -> dict[str, Any]:
    """A start between the initial states of the task; by a new reset key if it has no fixed set of them."""
    import jax.random as jr
    import numpy as np

    dynamics = env.problem.dynamics
    if not hasattr(dynamics, "at_rest"):
        return {"reset_key": jr.fold_in(jr.key(20_000 + seed), trial)}
    m, c = dynamics.joints, dynamics.slides
    states = np.stack([np.asarray(dynamics.physics(x))[: m + c] for x in env.task.initial_states])
    s = np.random.default_rng((20_000 + seed, trial)).dirichlet(np.ones(len(states))) @ states
    return {"options": {"x0": dynamics.at_rest(s[:m], s[m:])}}


PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "learn": learn,
    "trust-region": trust_region,
    "prior": prior,
    "gps": gps,
}


if __name__ == "__main__":
    main()
