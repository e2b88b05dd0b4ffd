"""PILCO: how much experience until a task is solved, over seeds.

    python benchmarks/pilco.py cartpole                 # all reporting seeds; continues where it was stopped
    python benchmarks/pilco.py cartpole --seeds 40 41
    python benchmarks/pilco.py cartpole --show          # the table and the picture of what was measured

After every trial the policy learned from it is evaluated on five fresh episodes of the task's own length, drawn anew
each time.  They do not count as experience, and nothing is learned from them.  A seed counts as solved by the first
trial after which all five meet the task's own test, and 100 more episodes tell how dependable the last policy is.
Published: cart-pole 17.5 s of experience on the real system, at most 10 trials (Deisenroth & Rasmussen, 2011).
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, hardware

sys.path.insert(0, str(ROOT))  # this checkout, installed or not

# Seeds that were run while settings were chosen, and seeds that figures are reported of.  Results of the double
# pendulum from before these lists were kept (seeds 25 to 34) are in pilco_cart_double_pendulum_0.1.json.
TUNING_SEEDS = {
    "cartpole": [*range(20), *range(100, 110)],
    "pendulum": [*range(20), *range(100, 110)],
    "cart_double_pendulum": [*range(35), *range(100, 110)],
}
REPORTING_SEEDS = {
    "cartpole": list(range(40, 60)),
    "pendulum": list(range(40, 45)),
    "cart_double_pendulum": list(range(60, 70)),
}


@dataclass(frozen=True)
class Experiment:
    """A task and the settings that differ from the defaults, by the names that they have on the command line."""

    env: str
    seconds: float  # of experience: the trial that reaches them is the last
    settings: dict[str, Any] = field(default_factory=dict)
    noise: float = 0.01  # standard deviation that sensors add to each coordinate


EXPERIMENTS = {
    "cartpole": Experiment("forethought/CartPoleSwingUp-v0", 17.5),
    "pendulum": Experiment("forethought/PendulumSwingUp-v0", 15, {"trials.steps": 50}),
    "cart_double_pendulum": Experiment(
        "forethought/CartDoublePendulum-v0",
        60,
        {
            "model.max_exact": 256,
            "model.sparse": "recent",
            "integrate": True,
            "policy.basis_functions": 100,
            "trials.steps": 40,
            "objective.skip_first": 20,
            "objective.cost_smoothing": 0.5,
            "objective.initial_std_scale": 1.0,
            "search.restarts": 2,
            "search.recentered": 1,
            "search.screening": 60,
            "search.finalists": 1,
            "search.evaluations": 250,
            "search.min_improvement": 0.1,
            "horizon.initial": 50,
            "horizon.growth": 1.2,
            "horizon.warmup_rounds": 2,
        },
    ),
}


def main() -> None:
    """Measure the seeds that are missing, and show all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EXPERIMENTS, metavar="NAME", help=f"one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the reporting seeds (default: all)")
    parser.add_argument("--episodes", type=int, default=5, help="episodes of each evaluation")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    flags = parser.parse_args()
    reporting = REPORTING_SEEDS[flags.name]
    wrong = sorted(set(flags.seeds or []) - set(reporting))
    if wrong:
        parser.error(f"{wrong} are not reporting seeds of {flags.name}, which are {reporting}.")
    path = RESULTS / f"pilco_{flags.name}.json"
    saved, wanted = json.loads(path.read_text()) if path.exists() else {}, setup(flags.name)
    if not flags.show and any(saved.get(key, value) != value for key, value in wanted.items()):
        parser.error(f"{path} holds results of other settings: move it away first.")
    for seed in [] if flags.show else flags.seeds or reporting:
        if seed not in {one["seed"] for one in known(path)}:
            found = measure(EXPERIMENTS[flags.name], seed, flags.episodes)
            seeds = sorted([*known(path), found], key=lambda one: one["seed"])
            save(path, flags.name, seeds)
            show(flags.name, [found])
    show(flags.name, known(path), together=True)
    draw(flags.name, known(path))


def known(path: Path) -> list[dict]:
    """The seeds measured so far."""
    return json.loads(path.read_text())["seeds"] if path.exists() else []


def save(path: Path, name: str, seeds: list[dict]) -> None:
    """Write the results of an experiment."""
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(setup(name) | {"hardware": hardware(), "seeds": seeds}, indent=1) + "\n")


def setup(name: str) -> dict:
    """What all results of an experiment must have in common."""
    one = EXPERIMENTS[name]
    return {"env": one.env, "settings": one.settings, "observation_noise": one.noise}


