"""PILCO: how much experience until a task is solved, over seeds.

    python benchmarks/pilco.py cartpole --seeds 0 1 2    # continues where it was stopped
    python benchmarks/pilco.py cartpole --show           # the table and the picture from what is known

After every trial the policy learned from it is evaluated on fresh episodes of the task's own length, which do not count
as experience and teach nothing.  A seed is solved by the first trial after which all of them meet the task's own test.
How dependable the last policy is, 100 more episodes tell.
Published: cart-pole 17.5 s of experience on the real system, at most 10 trials (Deisenroth & Rasmussen, 2011).
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass, field

from common import RESULTS, ROOT, hardware

sys.path.insert(0, str(ROOT))  # this checkout, installed or not


@dataclass(frozen=True)
class Experiment:
    """A task, with settings that were chosen on other seeds than those reported."""

    env: str
    seconds: float  # of experience, at least: the trial that reaches them is the last
    settings: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)  # settings of the Gaussian process
    noise: float = 0.01  # standard deviation of what the sensors add to each coordinate


EXPERIMENTS = {
    "cartpole": Experiment("forethought/CartPoleSwingUp-v0", 17.5, {"trial_steps": 25, "blur": 0.25}),
    "pendulum": Experiment("forethought/PendulumSwingUp-v0", 15, {"trial_steps": 50}),
    "cart_double_pendulum": Experiment(
        "forethought/CartDoublePendulum-v0",
        60,
        {
            "basis": 100,
            "trial_steps": 40,
            "look_ahead": 50,
            "stretch": 1.2,
            "settling": 20,
            "growing": 2,
            "blur": 0.5,
            "start_width": 1.0,
            "integrate": True,
            "newcomers": 2,
            "recentered": 1,
            "scouting": 60,
            "survivors": 1,
            "evaluations": 250,
            "saving": 0.1,
        },
        {"max_exact": 256, "beyond": "recent"},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EXPERIMENTS, metavar="NAME", help=f"one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument("--episodes", type=int, default=5, help="of each evaluation")
    parser.add_argument("--show", action="store_true", help="train nothing")
    flags = parser.parse_args()
    path = RESULTS / f"pilco_{flags.name}.json"
    saved, wanted = json.loads(path.read_text()) if path.exists() else {}, setup(flags.name)
    if not flags.show and any(saved.get(key, value) != value for key, value in wanted.items()):
        parser.error(f"{path} holds results of other settings: move it away first.")
    for seed in [] if flags.show else flags.seeds:
        if seed not in {one["seed"] for one in known(path)}:
            found = learned(EXPERIMENTS[flags.name], seed, flags.episodes)
            seeds = sorted([*known(path), found], key=lambda one: one["seed"])
            save(path, flags.name, seeds)
            show(flags.name, [found])
    show(flags.name, known(path), together=True)
    draw(flags.name, known(path))


def known(path) -> list[dict]:
    return json.loads(path.read_text())["seeds"] if path.exists() else []


def save(path, name: str, seeds: list[dict]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(setup(name) | {"hardware": hardware(), "seeds": seeds}, indent=1) + "\n")


def setup(name: str) -> dict:
    """What results of an experiment must share."""
    one = EXPERIMENTS[name]
    return {"env": one.env, "settings": one.settings, "model": one.model, "observation_noise": one.noise}


def learned(experiment: Experiment, seed: int, episodes: int) -> dict:
    """One seed: every trial, with what an evaluation after it said."""
    import jax.random as jr

    from forethought.algorithms.pilco import PILCO
    from forethought.core import Trajectory
    from forethought.envs.environment import Environment
    from forethought.models.gp.process import GP
    from forethought.runs.driver import train

    algorithm, start = PILCO(GP(**experiment.model), **experiment.settings), time.perf_counter()
    world, trials = Environment.of(experiment.env, observation_noise=experiment.noise).open(), []

    def tried(controller, key, count: int) -> tuple[list, list[bool]]:
        done = [world.run(controller, key=jr.fold_in(key, i)) for i in range(count)]
        return done, [bool(world.task.solved(Trajectory.of_episode(episode))) for episode in done]

    def evaluate(line: dict, state) -> None:
        wall = time.perf_counter() - start
        done, solved = tried(algorithm.controller(state, world), jr.key(1000 + seed), episodes)
        keys = ("experience_s", "return", "expected_cost", "predicted_cost", "model_error", "competitor")
        costs = [-float(episode.reward.sum()) for episode in done]
        trials.append({key: line[key] for key in keys})
        trials[-1] |= {"solved": statistics.mean(solved), "cost": statistics.mean(costs), "wall_s": wall}
        outcome = f"got {trials[-1]['cost']:.1f}, {trials[-1]['solved']:.0%} solved ({wall:.0f} s)"
        print(
            f"  seed {seed}, {line['experience_s']:.1f} s: expected {line['predicted_cost']:.1f}, {outcome}", flush=True
        )

    out = ROOT / "runs" / "pilco" / f"{experiment.env.split('/')[1]}-seed{seed}"
    run = train(
        algorithm,
        experiment.env,
        env_steps=round(experiment.seconds / world.task.dt),
        seed=seed,
        out=out,
        observation_noise=experiment.noise,
        progress=False,
        callbacks=[evaluate],
    )
    return {
        "seed": seed,
        "trials": trials,
        "success": statistics.mean(tried(run.controller, jr.key(2000 + seed), 100)[1]),
    }


def first_solved(one: dict) -> float | None:
    """Experience, in s, after which every evaluation was solved; None where none was."""
    return next((trial["experience_s"] for trial in one["trials"] if trial["solved"] == 1), None)


def solved_at(one: dict, seconds: float) -> bool:
    """Whether the last policy at that time solved every evaluation."""
    return [trial["solved"] == 1 for trial in one["trials"] if trial["experience_s"] <= seconds][-1:] == [True]


def show(name: str, seeds: list[dict], *, together: bool = False) -> None:
    for one in seeds:
        first, last = first_solved(one), one["trials"][-1]
        when = "never solved" if first is None else f"solved after {first:.1f} s"
        print(f"{name}, seed {one['seed']}: {when}; at the end {one['success']:.0%} of 100 episodes, cost "
              f"{last['cost']:.1f}, {last['wall_s']:.0f} s of wall clock", flush=True)  # fmt: skip
    if together and seeds:
        firsts = [first_solved(one) for one in seeds]
        ends = sorted(one["success"] for one in seeds)
        ordered = sorted(float("inf") if first is None else first for first in firsts)
        print(f"{name}: {sum(f is not None for f in firsts)} of {len(seeds)} seeds solved; experience: "
              f"median {statistics.median(ordered):.1f} s, worst {ordered[-1]:.1f} s; success of the last policies: "
              f"median {statistics.median(ends):.0%}, worst {ends[0]:.0%}")  # fmt: skip


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
    share.set(xlabel="experience (s)", ylabel=f"solved, of {len(seeds)} seeds", ylim=(-0.02, 1.02))
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
