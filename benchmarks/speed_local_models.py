"""The numerical part of one round of local models: fitting the dynamics, and the trust-region step.

    python benchmarks/speed_local_models.py

The size of the peg-insertion experiments of Levine & Abbeel (2014): T = 100 steps, 26 state coordinates, 7 actions,
5 rollouts from each of 4 initial conditions. The rollouts come from a random stable system; the fit has a
normal-inverse-Wishart prior; the step's bound is 1 nat per time step, and its multiplier starts at the last round's
(warm) or at 1 (cold). A measurement is the median of some calls after compilation, with all conditions in one call, in
a fresh process; processor time and the least wall clock depend less on the load of the machine. The prior itself (a
Gaussian mixture) and the rollouts are not part of it: `forethought train local-models` records the time of each part of
its rounds (`rollouts_s`, `fit_s`, `step_s`).
"""

import json
import statistics
import time

from common import arguments, describe, hardware, ours, save, summary, table

TARGET = 0.2  # s
CONDITIONS, ROLLOUTS, STEPS, STATES, ACTIONS = 4, 5, 100, 26, 7
CLOCKS = {"_s": "median wall", "_least_s": "least wall", "_cpu_s": "median processor"}
PARTS = {"fit": "fit", "warm_step": "step, warm", "cold_step": "step, cold", "round": "fit and step, warm"}


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 3, "help": "fresh processes"},
        calls={"type": int, "default": 20, "help": "calls in a process"},
        precision={"choices": ["float64", "float32"], "nargs": "+", "default": ["float64", "float32"]},
    )
    if flags.quick:
        flags.repeats, flags.calls = 1, 2
    if flags.measure:
        print(json.dumps(measure(flags.calls, flags.precision[0])))
        return
    report: dict = {"hardware": hardware(), "repeats": flags.repeats, "calls": flags.calls, "threads": flags.threads}
    for precision in flags.precision:
        same = ("--precision", precision, "--calls", flags.calls, "--threads", flags.threads)
        turns = [ours(__file__, *same) for _ in range(flags.repeats)]
        report[precision] = {name: summary([turn[name] for turn in turns]) for name in turns[0]}
    show(report, flags.precision)
    if not flags.quick:
        print(f"saved: {save('speed_local_models', report)}")


def show(report: dict, precisions: list[str]) -> None:
    """The table."""
    print(describe(report["hardware"]))
    for precision in precisions:
        one = report[precision]
        rows = [
            [f"{text}, {clock} [ms]", *(1e3 * value for value in one[f"{name}{suffix}"].values())]
            for name, text in PARTS.items()
            for suffix, clock in CLOCKS.items()
        ]
        rows += [[name.replace("_", " "), *one[name].values()] for name in ("warm_solutions", "cold_solutions")]
        rows.append(["compilation [s]", *one["compile_s"].values()])
        print(table([precision, "median", "min", "max"], rows))
        print(f"target {1e3 * TARGET:.0f} ms: {1e3 * one['round_s']['median']:.0f} ms")


def measure(calls: int, precision: str) -> dict[str, float]:
    """Seconds of each part, and LQR solutions of each step (the most of all conditions), in this process."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", precision == "float64")
    from forethought.models.linear_gaussian import fit_linear_gaussian
    from forethought.planning.trust_region import constrained_step

    z, y, prior, *rest = problem(jnp.dtype(precision))

    def fit(z, y, prior):
        return jax.vmap(lambda z, y: fit_linear_gaussian(z, y, prior).conditional)(z, y)

    def step(dynamics, cost, final, old, initial, etas):
        solve = lambda model, p, eta: constrained_step(model, cost, final, old, p, 1.0 * STEPS, eta=eta)  # noqa: E731
        return jax.vmap(solve)(dynamics, initial, etas)

    def both(z, y, prior, *rest):
        return step(fit(z, y, prior), *rest)

    fit, step, both, ones = jax.jit(fit), jax.jit(step), jax.jit(both), jnp.ones(CONDITIONS, z.dtype)
    start = time.perf_counter()
    dynamics = jax.block_until_ready(fit(z, y, prior))
    first = jax.block_until_ready(step(dynamics, *rest, ones))
    compile_s = time.perf_counter() - start
    assert int(jnp.max(first.result)) == 0, first.result
    etas = 1.2 * first.eta
    warm = step(dynamics, *rest, etas)

    def timed(name, f, *inputs) -> dict[str, float]:
        jax.block_until_ready(f(*inputs))
        wall, processor = [], []
        for _ in range(calls):
            clocks = time.perf_counter(), time.process_time()
            jax.block_until_ready(f(*inputs))
            wall.append(time.perf_counter() - clocks[0])
            processor.append(time.process_time() - clocks[1])
        return {
            f"{name}_s": statistics.median(wall),
            f"{name}_least_s": min(wall),
            f"{name}_cpu_s": statistics.median(processor),
        }

    return {
        **timed("fit", fit, z, y, prior),
        **timed("warm_step", step, dynamics, *rest, etas),
        **timed("cold_step", step, dynamics, *rest, ones),
        **timed("round", both, z, y, prior, *rest, etas),
        "warm_solutions": int(jnp.max(warm.iterations)),
        "cold_solutions": int(jnp.max(first.iterations)),
        "compile_s": compile_s,
    }


def problem(dtype):
    """Rollouts z [C N T d], y [C N T n] of a stable system, a prior of their scale, costs, the controller, starts."""
    import jax.numpy as jnp
    import numpy as np

    from forethought.core import Gaussian, LinearGaussian, Quadratic
    from forethought.models.linear_gaussian import NormalInverseWishart

    rng = np.random.default_rng(0)
    n, m, d = STATES, ACTIONS, STATES + ACTIONS
    A = np.eye(n) + 0.05 * rng.normal(size=(n, n)) / np.sqrt(n) - 0.03 * np.eye(n)
    F = np.concatenate([A, 0.3 * rng.normal(size=(n, m)) / np.sqrt(m)], axis=1)
    x = np.repeat(rng.normal(size=(CONDITIONS, 1, n)), ROLLOUTS, axis=1)
    starts, z, y = x[:, 0], [], []
    for _ in range(STEPS):
        z.append(np.concatenate([x, rng.normal(size=(CONDITIONS, ROLLOUTS, m))], axis=2))
        x = z[-1] @ F.T + 0.01 * rng.normal(size=x.shape)
        y.append(x)
    stacked = lambda rows: jnp.asarray(np.stack(rows, axis=2), dtype)  # noqa: E731
    as_ = lambda a, *lead: jnp.asarray(np.broadcast_to(a, (*lead, *np.shape(a))), dtype)  # noqa: E731
    points = np.concatenate([np.stack(z, axis=2), np.stack(y, axis=2)], axis=3).reshape(-1, d + n)
    around = Gaussian(as_(points.mean(0), STEPS), as_(np.cov(points.T) + 1e-6 * np.eye(d + n), STEPS))
    weights = np.diag(np.r_[np.ones(n), 0.1 * np.ones(m)])
    cost = Quadratic(as_(weights, STEPS), as_(np.zeros(d), STEPS), as_(0.0, STEPS))
    final = Quadratic(as_(10 * np.eye(n)), as_(np.zeros(n)), as_(0.0))
    old = LinearGaussian(as_(np.zeros((m, n)), STEPS), as_(np.zeros(m), STEPS), as_(np.eye(m), STEPS))
    initial = Gaussian(as_(starts), as_(1e-6 * np.eye(n), CONDITIONS))
    return stacked(z), stacked(y), NormalInverseWishart.around(around, 10.0), cost, final, old, initial


if __name__ == "__main__":
    main()
