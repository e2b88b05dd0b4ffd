"""One MPPI command: ours against pytorch-mppi, same problem and settings, in turns, each turn in a fresh process.

    python benchmarks/peers/setup_mppi.py     # once
    python benchmarks/speed_mppi.py

Gymnasium's pendulum (30 steps of 0.05 s), temperature 1, noise of standard deviation 1 N m, float32. A measurement is
the median command of an episode of 100 steps that starts hanging, after its first quarter; compilation is reported
separately. The costs of the episodes show that both do the same work: a swing-up. Our model's sine is
`forethought.core.trigonometry.sin`, vectorized as PyTorch's is and `jnp.sin` on a CPU is not; `--plain-sine` takes
`jnp.sin`. Processor time and the least wall clock are reported beside the median: they depend less on the load of the
machine.
"""

import json
import statistics
import time

from common import BENCHMARKS, ROOT, arguments, describe, hardware, ours, peer, save, summary, table

PYTHON = ROOT / ".venv-mppi" / "bin" / "python"
CLOCKS = {"act_s": "median wall", "act_cpu_s": "median processor", "least_act_s": "least wall"}
SETUP = BENCHMARKS / "peers" / "setup_mppi.py"


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 5, "help": "turns of each side"},
        acts={"type": int, "default": 100, "help": "commands in a turn"},
        population={"type": int, "nargs": "+", "default": [1000, 10000], "help": "action sequences in a command"},
        plain_sine={"action": "store_true", "help": "our model with jnp.sin"},
        compiled={"action": "store_true", "help": "the peer also with torch.compile"},
    )
    if flags.quick:
        flags.repeats, flags.acts = 1, 8
    if flags.measure:
        print(json.dumps(measure(flags.acts, flags.population[0], flags.plain_sine)))
        return
    report = {"hardware": hardware(), "repeats": flags.repeats, "acts": flags.acts, "threads": flags.threads}
    report["populations"] = {str(n): compare(n, flags) for n in flags.population}
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_mppi', report)}")


def compare(population: int, flags) -> dict:
    """Both sides in turns; the peer also with `torch.compile`, where asked for."""
    turns = []
    plain = ["--plain-sine"] if flags.plain_sine else []
    for _ in range(flags.repeats):
        same = ("--population", population, "--acts", flags.acts, "--threads", flags.threads)
        turn = {
            "pytorch_mppi": peer("peer_mppi.py", *same, python=PYTHON, setup=SETUP),
            "forethought": ours(__file__, *same, *plain),
        }
        if flags.compiled:
            turn["pytorch_mppi_compiled"] = peer("peer_mppi.py", *same, "--compile", python=PYTHON, setup=SETUP)
        turns.append(turn)
        print(
            population, {n: [f"{1e3 * side[clock]:.3f} ms" for clock in CLOCKS] for n, side in turn.items()}, flush=True
        )
    sides, faster = {}, {}
    for name in turns[0]:
        for clock, text in CLOCKS.items():
            times = [turn[name][clock] for turn in turns]
            sides[f"{name}, {text}"] = summary(times)
            if name != "forethought":
                ratios = [time / turn["forethought"][clock] for time, turn in zip(times, turns, strict=True)]
                faster[f"{name}, {text}"] = summary(ratios)
    costs = {name: summary([turn[name]["episode_cost"] for turn in turns]) for name in turns[0]}
    compile_s = summary([turn["forethought"]["compile_s"] for turn in turns])
    return {"act_s": sides, "times_faster": faster, "episode_cost": costs, "compile_s": compile_s, "turns": turns}


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    for population, sizes in report["populations"].items():
        rows = [[f"{name} [ms]", *(1e3 * s for s in side.values())] for name, side in sizes["act_s"].items()]
        rows += [[f"times faster than {name}", *ratio.values()] for name, ratio in sizes["times_faster"].items()]
        rows += [[f"cost of an episode, {name}", *cost.values()] for name, cost in sizes["episode_cost"].items()]
        rows += [["forethought, compilation [s]", *sizes["compile_s"].values()]]
        print(table([f"{population} samples", "median", "min", "max"], rows))


def measure(acts: int, population: int, plain_sine: bool) -> dict:
    """Our side, in this process."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jax.random as jr
    import numpy as np

    from forethought.core import Box, Delta, Problem
    from forethought.core.trigonometry import sin
    from forethought.envs.acting import Actor
    from forethought.planning.mpc import MPC
    from forethought.planning.mppi import MPPI
    from forethought.tasks.function_task import FunctionTask

    sine = jnp.sin if plain_sine else sin

    class Pendulum(eqx.Module):
        """Gymnasium's Pendulum-v1: angle 0 is upright, states [angle, speed], actions within 2 N m."""

        def __call__(self, x, u, t):
            del t
            speed = jnp.clip(x[1] + (15.0 * sine(x[0]) + 3.0 * u[0]) * 0.05, -8, 8)
            return Delta(jnp.stack([x[0] + speed * 0.05, speed]))

        def draw(self, *, key):
            del key
            return self

    def cost(x, u):
        angle = x[0] - 2 * jnp.pi * jnp.floor((x[0] + jnp.pi) / (2 * jnp.pi))
        return angle**2 + 0.1 * x[1] ** 2 + 0.001 * u[0] ** 2

    class Upright(eqx.Module):
        """The same cost for the last state too, which the peer also counts."""

        base: FunctionTask
        action_space: Box

        def cost(self, x, u, t):
            return self.base.cost(x, u, t)

        def final_cost(self, x):
            return cost(x, jnp.zeros(1))

        def terminal(self, x):
            return self.base.terminal(x)

    limits = Box.symmetric(jnp.array([2.0]))
    problem = Problem(Pendulum(), Upright(FunctionTask(100, 0.05, limits, cost, lambda _: jnp.zeros((), bool)), limits))
    planner = MPPI(30, population, 1, temperature=1.0, noise=0.5, beta=0.0, particles=1)
    advance = jax.jit(lambda x, u: (problem.dynamics(x, u, 0).mean, cost(x, u)))
    x = np.array([np.pi, 0.0], np.float32)
    actor, costs, act_s, act_cpu_s = Actor(key=jr.key(0)), [], [], []
    actor.take(MPC(planner, problem), x, 0)
    for t in range(acts):
        start = time.perf_counter(), time.process_time()
        u = np.asarray(actor(x, t))
        act_s.append(time.perf_counter() - start[0])
        act_cpu_s.append(time.process_time() - start[1])
        x, paid = (np.asarray(value) for value in advance(x, u))
        costs.append(float(paid))
    middle, cpu = (statistics.median(times[acts // 4 :]) for times in (act_s, act_cpu_s))
    return {
        "act_s": middle,
        "act_cpu_s": cpu,
        "least_act_s": min(act_s),
        "compile_s": act_s[0] - middle,
        "episode_cost": sum(costs),
        "jax": jax.__version__,
    }


if __name__ == "__main__":
    main()
