"""Expected calibration error of learned models before and after recalibration, on held-out episodes.

    python benchmarks/recalibration.py                                   # four environments, two models, three seeds
    python benchmarks/recalibration.py --envs CartPoleSwingUp-v0 --models gp --seeds 40

For each environment 24 episodes of random actions (each held for 5 steps) are recorded: a model is fitted to 8, a
temperature for each coordinate to 8 others, and the errors are measured on the last 8.  The expected calibration error
is the mean distance of the observed from the nominal coverage, over the levels 5% to 95% and the coordinates: 0 is
perfect, 0.5 the worst.  One step ahead it is that of the predictive Gaussian, ten steps ahead that of 100 particles.
"""

import argparse
import json
import statistics

import jax.random as jr
import numpy as np
from common import RESULTS, hardware, table

import forethought as ft
from forethought.algorithms.model_fit import ModelFit
from forethought.core import Problem
from forethought.dynamics.recalibration import one_step_predictions, recalibrated
from forethought.models.recalibration import calibration_error
from forethought.policies import Uniform
from forethought.report.diagnostics import examine

ENVS = ("CartPoleSwingUp-v0", "PendulumSwingUp-v0", "ReacherTwoLink-v0", "QuadrotorHover-v0")
MODELS = {"ensemble": ft.Ensemble(hidden=(64, 64)), "gp": ft.GP()}
SEEDS = (40, 41, 42)
EPISODES, HOLD, AHEAD = 8, 5, 10
MOST_STEPS = 40  # of an episode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", choices=ENVS, default=list(ENVS))
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    flags = parser.parse_args()
    path = RESULTS / "recalibration.json"
    report = json.loads(path.read_text()) if path.exists() else {"results": []}
    report |= {"command": "python benchmarks/recalibration.py", "hardware": hardware()}
    for env in flags.envs:
        for model in flags.models:
            for seed in flags.seeds:
                one = measured(env, model, seed)
                known = [r for r in report["results"] if (r["env"], r["model"], r["seed"]) != (env, model, seed)]
                report["results"] = sorted([*known, one], key=lambda r: (ENVS.index(r["env"]), r["model"], r["seed"]))
                path.write_text(json.dumps(report, indent=1) + "\n")
    show(report["results"])


def measured(name: str, model: str, seed: int) -> dict:
    """One model, before and after recalibration."""
    env = ft.open_env(f"forethought/{name}")
    key, fit_key, draw_key = jr.split(jr.key(seed), 3)
    controller = Uniform(env.task.action_space, hold=HOLD)
    episodes = [env.run(controller, key=jr.fold_in(key, i), steps=MOST_STEPS) for i in range(3 * EPISODES)]
    training, unseen, tested = (episodes[i * EPISODES : (i + 1) * EPISODES] for i in range(3))
    learned, _, _ = ModelFit(MODELS[model]).fit(env, training, key=fit_key)
    after = recalibrated(learned.dynamics, env.space, unseen)
    errors = {}
    for when, dynamics in (("before", learned.dynamics), ("after", after)):
        pairs = [one_step_predictions(dynamics, env.space, episode) for episode in tested]
        residual, std = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        _, calibration = examine(Problem(dynamics, env.task), env.space, tested, key=draw_key, horizon=AHEAD, starts=64)
        errors[when] = float(np.mean(calibration_error(residual, std)))
        errors[f"{when}_{AHEAD}"] = calibration.error(AHEAD)
    return {
        "env": name,
        "model": model,
        "seed": seed,
        **errors,
        "temperature": np.asarray(after.model.temperature).tolist(),
    }


def show(results: list[dict]) -> None:
    """Means over the seeds."""
    rows = []
    for env, model in dict.fromkeys((one["env"], one["model"]) for one in results):
        found = [one for one in results if (one["env"], one["model"]) == (env, model)]
        names = ("before", "after", f"before_{AHEAD}", f"after_{AHEAD}")
        rows.append([env, model, len(found), *(statistics.mean(one[name] for one in found) for name in names)])
    head = ["environment", "model", "seeds", "before", "after", f"before, {AHEAD} steps", f"after, {AHEAD} steps"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
