"""Value and gradient of PILCO's expected cost: ours against plain JAX and TorchRL's parts, each in fresh processes.

    python benchmarks/peers/setup_torchrl.py     # once
    python benchmarks/speed_pilco.py

The moment-matching rollout of the cart-pole: 40 steps, 4 coordinates, 1 action, 50 RBF units, N data, hyper-parameters
given, float64; the gradient is by all of the policy's parameters.  Plain JAX (`peers/peer_pilco_jax.py`) computes the
same and is the reference for value and gradient; TorchRL's parts know no angles and do less work.  Turns alternate, so
that a busy machine is busy for all.  Memory is what the process grows by, compilation included.

Then one whole round with the default settings, at 200 rows: the process fitted, the policy searched, in seconds of the
second time (the first compiles); with restarts (720 evaluations at most) and, as after a solved trial, without (200).
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import BENCHMARKS, ROOT, arguments, describe, hardware, ours, peer, save, summary, table

UNITS, HORIZON = 50, 40
PYTHON = ROOT / ".venv-torchrl" / "bin" / "python"
SETUP = BENCHMARKS / "peers" / "setup_torchrl.py"
TARGETS = {100: 0.030, 200: 0.080, 300: 0.200}  # s
COMPILE_TARGET = 5.0  # s
ROUND_ROWS, ROUND_TARGET = 200, 15.0  # data, s
STEP = 5e-3  # of finite differences, in the policy's parameters


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 3, "help": "turns of each side"},
        rows={"type": int, "nargs": "+", "default": [100, 200, 300], "help": "data"},
        data={"help": "for --measure"},
        without_torchrl={"action": "store_true", "help": "ours and plain JAX only"},
        whole_round={"action": "store_true", "help": "for --measure"},
        torchrl_rows={"type": int, "default": 300, "help": "most data for TorchRL: at 300 it takes 10 GiB"},
        peer_python={"type": Path, "default": PYTHON, "help": "TorchRL's Python"},
    )
    if flags.quick:
        flags.repeats, flags.rows = 1, [20]
    if flags.measure:
        print(json.dumps((measure_round if flags.whole_round else measure)(Path(flags.data))))
        return
    report = {"hardware": hardware(), "repeats": flags.repeats, "units": UNITS, "horizon": HORIZON, "rows": {}}
    for rows in flags.rows:
        report["rows"][str(rows)] = compare(
            rows, flags, torchrl=not flags.without_torchrl and rows <= flags.torchrl_rows
        )
    report["round"] = whole_round(20 if flags.quick else ROUND_ROWS, flags.threads)
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_pilco', report)}")


def compare(rows: int, flags, *, torchrl: bool) -> dict:
    """All sides in turns."""
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **data(rows))
        for _ in range(flags.repeats):
            turn = {"forethought": ours(__file__, "--data", path, "--threads", flags.threads)}
            turn["plain JAX"] = peer("peer_pilco_jax.py", "--data", path, python=Path(sys.executable))
            if torchrl:
                words = ("--data", path, "--threads", flags.threads)
                turn["TorchRL"] = peer("peer_torchrl.py", *words, python=flags.peer_python, setup=SETUP)
            turns.append(turn)
            print(rows, {name: f"{side['median_s']:.3f} s" for name, side in turn.items()}, flush=True)
    return {"agreement": agreement(turns[0]), **figures(turns)}


def whole_round(rows: int, threads: int) -> dict:
    """Of PILCO, our side only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **data(rows))
        return {"rows": rows, **ours(__file__, "--whole-round", "--data", path, "--threads", threads)}


def agreement(turn: dict) -> dict:
    """Relative differences from the reference, and of the gradient from finite differences of our own value."""
    ours, reference = turn["forethought"], turn["plain JAX"]
    a, b = np.array(ours["gradient"]), np.array(reference["gradient"])
    return {
        "value": abs(ours["value"] / reference["value"] - 1),
        "gradient": float(np.linalg.norm(a - b) / np.linalg.norm(b)),
        "gradient_by_finite_differences": ours["difference"],
    }


def figures(turns: list[dict]) -> dict:
    """Over the turns; a gradient is too long to keep."""
    sides = {}
    for name in turns[0]:
        numbers = [turn[name] for turn in turns]
        keys = [key for key, value in numbers[0].items() if isinstance(value, float)]
        sides[name] = {key: summary([one[key] for one in numbers]) for key in keys}
        sides[name]["version"] = numbers[0].get("version")
    ratios = {
        name: {
            key: summary([turn[name][key] / turn["forethought"][key] for turn in turns])
            for key in ("median_s", "best_s", "cpu_s")
        }
        for name in turns[0]
        if name != "forethought"
    }
    return {"sides": sides, "times_faster": ratios}


