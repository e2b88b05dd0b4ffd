"""Real steps that PETS needs on the cart-pole swing-up, with and without logged data at the start.

    python benchmarks/logged_data.py                          # five seeds: no data, a CSV file, a Minari data set
    python benchmarks/logged_data.py --seeds 40 --data csv    # one run; results of other runs are kept
    python benchmarks/logged_data.py --fit                    # one model from the CSV file and one from the Minari set

The logged data of a seed are 20 episodes (800 steps, 80 s) of random actions, each held for 5 steps.  They
are written as CSV with named columns and as a Minari data set, in runs/logged_data.  A training ends with the first
episode that solves the task; real steps are counted from its beginning, without the logged ones.
"""

import argparse
import csv
import json
import os
import statistics
from pathlib import Path

import jax.random as jr
import numpy as np
from common import RESULTS, ROOT, hardware, table

import forethought as ft
from forethought.policies import Uniform

ENV = "forethought/CartPoleSwingUp-v0"
ROUNDS = 15  # at most
PLANNER = {"horizon": 25, "population": 100, "elites": 10, "iterations": 4, "propagation": "mean"}
HIDDEN = (64, 64)
EPISODES, HOLD = 20, 5
SEEDS = tuple(range(40, 45))
KINDS = ("none", "csv", "minari")
ANGLES_OF = {"csv": ("pole angle (rad)",), "minari": ("2",)}  # a Minari set has no names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--data", nargs="+", choices=KINDS, default=list(KINDS), help="what a training starts with")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "logged_data", help="where data and runs are kept")
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation")
    parser.add_argument(
        "--fit", action="store_true", help="fit models to the data of the first seed instead of training"
    )
    flags = parser.parse_args()
    flags.runs.mkdir(parents=True, exist_ok=True)
    os.environ["MINARI_DATASETS_PATH"] = str((flags.runs / "minari").resolve())
    path = RESULTS / "logged_data.json"
    report = json.loads(path.read_text()) if path.exists() else {"runs": [], "fits": []}
    report |= {"command": "python benchmarks/logged_data.py", "hardware": hardware()}
    if flags.fit:
        report["fits"] = [fitted(kind, flags) for kind in ("csv", "minari")]
        path.write_text(json.dumps(report, indent=1) + "\n")
        return
    for seed in flags.seeds:
        for kind in flags.data:
            one = trained(kind, seed, flags)
            others = [r for r in report["runs"] if (r["data"], r["seed"]) != (kind, seed)]
            report["runs"] = sorted([*others, one], key=lambda r: (KINDS.index(r["data"]), r["seed"]))
            path.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def trained(kind: str, seed: int, flags: argparse.Namespace) -> dict:
    """One training, until an episode solves the task."""
    data = None if kind == "none" else logged(kind, seed, flags.runs)
    algorithm = ft.PETS(model=ft.Ensemble(hidden=HIDDEN), planner=ft.ICEM(**PLANNER))
    out = flags.runs / f"{kind}-seed{seed}"
    run = ft.train(algorithm, ENV, iterations=ROUNDS, until_solved=True, seed=seed, data=data, out=out, resume=True)
    lines, done = run.metrics, run.evaluate(flags.episodes).as_json()
    solved = [line["env_steps"] for line in lines if line["solved"]]
    return {
        "data": kind,
        "seed": seed,
        "steps_to_solve": solved[0] if solved else None,
        "rounds": len(lines),
        "wall_s": lines[-1]["wall_s"],
        "returns": [line["return"] for line in lines],
        "evaluation": {key: done[key] for key in ("episodes", "mean", "std", "success")},
    }


def fitted(kind: str, flags: argparse.Namespace) -> dict:
    """A model without an environment, and its error on held-out episodes."""
    out = flags.runs / f"fit-{kind}"
    data = logged(kind, flags.seeds[0], flags.runs)
    actions = ("force (N)",)
    run = (
        ft.load(out) if (out / "run.json").exists() else ft.fit(data, out=out, actions=actions, angles=ANGLES_OF[kind])
    )
    (line,) = run.metrics
    return {"data": kind, **{key: line[key] for key in ("episodes", "env_steps", "model_error", "wall_s")}}


def logged(kind: str, seed: int, folder: Path) -> str:
    """The logged data of a seed: the name of the file, or the id of the data set."""
    path, name = folder / f"cartpole-seed{seed}.csv", f"cartpole/random{seed}-v0"
    if not path.exists():
        write(seed, path, name)
    return str(path) if kind == "csv" else name


def write(seed: int, path: Path, name: str) -> None:
    """Record the episodes, and write them in both forms."""
    import gymnasium
    import minari

    env = ft.open_env(ENV)
    actions, key = env.task.action_space, jr.key(10_000 + seed)
    episodes = [env.run(Uniform(actions, hold=HOLD), key=jr.fold_in(key, i)) for i in range(EPISODES)]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["episode", "time (s)", *env.space.names, *actions.names])
        for number, episode in enumerate(episodes):
            xs = np.concatenate([episode.x, episode.x_next[-1:]])
            us = [*(f"{u:.7g}" for u in episode.u[:, 0]), ""]  # the last row holds a state only
            for i, (x, u) in enumerate(zip(xs, us, strict=True)):
                writer.writerow([number, f"{i * env.task.dt:.6g}", *(f"{value:.7g}" for value in x), u])
    buffers = [
        minari.data_collector.EpisodeBuffer(
            id=i,
            observations=np.concatenate([episode.x, episode.x_next[-1:]]),
            actions=episode.u,
            rewards=episode.reward,
            terminations=episode.terminated,
            truncations=episode.truncated,
            infos={},
        )
        for i, episode in enumerate(episodes)
    ]
    space = gymnasium.spaces.Box(-np.inf, np.inf, (env.space.size,), np.float32)
    limits = gymnasium.spaces.Box(np.asarray(actions.low), np.asarray(actions.high), dtype=np.float32)
    minari.create_dataset_from_buffers(name, buffers, observation_space=space, action_space=limits)


def show(report: dict) -> None:
    """Steps to the first solved episode: each seed, and the median."""
    rows = []
    for kind in KINDS:
        runs = [one for one in report["runs"] if one["data"] == kind]
        steps = [one["steps_to_solve"] for one in runs if one["steps_to_solve"] is not None]
        median = statistics.median(steps) if steps else None
        rows.append([kind, len(runs), len(steps), median, min(steps, default=None), max(steps, default=None)])
    print(table(["data", "seeds", "solved", "median steps", "least", "most"], rows))


if __name__ == "__main__":
    main()
