"""Gradients of a policy from imagined rollouts: error by their number, and bias by their length.

    python benchmarks/imagined_gradients.py            # a minute on one core; writes the figure of docs/imagined.md
    python benchmarks/imagined_gradients.py --quick    # tiny sizes, nothing saved: does everything run?

Pendulum swing-up, whose dynamics are known.  The true gradient is the mean over many rollouts of the known system.
Each model is an ensemble fitted to so many steps of random actions.  The policy is 2 tanh(theta [sin, cos, speed]).
Writes docs/img/imagined_gradients.svg and benchmarks/results/imagined_gradients.json.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, hardware

sys.path.insert(0, str(ROOT))

STEPS = (100, 300, 3000)  # of random actions, that the models are fitted to
NUMBERS = (10, 20, 40, 80, 160, 320, 640, 1280, 2560)  # imagined rollouts of an estimate
LENGTHS = (1, 2, 5, 10, 20, 40)  # steps of a rollout
BLOCK, COUNT, LENGTH = 10, 2048, 20  # rollouts of a sample, samples, and steps of a rollout on the left
SEED = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED, help="of data, models and rollouts")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved")
    flags = parser.parse_args()
    sizes = {"steps": (40,), "numbers": (10, 20), "lengths": (1, 2), "count": 8, "epochs": 2}
    full = {"steps": STEPS, "numbers": NUMBERS, "lengths": LENGTHS, "count": COUNT, "epochs": 200}
    results = measure(flags.seed, **(sizes if flags.quick else full))
    for name, row in results["models"].items():
        print(f"{name}: bias {row['bias'][0] ** 0.5 / results['norm']:.2g} of the gradient at {LENGTH} steps")
    if not flags.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "imagined_gradients.json").write_text(json.dumps(results, indent=1) + "\n")
        draw(results, ROOT / "docs" / "img" / "imagined_gradients.svg")


def measure(seed: int, *, steps: Any, numbers: Any, lengths: Any, count: int, epochs: int) -> dict[str, Any]:
    """Error by number and bias by length, of each model and of the known system."""
    import jax.numpy as jnp
    import jax.random as jr
    import numpy as np

    import forethought as ft
    from forethought.algorithms.model_learning import ModelLearning
    from forethought.core import Buffer
    from forethought.envs import collect
    from forethought.policies import Uniform
    from forethought.policies.gradient_diagnostics import error_by_rollouts, gradient_samples, relative_bias
    from forethought.policies.imagined import Imagination

    env = ft.open_env("forethought/PendulumSwingUp-v0")
    data_key, fit_key, sample_key, true_key = jr.split(jr.key(seed), 4)
    controller, buffer = Uniform(env.task.action_space, hold=5), Buffer.empty(2, 1)
    for i in range(-(-max(steps) // env.task.horizon)):
        buffer = buffer.append(collect(env, controller, key=jr.fold_in(data_key, i)))
    whole = buffer.rows()
    starts = jnp.asarray(whole.x)

    def act(theta, x):
        return 2 * jnp.tanh(theta @ jnp.stack([jnp.sin(x[0]), jnp.cos(x[0]), x[1]]))[None]

    theta = jnp.array([0.5, 0.2, 0.3])
    known = Imagination(env.problem, act, steps=LENGTH)
    sample = lambda imagination, key: np.asarray(  # noqa: E731
        gradient_samples(imagination, theta, starts, block=BLOCK, count=count, key=key)
    )
    truths = {H: sample(replace(known, steps=H), true_key) for H in (*lengths, LENGTH)}
    truth = truths[LENGTH].mean(0)
    learning = ModelLearning(ft.Ensemble(hidden=(32, 32), max_epochs=epochs, patience=30))
    models = {"known system": known}
    for rows in steps:
        some = Buffer.empty(2, 1, capacity=4096)
        some = some.append(first_rows(whole, rows))
        learned, _ = learning.fit(some, learning.init(env, key=fit_key), key=fit_key)
        models[f"model of {rows:,} steps"] = replace(known, problem=learned.problem(env))
    results: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/imagined_gradients.py"]),
        "hardware": hardware(),
        "seed": seed,
        "rollout_steps": LENGTH,
        "norm": float(np.linalg.norm(truth)),
        "models": {},
    }
    for name, imagination in models.items():
        samples = {H: sample(replace(imagination, steps=H), sample_key) for H in (*lengths, LENGTH)}
        found = error_by_rollouts(samples[LENGTH], truth, block=BLOCK, rollouts=numbers)
        results["models"][name] = {
            **{field: np.asarray(value).tolist() for field, value in found._asdict().items()},
            "lengths": list(lengths),
            "relative_bias": [relative_bias(samples[H], truths[H].mean(0)) for H in lengths],
        }
    return results


def first_rows(whole: Any, count: int) -> Any:
    """The first `count` transitions."""
    import jax

    return jax.tree.map(lambda leaf: leaf[:count], whole)


def draw(results: dict[str, Any], path: Path) -> None:
    """Left: error by number of rollouts.  Right: bias by their length."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "forethought"
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    unit = results["norm"]
    for i, (name, row) in enumerate(results["models"].items()):
        error = [value**0.5 / unit for value in row["error"]]
        left.plot(row["rollouts"], error, "o-", color=f"C{i}", label=name, markersize=3)
        left.plot(row["rollouts"], [v**0.5 / unit for v in row["variance"]], ":", color=f"C{i}")
        right.plot(row["lengths"], row["relative_bias"], "o-", color=f"C{i}", markersize=3)
    left.set(xscale="log", yscale="log", xlabel="imagined rollouts of an estimate")
    left.set(ylabel="error of the gradient, relative", title=f"{results['rollout_steps']} steps; dotted: spread alone")
    right.set(xscale="log", yscale="log", xlabel="steps of a rollout", ylabel="bias of the gradient, relative")
    right.set(title="Bias by length")
    left.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
