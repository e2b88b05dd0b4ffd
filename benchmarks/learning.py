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

import statistics
from dataclasses import dataclass

from command import spread_of
from common import ROOT
from matplotlib.figure import Figure
from trainings import Experiment, Found, Report, Study, Trained, evaluation_text, kept, main


@dataclass(frozen=True)
class Learning(Experiment):
    """One environment and the settings for it."""

    goal: float | None = None  # a return that counts as solved or learned
    alive: bool = False  # the environment pays 1 for each step alive, and the cost is ours: count steps, not the cost
    trials: int = 1  # of experience in the length of an episode; the curve is scaled by it


# the planner and the model of both experiments on HalfCheetah
CHEETAH = (
    "--angles 1 --refit-growth 0 --planner icem --planner.horizon 12 --planner.population 120 --planner.decay 1.25 "
    "--planner.elites 6 --planner.iterations 4 --planner.noise 1 --planner.propagation mean --planner.beta 0.25 "
    "--final-weight 8 --model.batch 64 --model.max-epochs 1000 --model.patience 300"
)
EXPERIMENTS = {
    "cartpole": Learning("pets", "forethought/CartPoleSwingUp-v0", flags="--iterations 15 --until-solved"),
    "pendulum_gmm": Learning(
        "mpc",
        "forethought/PendulumSwingUp-v0",
        flags="--model gmm --planner icem --planner.horizon 20 --planner.population 150 --iterations 5",
    ),
    "inverted_pendulum": Learning(
        "pets",
        "InvertedPendulum-v5",
        4000,
        "--cost benchmarks.costs:balance --round-steps 1 --refit-growth 0 --planner.horizon 20 "
        "--planner.population 100 --planner.elites 10 --planner.iterations 8 --planner.propagation mean "
        "--model.hidden 64 64",
        goal=1000,
        alive=True,
    ),
    "reacher": Learning(
        "pets",
        "Reacher-v5",
        2000,
        "--refit-growth 0 --planner.horizon 15 --planner.population 100 --planner.elites 10 --planner.iterations 4 "
        "--planner.propagation mean --model.max-updates 1500",
    ),
    "pusher": Learning(
        "pets",
        "Pusher-v5",
        5000,
        "--cost benchmarks.costs:push --refit-growth 0 --planner icem --planner.horizon 25 --planner.population 120 "
        "--planner.decay 1.25 --planner.elites 10 --planner.iterations 4 --planner.noise 0.15 --planner.beta 2 "
        "--planner.propagation mean --model.max-updates 2000",
        own_reward=True,
    ),
    "cheetah": Learning(
        "pets",
        "HalfCheetah-v5",
        15_000,
        f"--cost benchmarks.costs:run_upright --trial-steps 250 {CHEETAH} --model.max-updates 2000",
        own_reward=True,
        goal=2000,
        trials=4,
    ),
    "cheetah_learned_reward": Learning(
        "pets", "HalfCheetah-v5", 30_000, f"{CHEETAH} --model.max-updates 8000", goal=2000
    ),
}


def summary(trained: Trained) -> Found:
    """What one seed came to."""
    experiment, evaluation, rounds = trained.experiment, trained.evaluation, trained.rounds
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
        "rounds": len(rounds),
        "env_steps": rounds[-1]["env_steps"],
        "experience_s": rounds[-1]["experience_s"],
        "wall_s": rounds[-1]["wall_s"],
        "random_return": curve[0]["return"],
        "best_return": max(line["return"] for line in curve),
        "steps_to_goal": reached[0] if reached else None,
        "evaluation": kept(evaluation),
        "curve": curve,
    }


def line(one: Found) -> str:
    """What one seed came to, in words."""
    return (
        f"{one['rounds']} rounds, {one['env_steps']} steps, {one['wall_s']:.0f} s; return random "
        f"{one['random_return']:.1f}, best {one['best_return']:.1f}, {evaluation_text(one)}"
    )


def draw(name: str, experiment: Learning, report: Report) -> None:
    """Return by real steps, a line for each reporting seed; tuning seeds only where there are no others."""
    results = [one for one in report["seeds"] if one["seed_kind"] == "reporting"] or report["seeds"]
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for one in results:
        steps = [line["env_steps"] for line in one["curve"]]
        label = f"seed {one['seed']}" + ("" if one["seed_kind"] == "reporting" else f" ({one['seed_kind']})")
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


STUDY = Study(
    "learning",
    EXPERIMENTS,
    __doc__,
    summary,
    line,
    goal=lambda experiment: experiment.goal,
    saved=draw,
    tuning_seeds=tuple(range(20)),
)

if __name__ == "__main__":
    main(STUDY)
