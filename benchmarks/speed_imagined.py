"""Time to 200 on the continuous cart-pole (balance): our MBPO against that of mbrl 0.2.0, seed by seed.

    python benchmarks/peers/setup_mbrl.py     # once
    python benchmarks/speed_imagined.py
    python benchmarks/speed_imagined.py --random-steps 200 5000

Solved, on both sides: the first test episode of 200 steps, one after each 200 real steps, in which the pole does not
fall.  Counted, on both sides: the real steps so far, the random ones first, and the wall clock of the whole process,
imports and compilation included.  Both learn the reward and know the terminal states.  mbrl runs its own loop with
its example settings: seven members of four layers of 200 units, fitted every 200 steps, 400 one-step rollouts and 20
updates of SAC (layers of 256 units) for each real step; real actions are the policy's mode, imagined ones are sampled.
Ours runs with these (`same`), where the matrix products of SAC alone take 0.54 GFLOP an update on both sides, and with
the small networks that suffice for this system and sampled real actions (`small`): with the mode, small networks on
some seeds never leave a policy that accelerates to one side.  Settings were looked at on seeds 0 to 12 and 100 to 104.
Each run is a fresh process; the sides take turns.
"""

import json
import time

from common import arguments, describe, hardware, ours, peer, save, summary, table

SETTINGS = ("same", "small")
SIDES = {"small": "forethought, small networks", "same": "forethought, same settings", "mbrl": "mbrl"}


def main() -> None:
    flags = arguments(
        __doc__,
        seeds={"type": int, "nargs": "+", "default": [20, 21, 22], "help": "one run of each side for each"},
        random_steps={"type": int, "nargs": "+", "default": [200], "help": "first steps; a comparison for each"},
        max_steps={"type": int, "default": 3000, "help": "real steps, after the random ones, before a run gives up"},
        setting={"choices": sorted(SETTINGS), "default": "same", "help": "of the one run with --measure"},
        seed={"type": int, "default": 0, "help": "of the one run with --measure"},
    )
    if flags.measure:
        print(json.dumps(measure(flags.setting, flags.seed, flags.random_steps[0], flags.max_steps)))
        return
    if flags.quick:
        flags.seeds, flags.random_steps, flags.max_steps = [0], [200], 400
    compare(flags, keep=not flags.quick)


def compare(flags, *, keep: bool) -> None:
    """All runs; what is known so far is saved after each."""
    report = {"hardware": hardware(), "solved_means": "a test episode of 200 steps without a fall", "runs": []}
    for random_steps in flags.random_steps:
        for seed in flags.seeds:
            given = ["--random-steps", random_steps, "--seed", seed, "--threads", flags.threads]
            given += ["--max-steps", flags.max_steps]
            for side, run in {
                "small": lambda: ours(__file__, "--setting", "small", *given),  # noqa: B023  called in this turn
                "same": lambda: ours(__file__, "--setting", "same", *given),  # noqa: B023
                "mbrl": lambda: peer("peer_mbpo.py", *given),  # noqa: B023
            }.items():
                result = run()
                report["runs"].append({"side": side, "random_steps": random_steps, "seed": seed} | result)
                fate = "solved" if result["solved"] else "not solved"
                cost = f"{result['env_steps']} steps, {result['process_s']:.1f} s"
                print(f"{side}, {random_steps} random steps, seed {seed}: {fate} after {cost}", flush=True)
            report["comparisons"] = [comparison(report["runs"], steps) for steps in flags.random_steps]
            if keep:
                path = save("speed_imagined", report)
    show(report)
    if keep:
        print(f"saved: {path}")


def comparison(runs: list[dict], random_steps: int) -> dict:
    """Both sides after the same number of random steps; a run that gave up counts with what it spent."""
    sides = {
        side: [run for run in runs if (run["side"], run["random_steps"]) == (side, random_steps)] for side in SIDES
    }
    result = {
        side: {
            "runs": len(some),
            "solved": sum(run["solved"] for run in some),
            "wall_s": summary([run["process_s"] for run in some]),
            "env_steps": summary([run["env_steps"] for run in some]),
        }
        for side, some in sides.items()
        if some
    }
    if "mbrl" in result:
        theirs = result["mbrl"]["wall_s"]["median"]
        result["times"] = {side: theirs / result[side]["wall_s"]["median"] for side in SETTINGS if side in result}
    return {"random_steps": random_steps, **result}


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    rows = []
    for one in report["comparisons"]:
        for side in SIDES:
            total = one[side]
            for name, text in (("wall_s", "wall clock [s]"), ("env_steps", "real steps")):
                ratio = one["times"].get(side) if name == "wall_s" else None
                spread = [total[name][key] for key in ("median", "min", "max")]
                solved = f"{total['solved']} of {total['runs']}"
                rows.append([f"{SIDES[side]}, {one['random_steps']} random steps, {text}", solved, *spread, ratio])
    print(table(["", "solved", "median", "min", "max", "times less"], rows))


def settings(setting: str, random_steps: int):
    """Ours: the example settings of mbrl for this task, or small networks and sampled real actions."""
    import forethought as ft
    from forethought.algorithms.branched_rollouts import BranchedRollouts
    from forethought.learners.sac import SACLearner

    small = setting == "small"
    units, layers, members = (64, 2, 6) if small else (200, 4, 7)
    return ft.MBPO(
        learner=SACLearner(
            hidden=(units, units) if small else (256, 256),
            initial_temperature=1.0,
            target_entropy=-0.05,
            tau=0.00125,  # mbrl: 0.005 in every fourth update
            initializer="glorot",
        ),
        model=ft.Ensemble(
            members=members, hidden=(units,) * layers, batch=256, patience=5, holdout=0.2, bootstrap=False
        ),
        rollouts=BranchedRollouts(batch=200 * members, per_step=400.0, capacity=80_000),
        real_ratio=0.0,
        updates_per_step=20.0,
        retrain_every=200,
        random_steps=random_steps,
        round_steps=200,
        acting="sampled" if small else "mode",
    )


def measure(setting: str, seed: int, random_steps: int, max_steps: int) -> dict:
    """Our side, in this process: rounds of MBPO until a test episode is solved."""
    import cartpole_balance
    import jax
    import jax.random as jr

    from forethought.envs import open_env
    from forethought.envs.env import collect

    start = time.perf_counter()
    algorithm = settings(setting, random_steps)
    env, test = (open_env(cartpole_balance.make(), termination=cartpole_balance.termination) for _ in range(2))
    key = jr.key(seed)
    state, solved, number = algorithm.init(env, key=key), False, 0
    while not solved and int(state.steps) < random_steps + max_steps:
        round_key = jr.fold_in(key, number)
        state, _ = algorithm.iterate(state, env, key=round_key)
        episode = collect(test, algorithm.controller(state, test), key=jr.fold_in(round_key, 1))
        solved = len(episode) == test.task.horizon and not bool(episode.terminated[-1])
        number += 1
    report = {"solved": solved, "env_steps": int(state.steps), "loop_s": time.perf_counter() - start}
    return report | {"jax": jax.__version__, "device": jax.devices()[0].platform}


if __name__ == "__main__":
    main()
