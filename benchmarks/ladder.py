"""The learning ladder: the same tasks by one rung after the other, and what goes wrong.  Data of docs/ladder.md.

    python benchmarks/ladder.py                             # every part, reporting seeds; continues where it stopped
    python benchmarks/ladder.py learn --tasks pendulum --rungs fit-once iterative mpc
    python benchmarks/ladder.py worsen gradients            # parts that need no learning runs, or one
    python benchmarks/ladder.py --quick                     # tiny sizes, nothing saved: does everything run?

Parts:
    learn      each rung on each task: `forethought train` and `evaluate`; return by real steps, drift of whole plans
    error      model error by horizon of each rung's last model, on new episodes of its own controller; whole plans:
               the distance of the executed from the predicted states, step by step
    worsen     how wrong a known model may be before MPC fails, against plans that are executed whole
    gradients  norm and spread of the policy's gradient by horizon, through a learned model, by each estimator
    physics    physics whose masses and friction are 30% off, with and without a learned residual, and no physics
Results go to benchmarks/results/ladder_PART.json, one object for each task, rung and seed, saved as they come; what is
there already is left out.  Tables and figures of docs/ladder.md are drawn from them at the end, or by `--draw` alone.
Runs are kept in runs/ladder.  Settings are tuned on seeds 100 - 119 only, and reported on
seeds 40 - 44.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from command import metrics_of
from common import ROOT
from rows import REPORTING_SEEDS, Rows, fill

sys.path.insert(0, str(ROOT))

TASKS = {  # name: environment, options of it, real steps to learn in
    "pendulum": ("forethought/PendulumSwingUp-v0", "", 600),
    "cart-pole": ("forethought/CartPoleSwingUp-v0", "", 600),
    "reacher": ("forethought/ReacherTwoLink-v0", "", 360),
    "mujoco reacher": ("Reacher-v5", "", 600),
}
NETWORK = "--model.hidden 64 64"  # the same for all rungs, and small: a plan through it takes a second, not ten
ICEM = "--planner icem"  # of all rungs that replan: with the true model it solves the pendulum, which CEM does not
FEWER = f"{ICEM} --planner.population 50 --planner.iterations 3"  # a prediction of a Gaussian process is dear
SEARCH = "--search.updates 600 --policy.exploration 0.3"
WHOLE = f"{SEARCH} --search.horizon 60 --search.value false --search.discount 1"  # most of an episode imagined
SHORT = f"{SEARCH} --search.horizon 15 --search.value true --search.discount 0.98"  # and a value for what follows
RUNGS = {  # name: algorithm and its flags
    "fit-once": f"fit-once {NETWORK} --iterations 6",  # the base policy's episodes, and five executions of a plan
    "fit-once open loop": f"fit-once {NETWORK} --feedback false --iterations 6",
    "iterative": f"iterative {NETWORK}",
    "iterative open loop": f"iterative {NETWORK} --feedback false",
    "mpc network": f"mpc {NETWORK} {ICEM} --model.members 1 --planner.propagation mean",
    "mpc gp": f"mpc --model gp {FEWER} --planner.propagation mean",
    "pets": f"pets {NETWORK} {ICEM} --planner.particles 5",
    "backprop": f"backprop {NETWORK} {WHOLE}",
    "backprop mixed": f"backprop {NETWORK} {WHOLE} --search.estimator mixed",
    "backprop one network": f"backprop {NETWORK} {WHOLE} --model.members 1",
    "backprop rbf": f"backprop {NETWORK} {WHOLE} --policy.kind rbf",
    "backprop 15 steps": f"backprop {NETWORK} {WHOLE} --search.horizon 15",
    "backprop 15 steps and value": f"backprop {NETWORK} {SHORT}",
}
QUICK = {
    "fit-once": "--base-episodes 1 --planner.iterations 2 --planner.starts 1 --model.max-epochs 3 --model.hidden 8",
    "iterative": "--planner.iterations 2 --planner.starts 1 --model.max-epochs 3 --model.hidden 8",
    "mpc": "--planner.horizon 3 --planner.population 10 --planner.elites 2 --planner.iterations 1",
    "pets": "--planner.horizon 3 --planner.population 10 --planner.elites 2 --planner.iterations 1 "
    "--model.max-epochs 3 --model.hidden 8",
    "backprop": "--search.updates 2 --search.horizon 2 --search.particles 5 --model.max-epochs 3 --model.hidden 8",
}
FACTORS = (0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2.0)  # on the masses of the model that plans
HORIZONS = (1, 2, 4, 8, 16, 32, 64)  # of the gradient
ACTING = ("mpc", "whole plan with feedback", "whole plan open loop")
WRONG = 1.3  # factor on masses and friction in the part physics
CURVE = ("env_steps", "return", "solved", "model_error", "drift", "drift_last", "predicted_cost", "executed_cost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="TASK")
    parser.add_argument("--rungs", nargs="+", choices=list(RUNGS), default=list(RUNGS), metavar="RUNG")
    parser.add_argument("--episodes", type=int, default=4, help="of each evaluation")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ladder", help="where the runs are kept")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="run nothing: write tables and figures from saved results")
    flags = parser.parse_args()
    if flags.quick:
        flags.seeds, flags.episodes = flags.seeds[:1], 1
    for part in (flags.parts or PARTS) if not flags.draw else ():
        fill(part, f"ladder_{part}", PARTS[part](flags), quick=flags.quick)
    if not flags.quick:
        from ladder_page import write_page

        write_page()


def learn(flags: argparse.Namespace) -> Rows:
    """A training and an evaluation for each task, rung and seed."""
    for task in flags.tasks:
        for rung in flags.rungs:
            for seed in flags.seeds:
                about = {"task": task, "rung": rung, "seed": seed}
                yield about, lambda task=task, rung=rung, seed=seed: trained(task, rung, seed, flags)


def run_path(task: str, rung: str, seed: int, flags: argparse.Namespace) -> Path:
    """Where a run is kept."""
    return flags.runs / f"{task}-{rung}-seed{seed}".replace(" ", "-")


def run_of(task: str, rung: str, seed: int, flags: argparse.Namespace) -> Path:
    """A run of the part learn, trained now if it is not there."""
    path = run_path(task, rung, seed, flags)
    if not path.exists():
        trained(task, rung, seed, flags)
    return path


def trained(task: str, rung: str, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    """The learning curve and the evaluation of one run."""
    from forethought.cli.main import main as forethought
    from forethought.runs.run import load

    env, options, steps = TASKS[task]
    algorithm, *settings = RUNGS[rung].split()
    out = run_path(task, rung, seed, flags)
    budget = [] if "--iterations" in settings else ["--env-steps", str(steps)]
    if flags.quick:
        budget, settings = ["--iterations", "2"], [*settings, *QUICK[algorithm].split()]
    command = [algorithm, env, "--seed", str(seed), *options.split(), *settings, *budget]
    if forethought(["train", *command, "--out", str(out), "--resume"]):  # in this process: seeds share what compiles
        raise SystemExit(f"forethought train {' '.join(command)} failed.")
    found = load(out).evaluate(flags.episodes)
    lines = metrics_of(out)
    curve = [{name: line.get(name) for name in CURVE} for line in lines]
    solved = [line["env_steps"] for line in lines if line["solved"]]
    return {
        "command": "forethought train " + " ".join(command),
        "mean": found.mean,
        "std": found.std if math.isfinite(found.std) else None,
        "success": found.success,
        "env_steps": found.env_steps,
        "steps_to_solved": solved[0] if solved else None,
        "wall_s": lines[-1]["wall_s"],
        "curve": curve,
    }


def error(flags: argparse.Namespace) -> Rows:
    """The last model of each run of the part learn."""
    for task in flags.tasks:
        for rung in flags.rungs:
            for seed in flags.seeds:
                about = {"task": task, "rung": rung, "seed": seed}
                yield about, lambda a=about: errors_of(a["task"], a["rung"], a["seed"], flags)


def errors_of(task: str, rung: str, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    """Model error after 1 .. 30 steps; of whole plans, the drift after each step, and both trajectories."""
    import jax.random as jr
    import numpy as np

    from forethought.algorithms.executed_plan import execute_plan
    from forethought.report.diagnostics import examine
    from forethought.runs.run import load

    run = load(run_of(task, rung, seed, flags))
    env, experience = run.env, getattr(run.state, "experience", run.state)
    problem, keys = run.algorithm.problem(run.state, env), jr.split(jr.key(seed), 3)
    steps = env.task.horizon
    if getattr(run.algorithm, "replans", True):
        episodes = [env.run(run.controller, key=key) for key in keys[:2]]
        more = {}
    else:
        options = {"feedback": run.algorithm.feedback, "key": keys[0]}
        executed = execute_plan(env, problem, run.algorithm.planner, **options)
        episodes = [executed.episode]
        more = {
            "drift": _plain(executed.drift(env.space, np.asarray(experience.buffer.rows().x))),
            "predicted": np.asarray(executed.plan.xs, float)[:, : env.space.size].tolist(),
            "executed": np.asarray(executed.episode.x_next, float).tolist(),
        }
    found, _ = examine(problem, env.space, episodes, key=keys[2], horizon=min(30, steps), starts=64, particles=20)
    return {"rmse": _plain(found.rmse), "unchanged": _plain(found.unchanged), **more}


def worsen(flags: argparse.Namespace) -> Rows:
    """Planning with a known model whose masses are wrong by a factor."""
    for task in (task for task in flags.tasks if task != "mujoco reacher"):
        for factor in (1.3,) if flags.quick else FACTORS:
            for acting in ACTING:
                for seed in flags.seeds:
                    about = {"task": task, "factor": factor, "acting": acting, "seed": seed}
                    yield about, lambda a=about: planned(a["task"], a["factor"], a["acting"], a["seed"], flags.quick)


def planned(task: str, factor: float, acting: str, seed: int, quick: bool) -> dict[str, Any]:
    """One episode of the true system, planned with the wrong model; the same planner for all ways of acting."""
    import jax.random as jr
    import numpy as np

    from forethought.algorithms.executed_plan import execute_plan
    from forethought.core import Problem, Trajectory
    from forethought.envs.open import open_env
    from forethought.planning.ilqr import ILQR
    from forethought.planning.mpc import MPC

    env: Any = open_env(TASKS[task][0])
    model = Problem(wrong(env.problem.dynamics, factor), env.task)
    planner = ILQR(starts=1, iterations=2) if quick else ILQR(starts=8, iterations=100)
    key = jr.key(seed)
    if acting == "mpc":
        once = dataclasses.replace(planner, horizon=min(env.task.horizon, 30), starts=4, kept=4, iterations=20)
        episode = env.run(MPC(once, model), key=jr.split(key)[1], steps=3 if quick else None)
        more = {}
    else:
        executed = execute_plan(env, model, planner, feedback=acting == "whole plan with feedback", key=key)
        episode = executed.episode
        more = executed.metrics(env.space, episode.x)
    solved = env.task.solved(Trajectory.of_episode(episode))
    return {"return": float(np.sum(episode.reward)), "solved": bool(solved), **more}


def wrong(dynamics: Any, factor: float) -> Any:
    """The same system with masses, moments of inertia and friction times `factor`; arrays, so that it compiles once."""
    import jax.numpy as jnp

    names = [f.name for f in dataclasses.fields(dynamics) if f.name.startswith(("mass", "inertia", "friction"))]
    names += [f.name for f in dataclasses.fields(dynamics) if f.name.endswith("_mass")]
    return dataclasses.replace(dynamics, **{name: jnp.float32(factor * getattr(dynamics, name)) for name in names})


def gradients(flags: argparse.Namespace) -> Rows:
    """The policy's gradient by horizon, through the model and at the policy of a backprop run without its remedies."""
    for task in flags.tasks:
        for seed in flags.seeds:
            for estimator in ("pathwise", "score", "mixed"):
                about = {"task": task, "estimator": estimator, "seed": seed}
                yield about, lambda a=about: gradient_of(a["task"], a["estimator"], a["seed"], flags)


