"""MPC on MuJoCo environments with the environment itself as the model: no learning, returns over 1,000 steps.

    python benchmarks/known_models.py                          # all environments, seeds 0, 1 and 2
    python benchmarks/known_models.py --env HalfCheetah-v5 --seeds 100 --steps 200

iCEM plans on the simulator of the environment (`ft.known_model`) and acts in the environment as it is; returns
are always the environment's own.  For the cheetah the planner maximizes that same reward.  For the hopper that is too
short-sighted (a fall beyond the horizon costs nothing): a cost of our own asks to stay upright as well, and the model
is integrated in fewer, larger steps than the environment, which buys a longer horizon.  Each episode is saved as it
ends; those saved are not run again.

Settings were chosen on seed 100, with one exception: a first episode of the cheetah on seed 0, with 60 sequences over
20 steps, was stopped at step 700 (return 3,720), and the number of samples raised before the three reported were run.
"""

import json
import statistics
import time
from functools import partial

from common import RESULTS, arguments, describe, hardware, save, table

SETTINGS = {
    "HalfCheetah-v5": {"horizon": 25, "population": 100, "elites": 10, "iterations": 3, "noise": 0.5, "beta": 0.25},
    "Hopper-v5": {"horizon": 60, "population": 60, "elites": 10, "iterations": 3, "noise": 0.5, "beta": 2.0},
}
SPEED = 1.5  # m/s, that the hopper is asked to keep
NAME = "known_models"


def main() -> None:
    flags = arguments(
        __doc__,
        env={"nargs": "+", "default": list(SETTINGS), "choices": list(SETTINGS), "help": "environments"},
        seeds={"type": int, "nargs": "+", "default": [0, 1, 2], "help": "episodes, one for each seed"},
        steps={"type": int, "default": None, "help": "shorter episodes: nothing is saved"},
        set={"nargs": "+", "default": [], "help": "settings of the planner, as name=value: nothing is saved"},
    )
    changes = {name: json.loads(value) for name, value in (pair.split("=") for pair in flags.set)}
    steps = 5 if flags.quick else flags.steps
    kept = not (steps or changes or flags.quick)
    report = load() if kept else {"episodes": []}
    for name in flags.env:
        for seed in flags.seeds:
            if any(e["env"] == name and e["seed"] == seed for e in report["episodes"]):
                continue
            done = episode(name, seed, SETTINGS[name] | changes, steps)
            report = load() if kept else report  # another process may have added episodes meanwhile
            report["episodes"].append(done | {"hardware": hardware()})
            report["episodes"].sort(key=lambda e: (e["env"], e["seed"]))
            if kept:
                save(NAME, report)
    show(report)
    if kept:
        picture(report)


def episode(name: str, seed: int, settings: dict, steps: int | None) -> dict:
    """One episode of MPC, with its return and its times."""
    import jax.random as jr

    from forethought.envs.mujoco.known_model import known_system
    from forethought.planning.icem import ICEM
    from forethought.planning.mpc import MPC

    env, problem = known_system(name, horizon=steps) if name == "HalfCheetah-v5" else upright(name, steps, SPEED)
    stamps = [(time.perf_counter(), time.process_time(), 0.0)]

    def on_step(step: int, total: float) -> None:
        stamps.append((time.perf_counter(), time.process_time(), total))
        if step % 50 == 0:
            print(
                f"{name} seed {seed}: step {step}, return {total:.0f}, {stamps[-1][0] - stamps[0][0]:.0f} s", flush=True
            )

    env.run(MPC(ICEM(particles=1, **({"decay": 1.25} | settings)), problem), key=jr.key(seed), on_step=on_step)
    env.close()
    walls, processors = ([b[i] - a[i] for a, b in zip(stamps[1:-1], stamps[2:], strict=True)] for i in (0, 1))
    totals = [total for _, _, total in stamps]
    return {
        "env": name,
        "seed": seed,
        "steps": len(stamps) - 1,
        "return": totals[-1],
        "planning_wall_s": quantiles(walls),  # a step of the environment itself, under 1 ms, is included
        "planning_cpu_s": quantiles(processors),  # what the planning costs where nothing else runs on the machine
        "compile_s": stamps[1][0] - stamps[0][0],
        "return_every_10": [round(total, 1) for total in totals[::10]],
        "settings": settings | ({} if name == "HalfCheetah-v5" else {"speed": SPEED}),
    }


def upright(name: str, steps: int | None, speed: float) -> tuple:
    """The environment, and its model with a cost of our own and an integrator that takes a sixth of the time."""
    import copy

    import mujoco

    from forethought.envs.mujoco.known_model import known_model, known_system

    cost = partial(stay_upright, speed)
    env, exact = known_system(name, horizon=steps, cost=cost, termination=lambda _: False)
    model = copy.copy(exact.dynamics.simulator.model)
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST  # theirs is Runge-Kutta
    model.opt.timestep *= 2
    return env, known_model(model, cost=cost, frame_skip=exact.dynamics.simulator.frame_skip // 2, horizon=1000)


def stay_upright(wanted: float, x, u):
    """Forward at the wanted speed, the torso high and hardly tilted; states [x, z, angle, 3 joints; their speeds]."""
    import jax.numpy as jnp

    height, angle, speed = x[1], x[2], x[6]
    low, tilted = jnp.maximum(1.15 - height, 0), jnp.maximum(jnp.abs(angle) - 0.05, 0)
    fallen = (height < 0.8) | (tilted > 0.14)
    return jnp.abs(speed - wanted) + 10 * low + 10 * tilted + 10 * fallen + 0.001 * jnp.sum(u**2)


def quantiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


def load() -> dict:
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text()) if path.exists() else {"episodes": []}


def show(report: dict) -> None:
    print(describe(hardware()))
    rows = [
        [
            f"{e['env']}, seed {e['seed']}",
            e["steps"],
            e["return"],
            e["planning_wall_s"]["p50"],
            e["planning_cpu_s"]["p50"],
        ]
        for e in report["episodes"]
    ]
    print(table(["episode", "steps", "return", "s per step", "processor s per step"], rows))


def picture(report: dict) -> None:
    """Returns over steps."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names = [name for name in SETTINGS if any(e["env"] == name for e in report["episodes"])]
    _, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3), constrained_layout=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for e in (e for e in report["episodes"] if e["env"] == name):
            axis.plot(
                [10 * i for i in range(len(e["return_every_10"]))], e["return_every_10"], label=f"seed {e['seed']}"
            )
        axis.set(title=name, xlabel="step", ylabel="return so far")
        axis.legend(frameon=False)
    path = RESULTS.parents[1] / "docs" / "img" / "known_models.png"
    plt.savefig(path, dpi=120)
    print(f"saved: {path}")


if __name__ == "__main__":
    main()
