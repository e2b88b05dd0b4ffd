"""Time to solve the continuous cart-pole (balance): our PETS against that of mbrl 0.2.0, seed by seed.

    python benchmarks/peers/setup_mbrl.py     # once
    python benchmarks/time_to_solve.py

Solved, on both sides: the first planned episode of 200 steps in which the pole does not fall.  Counted, on both sides:
all real steps to the end of that episode, the random ones first; and the wall clock of the whole process, from its
start to its end, imports and compilation included.  Both know the same reward (1 for every step) and the same
terminal states.  mbrl runs its own loop with its own example settings; `pets_icem_cartpole` is the quicker one,
`--settings pets_cartpole pets_icem_cartpole` runs both.  Each run is a fresh process; the sides take turns.
"""

import json
import time

from common import arguments, describe, hardware, ours, peer, save, summary, table


def main() -> None:
    flags = arguments(
        __doc__,
        seeds={"type": int, "nargs": "+", "default": [10, 11, 12, 13, 14], "help": "one run of each side for each"},
        settings={"nargs": "*", "default": ["pets_icem_cartpole"], "help": "mbrl's example settings to run"},
        max_steps={"type": int, "default": 2000, "help": "real steps before a run gives up"},
        seed={"type": int, "default": 0, "help": "of the one run with --measure"},
    )
    if flags.measure:
        print(json.dumps(measure(flags.seed, flags.max_steps)))
        return
    if flags.quick:
        flags.seeds, flags.max_steps = [0], 260
    compare(flags, keep=not flags.quick)


def compare(flags, *, keep: bool) -> None:
    """All runs; what is known so far is saved after each."""
    report = {"hardware": hardware(), "solved_means": "a planned episode of 200 steps without a fall", "runs": []}
    limits = ["--threads", flags.threads, "--max-steps", flags.max_steps]
    for seed in flags.seeds:
        runs = {"forethought": lambda: ours(__file__, "--seed", seed, *limits)}  # noqa: B023  called in this turn
        for setting in flags.settings:
            small = ["--population", 20] if flags.quick else []
            runs[f"mbrl {setting}"] = lambda setting=setting: peer(
                "peer_cartpole.py", "--setting", setting, "--seed", seed, *limits, *small
            )
        for side, run in runs.items():
            result = run()
            report["runs"].append({"side": side, "seed": seed} | result)
            fate = "solved" if result["solved"] else "not solved"
            cost = f"{result['env_steps']} steps, {result['process_s']:.1f} s"
            print(f"{side}, seed {seed}: {fate} after {cost}", flush=True)
        report["sides"] = {side: summarize([run for run in report["runs"] if run["side"] == side]) for side in runs}
        report["ratios"] = ratios(report["sides"])
        if keep:
            path = save("time_to_solve", report)
    show(report)
    if keep:
        print(f"saved: {path}")


def summarize(runs: list[dict]) -> dict:
    """Of one side; a run that did not solve it counts with what it spent until it gave up."""
    return {
        "runs": len(runs),
        "solved": sum(run["solved"] for run in runs),
        "wall_s": summary([run["process_s"] for run in runs]),
        "env_steps": summary([run["env_steps"] for run in runs]),
    }


def ratios(sides: dict[str, dict]) -> dict[str, dict[str, float]]:
    """How many times less wall clock and fewer steps ours needs: ratios of medians."""
    mine = sides["forethought"]
    return {
        side: {name: theirs[name]["median"] / mine[name]["median"] for name in ("wall_s", "env_steps")}
        for side, theirs in sides.items()
        if side != "forethought"
    }


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    rows = []
    for side, total in report["sides"].items():
        ratio = report["ratios"].get(side, {"wall_s": None, "env_steps": None})
        solved = f"{total['solved']} of {total['runs']}"
        for name, text in (("wall_s", "wall clock [s]"), ("env_steps", "real steps")):
            rows.append([f"{side}, {text}", solved, *(total[name][k] for k in ("median", "min", "max")), ratio[name]])
    print(table(["", "solved", "median", "min", "max", "times ours"], rows))


def settings():
    """Ours: small networks suffice for so simple a system, and compile and plan quickly.

    The system has no noise, so particles differ by their member only ("mean").
    Chosen among five on seeds 0 to 4; reported on others.
    """
    import forethought as ft

    return ft.PETS(
        model=ft.Ensemble(members=5, hidden=(64, 64), batch=32, max_epochs=300),
        planner=ft.CEM(horizon=25, population=100, elites=10, iterations=3, particles=5, propagation="mean"),
        random_episodes=3,
        round_steps=1,
        refit_growth=0.0,
    )


def measure(seed: int, max_steps: int) -> dict:
    """Our side, in this process: rounds of PETS until an episode is solved."""
    import cartpole_balance
    import jax
    import jax.random as jr

    from forethought.envs import open_env

    start = time.perf_counter()
    algorithm = settings()
    env = StopWhenSolved(
        open_env(cartpole_balance.make(), cost=cartpole_balance.cost, termination=cartpole_balance.termination),
        exploration=algorithm.random_episodes,
    )
    key = jr.key(seed)
    state, solved, number = algorithm.init(env, key=key), False, 0
    try:
        while env.steps < max_steps:
            state, _ = algorithm.iterate(state, env, key=jr.fold_in(key, number))
            number += 1
    except Solved:
        solved = True
    report = {"solved": solved, "env_steps": env.steps, "episodes": env.lengths, "loop_s": time.perf_counter() - start}
    return report | {"jax": jax.__version__, "device": jax.devices()[0].platform}


class Solved(Exception):
    """The task is done."""


class StopWhenSolved:
    """An environment that counts steps; raises `Solved` after the first planned episode that runs its full length."""

    def __init__(self, env, *, exploration: int):
        self.env, self.exploration = env, exploration  # episodes of random actions that come first
        self.steps, self.lengths = 0, []

    def __getattr__(self, name: str):
        return getattr(self.env, name)

    def run(self, controller, **options):
        episode = self.env.run(controller, **options)
        self.steps += len(episode)
        self.lengths.append(len(episode))
        if len(self.lengths) > self.exploration and len(episode) == self.task.horizon and not episode.terminated[-1]:
            raise Solved
        return episode


if __name__ == "__main__":
    main()