def gradient_of(task: str, estimator: Any, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    """Norm and spread by horizon, and the growth of deviations along an imagined episode."""
    import jax.random as jr
    import numpy as np

    from forethought.envs.environment import Environment
    from forethought.policies.gradient_diagnostics import gradient_by_horizon, jacobian_growth
    from forethought.policies.imagined import imagine
    from forethought.runs.run import load

    run = load(run_of(task, "backprop", seed, flags))
    env = Environment(TASKS[task][0]).open()
    imagination = dataclasses.replace(run.algorithm.imagination(run.state, env), tail=None)
    theta, particles = run.state.policy.function, 5 if flags.quick else 100
    rows = run.state.experience.buffer.rows().x
    starts = np.resize(np.asarray(rows), (particles, rows.shape[1]))
    starts = np.pad(starts, ((0, 0), (0, int(env.learn_reward))))
    horizons = (1, 2) if flags.quick else HORIZONS
    options: Any = {"estimator": estimator, "key": jr.key(seed)}
    found = gradient_by_horizon(imagination, theta, np.asarray(starts, np.float32), horizons, **options)
    path = imagine(dataclasses.replace(imagination, steps=horizons[-1]), theta, starts[:particles], key=jr.key(seed))
    act = lambda theta, x: imagination.act(theta.prepared(), x)  # noqa: E731
    growth = jacobian_growth(imagination.problem.dynamics, act, theta, path.xs[0, :-1])
    return {
        "horizon": list(horizons),
        "norm": _plain(found.norm),
        "std": _plain(found.std),
        "score_share": _plain(found.score_share),
        "spectral_radius": _plain(growth.radius),
        "product": _plain(growth.product),
    }


def physics(flags: argparse.Namespace) -> Rows:
    """MPC with one network: no physics, wrong physics and a residual, or wrong physics alone."""
    for task in ("cart-pole", "quadrotor"):
        for knows in ("nothing", "wrong physics", "wrong physics alone"):
            for seed in flags.seeds:
                about = {"task": task, "knows": knows, "seed": seed}
                yield about, lambda a=about: with_physics(a["task"], a["knows"], a["seed"], flags)


def with_physics(task: str, knows: str, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    """Return by trial."""
    import jax.random as jr
    import numpy as np

    from forethought.core import Problem, Trajectory
    from forethought.envs.environment import Environment
    from forethought.planning.mpc import MPC
    from forethought.runs.driver import train
    from forethought.runs.run import load

    name = TASKS["cart-pole"][0] if task == "cart-pole" else "forethought/QuadrotorHover-v0"
    env: Any = Environment(name).open()
    rest = wrong(env.problem.dynamics, WRONG)
    algorithm = physics_algorithm(flags.quick)
    if knows == "wrong physics alone":
        controller = MPC(algorithm.planner, Problem(rest, env.task))
        episodes = [env.run(controller, key=jr.fold_in(jr.key(seed), i)) for i in range(flags.episodes)]
        solved = [env.task.solved(Trajectory.of_episode(episode)) for episode in episodes]
        returns = [float(np.sum(episode.reward)) for episode in episodes]
        return {"mean": float(np.mean(returns)), "success": float(np.mean([bool(s) for s in solved]))}
    out = flags.runs / f"physics-{task}-{knows}-seed{seed}".replace(" ", "-")
    options = {"physics": rest} if knows == "wrong physics" else {}
    rounds = 2 if flags.quick else {"cart-pole": 10, "quadrotor": 6}[task]
    train(algorithm, name, iterations=rounds, seed=seed, out=out, resume=True, progress=False, **options)
    run = load(out, **options)
    found = run.evaluate(episodes=flags.episodes)
    curve = [{name: line.get(name) for name in CURVE} for line in run.metrics]
    return {"mean": found.mean, "success": found.success, "curve": curve}


def physics_algorithm(quick: bool) -> Any:
    """The same for all that is known."""
    from forethought.algorithms.mpc import LearnedMPC
    from forethought.models.ensemble import Ensemble
    from forethought.planning.icem import ICEM

    if quick:
        planner = ICEM(horizon=3, population=10, elites=2, iterations=1, particles=1)
        return LearnedMPC(model=Ensemble(members=1, hidden=(8,), max_epochs=3), planner=planner)
    model = Ensemble(members=1, hidden=(64, 64))
    return LearnedMPC(model=model, planner=ICEM(particles=1, propagation="mean"))


def _plain(values: Any) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


PARTS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "learn": learn,
    "error": error,
    "worsen": worsen,
    "gradients": gradients,
    "physics": physics,
}


if __name__ == "__main__":
    main()
