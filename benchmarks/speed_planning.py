"""One action of PETS: ours against mbrl 0.2.0, same settings, in turns, each turn in a fresh process.

    python benchmarks/peers/setup_mbrl.py     # once
    python benchmarks/speed_planning.py

CEM with 5 iterations of 350 sequences, horizon 15, 20 particles by TS-infinity, through 5 networks of 4 x 200 units
with SiLU; 4 observations, 1 action: mbrl's `pets_cartpole`, except that it has 7 networks and TS1. A measurement is
the median `act` after warm-up; compilation is reported separately. The matrix-product rate is measured in the same
process as our acts, on the product that takes most of their time, float32 [5, 1400, 200] x [5, 200, 200]; our share
of it counts the operations of matrix products only.
"""

import json
import statistics

from common import (
    LAYERS,
    MEMBERS,
    arguments,
    describe,
    forward_flops,
    hardware,
    ours,
    peer,
    save,
    seconds,
    summary,
    table,
)

ITERATIONS, POPULATION, HORIZON, PARTICLES, ELITES = 5, 350, 15, 20, 35


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 5, "help": "turns of each side"},
        acts={"type": int, "default": 7, "help": "acts in a turn, after two to warm up"},
    )
    if flags.quick:
        flags.repeats, flags.acts = 1, 2
    population = 50 if flags.quick else POPULATION
    if flags.measure:
        print(json.dumps(measure(flags.acts, population)))
        return
    report = compare(flags.repeats, flags.acts, population, flags.threads, ["--quick"] if flags.quick else [])
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_planning', report)}")


def compare(repeats: int, acts: int, population: int, threads: int, quick: list[str]) -> dict:
    """Both sides in turns."""
    machine = hardware()
    turns = []
    for _ in range(repeats):
        theirs = peer("peer_planning.py", "--acts", acts, "--population", population, "--threads", threads)
        mine = ours(__file__, "--acts", acts, "--threads", threads, *quick)
        turns.append({"mbrl": theirs, "forethought": mine})
        print(f"act: mbrl {theirs['act_s']:.3f} s, forethought {mine['act_s']:.3f} s", flush=True)
    flops = forward_flops(ITERATIONS * HORIZON * population * PARTICLES)
    mine = [turn["forethought"] for turn in turns]
    return {
        "hardware": machine,
        "settings": {"population": population, "iterations": ITERATIONS, "horizon": HORIZON, "particles": PARTICLES}
        | {"propagation": "ts-inf", "members": MEMBERS, "layers": LAYERS, "threads": threads, "repeats": repeats},
        "gflop_in_an_act": flops / 1e9,
        "mbrl_act_s": summary([turn["mbrl"]["act_s"] for turn in turns]),
        "forethought_act_s": summary([side["act_s"] for side in mine]),
        "forethought_compile_s": summary([side["compile_s"] for side in mine]),
        "times_faster": summary([turn["mbrl"]["act_s"] / turn["forethought"]["act_s"] for turn in turns]),
        "layer_gflops_xla": summary([side["layer_gflops"] for side in mine]),
        "square_gflops_xla": summary([side["square_gflops"] for side in mine]),
        "layer_gflops_torch": summary([turn["mbrl"]["layer_gflops"] for turn in turns]),
        "forethought_gflops": summary([flops / side["act_s"] / 1e9 for side in mine]),
        "mbrl_gflops": summary([flops / turn["mbrl"]["act_s"] / 1e9 for turn in turns]),
        "share_of_layer_rate": summary([flops / side["act_s"] / 1e9 / side["layer_gflops"] for side in mine]),
        "turns": turns,
    }


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    names = {
        "mbrl, one act [s]": "mbrl_act_s",
        "forethought, one act [s]": "forethought_act_s",
        "times faster": "times_faster",
        "forethought, compilation [s]": "forethought_compile_s",
        "matrix products: layer, XLA [GFLOP/s]": "layer_gflops_xla",
        "matrix products: square, XLA [GFLOP/s]": "square_gflops_xla",
        "matrix products: layer, torch [GFLOP/s]": "layer_gflops_torch",
        "mbrl, achieved [GFLOP/s]": "mbrl_gflops",
        "forethought, achieved [GFLOP/s]": "forethought_gflops",
        "forethought, share of XLA's layer rate": "share_of_layer_rate",
    }
    rows = [[text, *(report[name][k] for k in ("median", "min", "max"))] for text, name in names.items()]
    print(table([f"{report['gflop_in_an_act']:.1f} GFLOP in an act", "median", "min", "max"], rows))


def measure(acts: int, population: int) -> dict:
    """Our side, in this process."""
    import cartpole_balance
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    from forethought.core import Problem
    from forethought.dynamics.learned import LearnedDynamics
    from forethought.envs import open_env
    from forethought.models.ensemble import Ensemble
    from forethought.planning.cem import CEM
    from forethought.planning.mpc import MPC

    env = open_env(cartpole_balance.make(), cost=cartpole_balance.cost, termination=cartpole_balance.termination)
    model = Ensemble(members=MEMBERS, hidden=LAYERS[1:-1]).init(LAYERS[0], LAYERS[-1] // 2, key=jr.key(0))
    elites = max(1, ELITES * population // POPULATION)
    planner = CEM(HORIZON, population, elites, ITERATIONS, particles=PARTICLES)
    controller = MPC(planner, Problem(LearnedDynamics(model, env.space), env.task))
    step = eqx.filter_jit(lambda controller, x, t, carry, key: controller.act(x, t, carry, key=key))
    xs = jr.uniform(jr.key(1), (acts + 3, 4), minval=-0.05, maxval=0.05)
    carry = controller.init(xs[0], key=jr.key(2))

    def act(t: int) -> None:
        nonlocal carry
        _, carry = jax.block_until_ready(step(controller, xs[t], jnp.asarray(t), carry, jr.key(t)))

    first_s = seconds(act, 0)
    before = product_gflops(MEMBERS, PARTICLES * population // MEMBERS, LAYERS[1])
    act_s = [seconds(act, t) for t in range(1, acts + 3)][2:]
    after = product_gflops(MEMBERS, PARTICLES * population // MEMBERS, LAYERS[1])
    middle = statistics.median(act_s)
    return {
        "act_s": middle,
        "all_act_s": act_s,
        "compile_s": first_s - middle,
        "layer_gflops": max(before, after),
        "square_gflops": product_gflops(1, 2000, 2000, layers=4),
        "jax": jax.__version__,
        "device": jax.devices()[0].platform,
    }


def product_gflops(members: int, rows: int, width: int, *, layers: int = 50) -> float:
    """The best of eight rates of a chain of products [members, rows, width] x [members, width, width]."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    weights = jr.normal(jr.key(0), (members, width, width)) / jnp.sqrt(width)  # keeps the numbers near 1
    h = jr.normal(jr.key(1), (members, rows, width))

    @jax.jit
    def chain(h):
        return jax.lax.fori_loop(0, layers, lambda _, h: jnp.matmul(h, weights), h)

    jax.block_until_ready(chain(h))
    best = min(seconds(lambda: jax.block_until_ready(chain(h))) for _ in range(8))
    return 2 * members * rows * width * width * layers / best / 1e9


if __name__ == "__main__":
    main()