def data(rows: int) -> dict[str, np.ndarray]:
    """The cart-pole pushed at random, hyper-parameters of the size that fits find, and a policy at random."""
    random = np.random.default_rng(rows)
    x, u, x_next = episodes(rows, random)
    noisy, y = x + 0.01 * random.normal(size=x.shape), x_next - x + 0.014 * random.normal(size=x.shape)
    features = np.concatenate([noisy[:, [0, 1, 3]], np.sin(noisy[:, 2:3]), np.cos(noisy[:, 2:3])], axis=1)
    z = np.concatenate([features, u], axis=1)
    lengthscale = np.array([60, 12, 1.5, 1.2, 1.2, 2.5]) * z.std(0) * np.exp(0.1 * random.normal(size=(4, 6)))
    noise, offset = np.full(4, 0.014), y.mean(0)
    signal = 3 * y.std(0)
    beta, inverse = [], []
    for a in range(4):
        scaled = z / lengthscale[a]
        squares = np.sum((scaled[:, None] - scaled[None]) ** 2, -1)
        inverse.append(np.linalg.inv(signal[a] ** 2 * np.exp(-0.5 * squares) + noise[a] ** 2 * np.eye(rows)))
        beta.append(inverse[-1] @ (y[:, a] - offset[a]))
    scale = features.std(0)
    centers = features[random.integers(rows, size=UNITS)] / scale + 0.1 * random.normal(size=(UNITS, 5))
    return {
        **{"x": noisy, "u": u, "y": y, "z": z, "beta": np.stack(beta), "inverse": np.stack(inverse)},
        **{"lengthscale": lengthscale, "signal": signal, "noise": noise, "offset": offset, "scale": scale},
        **{"start_mean": np.zeros(4), "start_cov": 0.01 * np.eye(4)},
        **{"centers": centers, "targets": 0.25 * random.normal(size=(UNITS, 1)), "log_lengthscale": np.zeros((1, 5))},
    }


def episodes(rows: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transitions of the cart-pole, 40 to an episode, with the force held for 0.1 s."""

    def slope(x: np.ndarray, u: float) -> np.ndarray:
        _, v, angle, w = x
        sine, cosine, push = np.sin(angle), np.cos(angle), u - 0.1 * v
        inertia = 4 - 1.5 * cosine**2
        vd = (0.5 * w**2 * sine + 1.5 * 9.82 * sine * cosine + 4 * push) / inertia
        return np.array(
            [v, vd, w, (-0.75 * w**2 * sine * cosine - 6 * 9.82 * sine - 6 * push * cosine) / 0.5 / inertia]
        )

    before, actions, after = [], [], []
    for row in range(rows):
        x = 0.1 * random.normal(size=4) if row % HORIZON == 0 else after[-1]
        u, h = random.uniform(-10, 10), 0.01
        before.append(x)
        for _ in range(10):
            k1 = slope(x, u)
            k2 = slope(x + 0.5 * h * k1, u)
            k3 = slope(x + 0.5 * h * k2, u)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3, u))
        actions.append([u])
        after.append(x)
    return np.array(before), np.array(actions), np.array(after)


def measure(path: Path) -> dict:
    """Our side, in this process."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from forethought.algorithms.pilco_objective import ExpectedCost
    from forethought.core import Box, Gaussian
    from forethought.dynamics.learned import LearnedDynamics
    from forethought.dynamics.space import StateSpace
    from forethought.models.gp.conditioning import condition
    from forethought.policies.squashed import RBF, SquashedPolicy
    from forethought.tasks.cartpole_swing_up import CartPoleSwingUp

    with jax.enable_x64(True):
        given = {name: jnp.asarray(array) for name, array in np.load(path).items()}
        hypers = {name: given[name] for name in ("lengthscale", "signal", "noise", "offset")}
        model = condition(given["z"], given["y"], **hypers)
        function = RBF(given["centers"], given["targets"], given["log_lengthscale"])
        dynamics, task = LearnedDynamics(model, StateSpace(4, (2,))), CartPoleSwingUp()
        limit = jnp.array([task.force_limit])
        policy = SquashedPolicy(function, Box.symmetric(limit), given["scale"], dynamics.space)
        starts = Gaussian(given["start_mean"][None], given["start_cov"][None])
        objective = ExpectedCost(dynamics, task, starts, jnp.ones(HORIZON + 1, bool), jnp.zeros(()))
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin, begin_cpu = time.perf_counter(), time.process_time()
        call = eqx.filter_jit(lambda objective, policy: objective(policy)).lower(objective, policy).compile()
        compile_s, compile_cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
        run = timed(lambda: jax.block_until_ready(call(objective, policy)))
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
        value, gradient = call(objective, policy)

        @eqx.filter_jit
        def cost(function: RBF) -> jax.Array:
            return jnp.sum(objective.predict(policy.with_function(function)).cost)

        report = {"value": float(value), "compile_s": compile_s, "compile_cpu_s": compile_cpu_s, **run}
        alone = timed(lambda: jax.block_until_ready(cost(function)))
        report |= {"memory_mib": memory, "value_alone_s": alone["median_s"], "value_alone_cpu_s": alone["cpu_s"]}
        report["difference"] = difference(cost, function, gradient)
        report["gradient"] = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]).tolist()
    return report


