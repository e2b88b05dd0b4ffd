"""Learning on real environments: several seeds of one command each, with the curve, the baseline and the evaluation.

    python benchmarks/learning.py cartpole                  # one experiment, its reporting seeds
    python benchmarks/learning.py cheetah --seeds 40 41     # hours on two cores: continues where it was stopped
    python benchmarks/learning.py --list

Each seed is one `forethought train`, resumable, in runs/learning/NAME-seedS, and one `forethought evaluate`.  Results
go to benchmarks/results/learning_NAME.json and the figure to docs/img/learning_NAME.svg.  The baseline is the return
of the first round, whose actions are random.

Settings may be changed after looking at tuning seeds only; figures that are quoted come from reporting seeds.  Results
say which kind each seed is.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from command import evaluated, forethought, spread_of
from common import RESULTS, ROOT, hardware


@dataclass(frozen=True)
class Experiment:
    """One environment and the settings for it."""

    env: str
    flags: str
    goal: float | None = None  # a return that counts as solved or learned
    alive: bool = False  # the environment pays 1 for each step alive, and the cost is ours: count steps, not the cost
    own_reward: bool = False  # the cost is ours: evaluate by what the environment itself pays
    trials: int = 1  # of experience in the length of an episode; the curve is scaled by it
    algorithm: str = "pets"


TUNING_SEEDS = tuple(range(20))  # their results were looked at while settings changed: not to be quoted as results
REPORTING_SEEDS = tuple(range(40, 45))  # used only with settings that are fixed

EXPERIMENTS = {
    "cartpole": Experiment("forethought/CartPoleSwingUp-v0", "--iterations 15 --until-solved"),
    "pendulum_gmm": Experiment(
        "forethought/PendulumSwingUp-v0",
        "--model gmm --planner icem --planner.horizon 20 --planner.population 150 --iterations 5",
        algorithm="mpc",
    ),
    "inverted_pendulum": Experiment(
        "InvertedPendulum-v5",
        "--cost benchmarks.costs:balance --env-steps 4000 --round-steps 1 --refit-growth 0 --planner.horizon 20 "
        "--planner.population 100 "
        "--planner.elites 10 --planner.iterations 8 --planner.propagation mean --model.hidden 64 64",
        1000,
        alive=True,
    ),
    "reacher": Experiment(
        "Reacher-v5",
        "--env-steps 2000 --refit-growth 0 --planner.horizon 15 --planner.population 100 --planner.elites 10 "
        "--planner.iterations 4 "
        "--planner.propagation mean --model.max-updates 1500",
    ),
    "pusher": Experiment(
        "Pusher-v5",
        "--cost benchmarks.costs:push --env-steps 5000 --refit-growth 0 --planner icem --planner.horizon 25 "
        "--planner.population 120 --planner.decay 1.25 "
        "--planner.elites 10 --planner.iterations 4 --planner.noise 0.15 --planner.beta 2 --planner.propagation mean "
        "--model.max-updates 2000",
        own_reward=True,
    ),
    "cheetah": Experiment(
        "HalfCheetah-v5",
        "--cost benchmarks.costs:run_upright --angles 1 --env-steps 15000 --trial-steps 250 --refit-growth 0 "
        "--planner icem "
        "--planner.horizon 12 --planner.population 120 --planner.decay 1.25 --planner.elites 6 "
        "--planner.iterations 4 --planner.noise 1 "
        "--planner.propagation mean --planner.beta 0.25 --final-weight 8 --model.batch 64 --model.max-updates 2000 "
        "--model.max-epochs 1000 --model.patience 300",
        2000,
        own_reward=True,
        trials=4,
    ),
    "cheetah_learned_reward": Experiment(
        "HalfCheetah-v5",
        "--angles 1 --env-steps 30000 --refit-growth 0 --planner icem --planner.horizon 12 --planner.population 120 "
        "--planner.decay 1.25 --planner.elites 6 --planner.iterations 4 --planner.noise 1 --planner.propagation mean "
        "--planner.beta 0.25 --final-weight 8 --model.batch 64 --model.max-updates 8000 --model.max-epochs 1000 "
        "--model.patience 300",
        2000,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *EXPERIMENTS], metavar="NAME", help="which experiments")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "learning", help="where the runs are kept")
    parser.add_argument("--list", action="store_true", help="show the commands, run nothing")
    flags = parser.parse_args()
    for name in flags.names or EXPERIMENTS:
        if flags.list:
            print(f"{name}: forethought {' '.join(command(EXPERIMENTS[name], flags.seeds[0]))}")
        else:
            run(name, EXPERIMENTS[name], flags)


def command(experiment: Experiment, seed: int) -> list[str]:
    """The training command, without the run directory."""
    return ["train", experiment.algorithm, experiment.env, "--seed", str(seed), *experiment.flags.split()]


def run(name: str, experiment: Experiment, flags: argparse.Namespace) -> None:
    """All seeds of one experiment; what is known so far is saved after each."""
    path = RESULTS / f"learning_{name}.json"
    known = json.loads(path.read_text())["seeds"] if path.exists() else []
    for seed in flags.seeds:
        out = flags.runs / f"{name}-seed{seed}"
        forethought(*command(experiment, seed), "--out", str(out), "--resume")
        evaluation = evaluated(out, flags.episodes, paid_by=experiment.env if experiment.own_reward else None)
        rounds = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        known = [one for one in known if one["seed"] != seed] + [summary(seed, experiment, evaluation, rounds)]
        results = sorted(known, key=lambda one: one["seed"])
        report = {
            "command": "forethought " + " ".join(command(experiment, flags.seeds[0])),
            "hardware": hardware(),
            "goal": experiment.goal,
            "seeds": results,
        }
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        show(name, report)
        draw(name, experiment, results)


def summary(seed: int, experiment: Experiment, evaluation: dict, rounds: list[dict]) -> dict:
    """What one seed came to."""
    curve = [{key: line[key] for key in ("env_steps", "return", "model_error", "solved", "wall_s")} for line in rounds]
    if experiment.alive:
        returns = evaluation["lengths"]
        evaluation = evaluation | {"returns": returns, "mean": statistics.mean(returns), "std": spread_of(returns)}
        for line, before in zip(curve, [0, *(line["env_steps"] for line in curve)], strict=False):
            line["return"] = line["env_steps"] - before
    for line in curve:
        line["return"] *= experiment.trials
    reached = [line["env_steps"] for line in curve if experiment.goal and line["return"] >= experiment.goal]
    return {
        "seed": seed,
        "seed_kind": seed_kind(seed),
        "rounds": len(rounds),
        "env_steps": rounds[-1]["env_steps"],
        "experience_s": rounds[-1]["experience_s"],
        "wall_s": rounds[-1]["wall_s"],
        "random_return": curve[0]["return"],
        "best_return": max(line["return"] for line in curve),
        "steps_to_goal": reached[0] if reached else None,
        "evaluation": {key: evaluation[key] for key in ("episodes", "mean", "std", "success", "returns")},
        "curve": curve,
    }


def seed_kind(seed: int) -> str:
    """Whether results of a seed may be quoted."""
    return "tuning" if seed in TUNING_SEEDS else "reporting"


def show(name: str, report: dict) -> None:
    """A line for each seed, and one for all."""
    for one in report["seeds"]:
        evaluation = one["evaluation"]
        success = "" if evaluation["success"] is None else f", success {evaluation['success']:.0%}"
        spread = "" if evaluation["std"] is None else f" +- {evaluation['std']:.1f}"
        print(
            f"{name}, {one['seed_kind']} seed {one['seed']}: {one['rounds']} rounds, {one['env_steps']} steps, "
            f"{one['wall_s']:.0f} s; "
            f"return random {one['random_return']:.1f}, best {one['best_return']:.1f}, "
            f"evaluated {evaluation['mean']:.1f}{spread} ({evaluation['episodes']} episodes{success})"
        )
    for kind in ("tuning", "reporting"):
        means = [one["evaluation"]["mean"] for one in report["seeds"] if one["seed_kind"] == kind]
        spread = f" +- {statistics.stdev(means):.1f} over seeds" if len(means) > 1 else ""
        if means:
            print(f"{name}, {len(means)} {kind} seeds: evaluated {statistics.mean(means):.1f}{spread}", flush=True)


def draw(name: str, experiment: Experiment, results: list[dict]) -> None:
    """Return by real steps, a line for each reporting seed; tuning seeds only where there are no others."""
    results = [one for one in results if one["seed_kind"] == "reporting"] or results
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for one in results:
        steps = [line["env_steps"] for line in one["curve"]]
        label = f"seed {one['seed']}" + (" (tuning)" if one["seed_kind"] == "tuning" else "")
        axes.plot(steps, [line["return"] for line in one["curve"]], marker=".", label=label)
    baseline = statistics.mean(one["random_return"] for one in results)
    axes.axhline(baseline, color="0.5", linestyle=":", label="random actions")
    if experiment.goal is not None:
        axes.axhline(experiment.goal, color="0.2", linewidth=0.8, linestyle="--", label="goal")
    what = "return of the round's episode" if experiment.trials == 1 else f"{experiment.trials} x return of a trial"
    axes.set(title=f"{experiment.algorithm.upper()} on {experiment.env}", xlabel="real steps", ylabel=what)
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    folder = ROOT / "docs" / "img"
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"learning_{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