def measure(experiment: Experiment, seed: int, episodes: int) -> dict:
    """One seed: every trial, and the evaluation after it."""
    import jax.random as jr

    from forethought.cli.settings_reader import read_settings
    from forethought.core import Trajectory
    from forethought.envs.environment import Environment
    from forethought.runs.driver import train

    start, trials = time.perf_counter(), []
    algorithm = read_settings("forethought.algorithms.pilco:PILCO").construct(experiment.settings)
    env = Environment.of(experiment.env, observation_noise=experiment.noise).open()

    def evaluate(controller, key, count: int) -> tuple[list[float], list[bool]]:
        """Costs of fresh episodes, and which of them are solved."""
        done = [env.run(controller, key=jr.fold_in(key, i)) for i in range(count)]
        solved = [bool(env.task.solved(Trajectory.of_episode(episode))) for episode in done]
        return [-float(episode.reward.sum()) for episode in done], solved

    def after_trial(line: dict, state) -> None:
        wall = time.perf_counter() - start
        key = jr.fold_in(jr.key(1000 + seed), len(trials))  # new episodes after every trial
        costs, solved = evaluate(algorithm.controller(state, env), key, episodes)
        keys = ("experience_s", "return", "expected_cost", "predicted_cost", "model_error", "candidate")
        outcome = {"solved": statistics.mean(solved), "cost": statistics.mean(costs), "wall_s": wall}
        trials.append({key: line[key] for key in keys} | outcome)
        print(
            f"  seed {seed}, {line['experience_s']:.1f} s: predicted cost {line['predicted_cost']:.1f}, evaluated "
            f"{outcome['cost']:.1f}, {outcome['solved']:.0%} solved ({wall:.0f} s)",
            flush=True,
        )

    run = train(
        algorithm,
        experiment.env,
        env_steps=round(experiment.seconds / env.task.dt),
        seed=seed,
        out=ROOT / "runs" / "pilco" / f"{experiment.env.split('/')[1]}-seed{seed}",
        observation_noise=experiment.noise,
        progress=False,
        callbacks=[after_trial],
    )
    _, solved = evaluate(run.controller, jr.key(2000 + seed), 100)
    return {"seed": seed, "trials": trials, "success": statistics.mean(solved)}


def first_solved(one: dict) -> float | None:
    """Experience, in s, after which every evaluation was solved for the first time; None if there is no such trial."""
    return next((trial["experience_s"] for trial in one["trials"] if trial["solved"] == 1), None)


def lastingly_solved(one: dict) -> float | None:
    """Experience, in s, from which on all evaluations were solved; None if the last one was not."""
    unsolved = [i for i, trial in enumerate(one["trials"]) if trial["solved"] < 1]
    first = unsolved[-1] + 1 if unsolved else 0
    return one["trials"][first]["experience_s"] if first < len(one["trials"]) else None


def solved_at(one: dict, seconds: float) -> bool:
    """Whether the last policy at that time solved every evaluation."""
    return [trial["solved"] == 1 for trial in one["trials"] if trial["experience_s"] <= seconds][-1:] == [True]


def show(name: str, seeds: list[dict], *, together: bool = False) -> None:
    """A line for each seed, and a summary."""
    for one in seeds:
        first, last = first_solved(one), one["trials"][-1]
        when = "never solved" if first is None else f"solved after {first:.1f} s"
        print(f"{name}, seed {one['seed']}: {when}; at the end {one['success']:.0%} of 100 episodes, cost "
              f"{last['cost']:.1f}, {last['wall_s']:.0f} s of wall clock", flush=True)  # fmt: skip
    if together and seeds:
        ends = sorted(one["success"] for one in seeds)
        for words, measured in (("first solved", first_solved), ("solved from then on", lastingly_solved)):
            times = [measured(one) for one in seeds]
            ordered = sorted(float("inf") if one is None else one for one in times)
            print(f"{name}, {words}: {sum(one is not None for one in times)} of {len(seeds)} seeds; experience: median "
                  f"{statistics.median(ordered):.1f} s, maximum {ordered[-1]:.1f} s")  # fmt: skip
        print(f"{name}, last policies: median {statistics.median(ends):.1%}, minimum {ends[0]:.0%}, mean "
              f"{statistics.mean(ends):.1%} of 100 episodes solved")  # fmt: skip


def draw(name: str, seeds: list[dict]) -> None:
    """Share of the seeds that are solved, and the cost, by seconds of experience."""
    if not seeds:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    share, cost = figure.subplots(1, 2)
    when = sorted({trial["experience_s"] for one in seeds for trial in one["trials"]})
    solved = [statistics.mean(solved_at(one, seconds) for one in seeds) for seconds in when]
    share.step(when, solved, where="post")
    share.set(xlabel="experience (s)", ylabel=f"share of {len(seeds)} seeds solved", ylim=(-0.02, 1.02))
    for one in seeds:
        seconds, costs = zip(*((trial["experience_s"], trial["cost"]) for trial in one["trials"]), strict=True)
        cost.plot(seconds, costs, color="C0", alpha=0.4)
    cost.set(xlabel="experience (s)", ylabel="cost of an episode")
    for axes in (share, cost):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"PILCO on {EXPERIMENTS[name].env}")
    figure.savefig(ROOT / "docs" / "img" / f"pilco_{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