def measure_round(path: Path) -> dict:
    """One fit and one search, twice."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    from forethought.algorithms.pilco import PILCO
    from forethought.core import Buffer, Transition
    from forethought.core.precision import in_float64
    from forethought.dynamics.learned import fit_dynamics
    from forethought.envs.open import open_env

    given = np.load(path)
    x, u = given["x"].astype(np.float64), given["u"].astype(np.float64)
    flags = np.zeros(len(x), bool)
    steps = Transition(x, u, x + given["y"], np.zeros(len(x)), flags, flags)
    env, algorithm, report = open_env("forethought/CartPoleSwingUp-v0"), PILCO(), {}
    with jax.enable_x64(True):
        state = algorithm.init(env, key=jr.key(0))
        buffer = Buffer.empty(4, 1, dtype=jnp.float64).append(steps)
        for turn in ("first", "second"):
            begin = time.perf_counter()
            dynamics, _ = fit_dynamics(algorithm.model, buffer, state.dynamics, key=jr.key(1))
            report[f"{turn}_fit_s"] = time.perf_counter() - begin
            fitted = eqx.tree_at(lambda s: (s.buffer, s.dynamics, s.round), state, (buffer, dynamics, jnp.asarray(5)))
            for name, restarts in (("search", algorithm.search.restarts), ("search_without_restarts", 0)):
                begin = time.perf_counter()
                _, found = algorithm.improve(in_float64(fitted), env, restarts=restarts, key=jr.key(2))
                report[f"{turn}_{name}_s"] = time.perf_counter() - begin
                report[f"{name}_evaluations"] = found.evaluations
    return report


def timed(f, repeats: int = 20) -> dict[str, float]:
    """Wall clock and processor time of calls, the first one not counted."""
    f()
    wall, cpu = [], []
    for _ in range(repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        f()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    return {
        "median_s": statistics.median(wall),
        "best_s": min(wall),
        "cpu_s": statistics.median(cpu),
        "best_cpu_s": min(cpu),
    }


def difference(cost, function, gradient) -> float:
    """Greatest error of the gradient's part along three random directions by central differences of fourth order.

    In units of the largest of these parts.  The step is large, for the value is a difference of large sums.
    """
    import jax
    import jax.numpy as jnp

    leaves, structure = jax.tree.flatten(function)
    numeric, analytic = [], []
    for seed in range(3):
        random = np.random.default_rng(seed)
        along = [jnp.asarray(random.normal(size=leaf.shape)) for leaf in leaves]
        along = [a / np.sqrt(sum(float(jnp.sum(a**2)) for a in along)) for a in along]
        values = {
            k: float(
                cost(jax.tree.unflatten(structure, [a + k * STEP * b for a, b in zip(leaves, along, strict=True)]))
            )
            for k in (-2, -1, 1, 2)
        }
        numeric.append((8 * (values[1] - values[-1]) - values[2] + values[-2]) / (12 * STEP))
        analytic.append(sum(float(jnp.vdot(a, b)) for a, b in zip(jax.tree.leaves(gradient), along, strict=True)))
    return float(np.max(np.abs(np.subtract(numeric, analytic))) / np.max(np.abs(analytic)))


def show(report: dict) -> None:
    """The tables."""
    print(describe(report["hardware"]))
    for rows, one in report["rows"].items():
        lines = []
        for name, side in one["sides"].items():
            lines += [
                [f"{name}, wall [s]", *side["median_s"].values()],
                [f"{name}, processor [s]", *side["cpu_s"].values()],
            ]
            lines.append([f"{name}, best wall [s]", *side["best_s"].values()])
            if "compile_s" in side:
                lines.append([f"{name}, compile, wall [s]", *side["compile_s"].values()])
                lines.append([f"{name}, compile, processor [s]", *side["compile_cpu_s"].values()])
            lines.append([f"{name}, memory [MiB]", *side["memory_mib"].values()])
        lines.append(["forethought, value alone [s]", *one["sides"]["forethought"]["value_alone_s"].values()])
        for name, ratio in one["times_faster"].items():
            lines.append([f"times faster than {name}, wall", *ratio["median_s"].values()])
            lines.append([f"times faster than {name}, processor", *ratio["cpu_s"].values()])
        print(table([f"{rows} rows", "median", "min", "max"], lines))
        found, wanted = one["sides"]["forethought"], TARGETS.get(int(rows))
        if wanted:
            reached = found["median_s"]["median"]
            compiled = found["compile_s"]["median"]
            print(f"target {wanted:.3f} s: {reached:.3f} s; compile {COMPILE_TARGET:.0f} s: {compiled:.1f} s")
        print("relative differences:", {name: f"{value:.1e}" for name, value in one["agreement"].items()})
    one = report["round"]
    for name in ("search", "search_without_restarts"):
        total = one["second_fit_s"] + one[f"second_{name}_s"]
        fit, count = one["second_fit_s"], one[f"{name}_evaluations"]
        print(f"one round at {one['rows']} rows, {name.replace('_', ' ')}: {total:.1f} s, fit {fit:.1f} s, "
              f"{count} evaluations (target {ROUND_TARGET:.0f} s)")  # fmt: skip


if __name__ == "__main__":
    main()
